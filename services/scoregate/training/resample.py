"""Intervals: whole clusters of records are drawn again, the same draws for every figure of a training."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from scoregate.values import frozen

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RESAMPLES: Final = 500
AT_ONCE: Final = 50
"""Resamples multiplied in one go: bounds memory, not results."""


@frozen
class Measured:
    """A figure and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"

    @classmethod
    def of(cls, value: float, drawn: Floats | Sequence[float]) -> Self:
        """Return the percentile interval of what the resamples gave, made to hold the value; nan where none did.

        It may lie to one side: resampling adds noise of its own, and of KS or ECE, which only count up, it makes more.
        """
        known = np.asarray(drawn, np.float64)
        known = known[np.isfinite(known)]
        if not len(known) or not np.isfinite(value):
            return cls(float("nan"), float("nan"), float("nan"))
        low, high = (float(q) for q in np.percentile(known, [2.5, 97.5]))
        return cls(float(value), min(low, float(value)), max(high, float(value)))


@dataclass(frozen=True, slots=True, eq=False)
class Draws:
    """`cluster` of each record, and how often each resample draws each cluster (resamples × clusters)."""

    cluster: Ints
    times: NDArray[np.uint8]

    @classmethod
    def of(cls, records: int, seed: int, groups: Sequence[Any] | None = None, resamples: int = RESAMPLES) -> Self:
        """Draw clusters with replacement.

        `groups` names what is drawn together (such as the account), because its records are not independent: without
        it an interval would be too narrow.
        """
        if groups is None:
            cluster, count = np.arange(records), records
        else:
            names, cluster = np.unique(np.asarray(groups), return_inverse=True)
            count = len(names)
        rng = np.random.default_rng(seed)
        times = np.empty((resamples, count), np.uint8)
        for i in range(resamples):
            # A cluster is drawn more than 255 times with a chance that no computer will see.
            times[i] = np.bincount(rng.integers(0, count, count), minlength=count)
        return cls(cluster.astype(np.int64), times)

    def each(self) -> Iterator[Floats]:
        """Yield how often each record is drawn, resample by resample."""
        for times in self.times:
            yield times[self.cluster].astype(np.float64)

    def totals(self, columns: Floats) -> tuple[Floats, Floats]:
        """Return the sums of columns (records × k): as they are (k), and in each resample (resamples × k)."""
        per_cluster = np.stack(
            [np.bincount(self.cluster, column, minlength=self.times.shape[1]) for column in columns.T], axis=1
        )
        parts = [
            self.times[i : i + AT_ONCE].astype(np.float64) @ per_cluster for i in range(0, len(self.times), AT_ONCE)
        ]
        return per_cluster.sum(axis=0), np.concatenate(parts)


def ratio(over: Floats | float, under: Floats | float) -> Floats:
    """Divide; nan where there is nothing to divide by."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(np.asarray(under) > 0, np.asarray(over) / np.asarray(under), np.nan)
