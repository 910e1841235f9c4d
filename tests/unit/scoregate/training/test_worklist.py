"""Lists that people work through: card precision as its authors define it, and work against capture."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from scoregate.training.resample import Draws
from scoregate.training.worklist import card_precision, workload

ACCOUNTS, DAYS = 60, 8


def payments(seed: int, rows: int = 2_500) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Day, account, label and score; a compromised account stays so for some days."""
    rng = np.random.default_rng(seed)
    day, account = rng.integers(0, DAYS, rows), rng.integers(0, ACCOUNTS, rows)
    label = ((account < 8) & (rng.random(rows) < 0.3)).astype(np.int64)
    return day, account, label, rng.random(rows) * (1 + label)


def by_hand(day: np.ndarray, account: np.ndarray, label: np.ndarray, score: np.ndarray, most: int) -> float:
    """The definition in words, one account at a time."""
    gone: set[int] = set()
    shares = []
    for today in sorted(set(day.tolist())):
        highest: dict[int, float] = {}
        compromised: set[int] = set()
        for i in np.flatnonzero(day == today):
            if account[i] not in gone:
                highest[account[i]] = max(score[i], highest.get(account[i], 0.0))
                if label[i]:
                    compromised.add(account[i])
        found = set(sorted(highest, key=lambda one: -highest[one])[:most]) & compromised
        shares.append(len(found) / most)
        gone |= found
    return float(np.mean(shares))


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("most", [3, 10, 100])
def test_card_precision_is_that_of_the_definition(seed: int, most: int) -> None:
    """An account counts once a day by its highest score, and leaves once it was found; short lists are not excused."""
    day, account, label, score = payments(seed)
    draws = Draws.of(len(day), 1, account.tolist(), resamples=20)
    found = card_precision(day, label, score, np.ones(len(day)), draws, most=most)

    assert by_hand(day, account, label, score, most) == pytest.approx(found.value)
    assert found.low <= found.value <= found.high


def test_a_sampled_record_fills_as_many_places_as_it_stands_for() -> None:
    """Two good accounts of weight 2 above a bad one leave it the last of five places, and none of four."""
    day, label = np.zeros(3, np.int64), np.array([0, 0, 1])
    score, weight = np.array([0.9, 0.8, 0.7]), np.array([2.0, 2.0, 1.0])
    draws = Draws.of(3, 1, ["a", "b", "c"], resamples=5)

    assert 1 / 5 == card_precision(day, label, score, weight, draws, most=5).value
    assert 0.0 == card_precision(day, label, score, weight, draws, most=4).value


def test_a_longer_list_is_more_work_and_finds_no_less() -> None:
    """Length and capture grow along the list; length is by the day, and precision is what is bad of it."""
    _, account, label, score = payments(4)
    draws = Draws.of(len(label), 1, account.tolist(), resamples=30)
    points = workload(label, score, np.ones(len(label)), draws, days=DAYS)
    last = points[-1]

    assert all(a["capture"]["value"] <= b["capture"]["value"] for a, b in pairwise(points))
    assert 0.2 == pytest.approx(last["share"]["value"], abs=1e-3)
    assert 0.2 * len(label) / DAYS == pytest.approx(last["per_day"]["value"], rel=1e-2)
    listed = score >= last["score"]
    assert label[listed].mean() == pytest.approx(last["precision"]["value"])
    assert label[listed].sum() / label.sum() == pytest.approx(last["capture"]["value"])


def test_records_without_dates_have_no_work_per_day() -> None:
    """What has no days is not divided by them."""
    _, _, label, score = payments(4)
    points = workload(label, score, np.ones(len(label)), Draws.of(len(label), 1, resamples=5), days=None)

    assert all("per_day" not in point for point in points)
