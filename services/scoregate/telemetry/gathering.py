"""Counts and times, gathered in the process and written into prometheus-client's series many at a time.

Where several workers share their series by files, one increment takes a lock, asks for the process's id and packs two
numbers into a file, and a request has fifteen of them. Here each is an addition. Nothing is locked: the thread of the
event loop counts, and the same thread flushes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable
from typing import TypeVar

from prometheus_client import Counter, Histogram

K = TypeVar("K")
V = TypeVar("V")


class Found(dict[K, V]):
    """What was looked for once: to find a series by its labels costs more than to count in it."""

    def __init__(self, find: Callable[[K], V]) -> None:
        super().__init__()
        self._find = find

    def __missing__(self, key: K) -> V:
        self[key] = found = self._find(key)
        return found


class Count:
    """What a counter has yet to be told."""

    __slots__ = ("_series", "more")

    def __init__(self, series: Counter) -> None:
        self._series, self.more = series, 0

    def flush(self) -> None:
        if self.more:
            self._series.inc(self.more)
            self.more = 0


class Times:
    """What a histogram has yet to be told.

    prometheus-client takes one observation at a time. To write many at once takes what is private in its histogram:
    bounds, the value of each bucket (of that bucket alone), and the sum. Nothing but this class knows of them.
    """

    __slots__ = ("_bounds_s", "_buckets", "_more", "_more_s", "_sum")

    def __init__(self, series: Histogram) -> None:
        self._bounds_s, self._buckets, self._sum = series._upper_bounds, series._buckets, series._sum
        self._more, self._more_s = [0] * len(self._bounds_s), 0.0

    def observe(self, seconds: float) -> None:
        # The first bound that is not below it; the last of them is infinite.
        self._more[bisect_left(self._bounds_s, seconds)] += 1
        self._more_s += seconds

    def flush(self) -> None:
        for number, more in enumerate(self._more):
            if more:
                self._buckets[number].inc(more)
                self._more[number] = 0
        if self._more_s:
            self._sum.inc(self._more_s)
            self._more_s = 0.0


class Gathering:
    """All that one process gathers: one count or times to a series."""

    def __init__(self) -> None:
        self._counts = Found(Count)
        self._times = Found(Times)

    def count(self, series: Counter) -> Count:
        return self._counts[series]

    def times(self, series: Histogram) -> Times:
        return self._times[series]

    def flush(self) -> None:
        for count in self._counts.values():
            count.flush()
        for times in self._times.values():
            times.flush()
