"""Which days are trained on and which are tested on, where records come in time."""

from __future__ import annotations

import datetime as dt
from typing import Final

import numpy as np

from scoregate.errors import ScoregateError
from scoregate.training import ByTime
from scoregate.training.dataset import DAY_US, Ints
from scoregate.values import frozen

FEWEST_DAYS: Final = 3


@frozen
class Period:
    """Days as somebody asks for them; what is not given is chosen from the days that there are."""

    start: dt.date | None = None
    train_days: int | None = None
    delay_days: int | None = None
    test_days: int | None = None


@frozen
class Days:
    """First day of training, of the gap, of the test, and the day after: all UTC, as microseconds."""

    train_us: int
    gap_us: int
    test_us: int
    end_us: int

    def fold(self, at_us: Ints, folds: int) -> Ints:
        """Return each event's fold in blocks of time: -1 tested on, -2 neither."""
        block = (at_us - self.train_us) * folds // (self.gap_us - self.train_us)
        fold = np.where((at_us >= self.train_us) & (at_us < self.gap_us), block, -2)
        return np.where((at_us >= self.test_us) & (at_us < self.end_us), -1, fold)

    def __str__(self) -> str:
        said = [dt.datetime.fromtimestamp(us / 1e6, dt.UTC).date() for us in (self.train_us, self.test_us, self.end_us)]
        train, gap = ((b - a) // DAY_US for a, b in ((self.train_us, self.gap_us), (self.gap_us, self.test_us)))
        test = (self.end_us - self.test_us) // DAY_US
        return f"trains on {train} days from {said[0]}, tests on {test} from {said[1]}, {gap} between"


def choose(at_us: Ints, asked: Period, usual: ByTime, what: str) -> Days:
    """Return the days to train and to test on: as asked, else the usual ones that end with `what` there is.

    Where that is too short for those, four fifths of what is left after the gap are trained on.

    Raises:
        ScoregateError: `what` does not have the days.
    """
    first, last = (int(us) // DAY_US for us in (at_us.min(), at_us.max()))
    have, gap = last - first + 1, usual.gap_days
    if asked.start is None and asked.train_days is None and asked.test_days is None:
        usable = have - gap
        test = min(usual.test_days, max(usable // 5, 1))
        train = min(usual.train_days, usable - test)
    else:
        train = usual.train_days if asked.train_days is None else asked.train_days
        test = usual.test_days if asked.test_days is None else asked.test_days
    begin = last + 1 - test - gap - train if asked.start is None else (asked.start - dt.date(1970, 1, 1)).days
    if min(train, test) < 1 or gap < 0 or train + test < FEWEST_DAYS or begin < first or begin + train + gap > last:
        raise ScoregateError(
            f"{what} has {have} days, {date_of(first)} to {date_of(last)}: not enough for {max(train, 1)} days of "
            f"training from {date_of(begin)}, {gap} of delay and {max(test, 1)} of test"
        )
    marks = np.cumsum([begin, train, gap, test]) * DAY_US
    return Days(*marks.tolist())


def date_of(day: int) -> dt.date:
    """Return the date of a day that is counted from the epoch."""
    return dt.date(1970, 1, 1) + dt.timedelta(days=int(day))
