"""A file of events is split by days, with a gap, and without whom everybody knew to be compromised."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from scoregate.errors import ScoregateError
from scoregate.settings import Settings
from scoregate.training import ByTime, Problem, streams
from scoregate.training.bulk import DAY_US
from scoregate.training.imports.days import Days, Period
from scoregate.training.imports.days import choose as chosen
from scoregate.training.imports.events import _write, compromised

USUAL = ByTime(train_days=44, gap_days=7, test_days=14)
STAMP = pa.timestamp("us", tz="UTC")


def choose(at_us: Any, **asked: Any) -> Days:
    return chosen(at_us, Period(**asked), USUAL, "the file")


def span(days: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.array([0, days * DAY_US - 1])


def test_the_usual_days_end_with_the_file() -> None:
    """What is before them only fills windows."""
    assert [25, 69, 76, 90] == [getattr(choose(span(90)), f"{n}_us") // DAY_US for n in NAMES]


NAMES = ("train", "gap", "test", "end")


def test_a_short_file_is_split_all_the_same() -> None:
    """A fifth of what the gap leaves is tested on."""
    assert [0, 19, 26, 30] == [getattr(choose(span(30)), f"{n}_us") // DAY_US for n in NAMES]


def test_days_are_as_asked() -> None:
    """From the first day on; what comes after the test is left out."""
    days = choose(span(90), start=dt.date(1970, 1, 11), train_days=20, test_days=5)
    at = np.array([9, 10, 29, 30, 36, 37, 41, 42]) * DAY_US

    assert [-2, 0, 1, -2, -2, -1, -1, -2] == days.fold(at, 2).tolist()


@pytest.mark.parametrize("days", [{"train_days": 90}, {"test_days": 0}, {"start": dt.date(1969, 1, 1)}])
def test_days_that_the_file_does_not_have_are_refused(days: dict[str, object]) -> None:
    """With what it has and what was asked."""
    with pytest.raises(ScoregateError, match=r"the file has 60 days, 1970-01-01 to 1970-03-01"):
        choose(span(60), **days)


def test_who_was_known_as_compromised_when_the_day_began_is_marked() -> None:
    """From the day after the label arrived; labels from before training are of cards long replaced."""
    at = np.array([1, 2, 3, 4, 5, 5]) * DAY_US + DAY_US // 2
    rows = pa.table(
        {
            "event_at": pa.array(at).cast(STAMP),
            "account": ["a", "b", "a", "a", "b", "c"],
            "is_bad": [True, True, False, False, False, True],
            "known": pa.array([3 * DAY_US + 5, 2 * DAY_US + 5, None, None, None, 5 * DAY_US + 5]).cast(STAMP),
        }
    )
    problem = Problem(
        load=lambda _: rows, label="is_bad", split=USUAL, headline="", parameters={}, known_at="known", group="account"
    )

    assert [False, False, False, True, False, False] == compromised(rows, at, problem, 3 * DAY_US).tolist()


def test_brought_days_take_the_place_of_made_ones(tmp_path: Path) -> None:
    """And nothing makes or drops any of them afterwards; only their owner can read them."""
    settings = Settings(home=tmp_path)
    folder = settings.data / "s"
    streams.keep(folder, "made")
    streams.write(folder / "2026-01-01.parquet", pa.table({"a": [1]}))
    at = pa.array([5, DAY_US - 1, 3 * DAY_US]).cast(STAMP)
    _write(folder, pa.table({"event_at": at}), f"{streams.IMPORT}f m")

    assert ["1970-01-01.parquet", "1970-01-04.parquet"] == sorted(p.name for p in folder.glob("*.parquet"))
    assert {0o600} == {p.stat().st_mode & 0o777 for p in folder.glob("*.parquet")}
    assert streams.is_imported(folder)
