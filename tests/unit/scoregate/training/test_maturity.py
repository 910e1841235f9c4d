"""How many labels are still to come is learned from those that have."""

from __future__ import annotations

import numpy as np
import pytest

from scoregate.training.dataset import DAY_US
from scoregate.training.maturity import LEAST, ripe


def seen(seed: int, records: int, days: float, mean_days: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Labels of records from `days` ago until a week ago, as far as they have come: delay, age, and every age."""
    rng = np.random.default_rng(seed)
    age = rng.uniform(7, days, records)
    delay = rng.exponential(mean_days, records)
    return *((column[delay <= age] * DAY_US).astype(np.int64) for column in (delay, age)), (age * DAY_US).astype(
        np.int64
    )


@pytest.mark.parametrize("seed", range(3))
def test_labels_that_came_stand_for_those_that_will(seed: int) -> None:
    """Each weighed by what its age is ripe, they are as many as the records; counted plainly they fall short."""
    delay, age, ages = seen(seed, 5_000, 60, 8)

    assert len(delay) < 0.95 * len(ages)
    assert len(ages) == pytest.approx((1 / ripe(delay, age, age)).sum(), rel=0.03)


def test_the_share_by_age_is_that_of_the_delays() -> None:
    """Although no record of a young age ever showed a long delay."""
    delay, age, _ = seen(1, 20_000, 90, 10)
    days = np.array([7, 10, 20, 40])

    np.testing.assert_allclose(1 - np.exp(-days / 10), ripe(delay, age, days * DAY_US), atol=0.02)


def test_few_labels_say_nothing() -> None:
    """All count as they are, as do those of a file whose labels all come after one delay."""
    delay, age, ages = seen(1, 15, 60, 8)
    at_once = np.full(500, 5 * DAY_US)

    assert {1.0} == set(ripe(delay, age, ages).tolist())
    assert {1.0} == set(ripe(at_once, at_once + DAY_US, at_once + DAY_US).tolist())
    assert {1.0} == set(ripe(delay[:0], age[:0], ages).tolist())


def test_one_label_stands_for_a_handful_at_most() -> None:
    """However few have come at so young an age."""
    delay, age, _ = seen(1, 20_000, 90, 40)

    assert [LEAST] == ripe(delay, age, np.array([DAY_US // 10])).tolist()
