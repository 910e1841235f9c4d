"""Linked records make one alert, on the day of the first of them."""

from __future__ import annotations

import numpy as np

from scoregate.training.alerts import alerts

SCORE = np.array([0.9, 0.8, 0.7, 0.2, 0.95, 0.1])
GROUP = np.array([0, 0, 0, 1, 2, 2])
DAY = np.array([10, 10, 11, 11, 11, 12])


def test_records_of_one_group_are_one_alert() -> None:
    """Three days: four records above the threshold, of two groups; a later record of a group begins no other alert."""
    (found,) = alerts(SCORE, np.ones(6), GROUP, DAY, {"review": 0.5}, 1)

    assert (4 / 3, 2 / 3) == (found["records_per_day"]["value"], found["alerts_per_day"]["value"])
    assert not found["at_least"]


def test_the_harshest_threshold_comes_first_and_has_fewest() -> None:
    """A lower threshold never makes fewer alerts."""
    found = alerts(SCORE, np.ones(6), GROUP, DAY, {"review": 0.0, "block": 0.85}, 1)

    assert [("block", 2 / 3), ("review", 1.0)] == [(one["from"], one["alerts_per_day"]["value"]) for one in found]


def test_of_a_sample_alerts_are_a_lower_bound() -> None:
    """Records are weighed up, groups that were not sampled cannot be."""
    (found,) = alerts(SCORE, np.full(6, 10.0), GROUP, DAY, {"review": 0.5}, 1)

    assert found["at_least"]
    assert 40 / 3 == found["records_per_day"]["value"]
