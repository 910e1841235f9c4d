"""Tiles → windows: the one definition that training, serving and backfill share.

The online store holds *tiles*, never finished windows: an entity's events counted per UTC minute, hour and day.
A window is a pure function of (tiles, time of the request). It ends just before the request, excludes the request
itself, and begins at a tile edge, so that it never covers less than its name says:

    10m, 1h   the running minute and the 10 / 60 full minutes before it
    1d        the running hour and the 24 full hours before it
    7d, 30d   the running day and the 7 / 30 full days before it
    risk 30d  the 30 full days that end LABEL_DELAY_DAYS before the running day, where labels have arrived

A grain is one flat list of integers, `STRIDE` of them per tile, ascending by index:

    index (time // seconds of the grain), count, sum in minor units, sum of squares in whole major units, known fraud

Amounts are integers, so that sums do not depend on order. Distinct parties are pairs (index, hashed id), ascending by
index, at most `DISTINCT_CAP` + 1 per tile, so a union of up to `DISTINCT_CAP` is exact and a larger one is known to be
saturated.
"""

from __future__ import annotations

import hashlib
import math
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from typing import Final

from scoregate.features import FeatureRow

STRIDE: Final = 5
DISTINCT_CAP: Final = 32
LABEL_DELAY_DAYS: Final = 7

GRAIN_S: Final = {"minutes": 60, "hours": 3_600, "days": 86_400}
KEPT: Final = {"minutes": 61, "hours": 25, "days": 31 + LABEL_DELAY_DAYS}
"""Tiles kept per grain: the running one and every full one that some window needs."""

WINDOWS: Final = {
    "10m": ("minutes", 10),
    "1h": ("minutes", 60),
    "1d": ("hours", 24),
    "7d": ("days", 7),
    "30d": ("days", 30),
}
"""Window → grain, and how many full tiles before the running one it takes in."""

_PARTIES: Final = {"hours": "hour_parties", "days": "day_parties"}

_COUNT, _AMOUNT, _SQUARES, _FRAUD = range(1, STRIDE)
"""Where a tile has what, after its index."""

_NONE: Final[list[int]] = []


def party_id(value: str) -> int:
    """Hash a counterparty to 40 bits: the chance that any two of a window's 32 collide is below 1e-9."""
    return int.from_bytes(hashlib.blake2b(value.encode(), digest_size=5).digest(), "little")


class Windows:
    """The windows of one entity at one time. Raises KeyError for a window that does not exist.

    What was summed once is kept: a vector asks for some windows several times, and so do requests about one entity.
    """

    __slots__ = ("_amounts", "_at_s", "_counts", "_indices", "_parties", "_risk", "_spans", "_tiles")

    def __init__(self, tiles: Mapping[str, list[int] | int | None], at_s: float) -> None:
        self._tiles = tiles
        self._at_s = at_s
        self._indices: dict[str, list[int]] = {}
        self._spans: dict[str, tuple[list[int], int, int]] = {}
        self._counts: dict[str, int] = {}
        self._amounts: dict[str, int] = {}
        self._parties: dict[str, frozenset[int]] = {}
        self._risk: tuple[int, int] | None = None

    def _span(self, window: str) -> tuple[list[int], int, int]:
        """Return a grain's list, and where in it the window's tiles begin and end."""
        found = self._spans.get(window)
        if found is None:
            grain, full = WINDOWS[window]
            last = int(self._at_s // GRAIN_S[grain])
            found = self._spans[window] = self._between(grain, last - full, last)
        return found

    def _between(self, grain: str, first: int, last: int) -> tuple[list[int], int, int]:
        tiles = self._tiles.get(grain)
        if not tiles or isinstance(tiles, int):
            return _NONE, 0, 0
        indices = self._indices.get(grain)
        if indices is None:
            indices = self._indices[grain] = tiles[::STRIDE]
        return tiles, bisect_left(indices, first) * STRIDE, bisect_right(indices, last) * STRIDE

    # Sums over slices run in C: a quarter off the whole vector against a loop over the tiles.

    def count(self, window: str) -> int:
        """Events in the window."""
        found = self._counts.get(window)
        if found is None:
            tiles, begin, end = self._span(window)
            found = self._counts[window] = sum(tiles[begin + _COUNT : end : STRIDE])
        return found

    def sum_minor(self, window: str) -> int:
        """Sum of amounts, minor units."""
        found = self._amounts.get(window)
        if found is None:
            tiles, begin, end = self._span(window)
            found = self._amounts[window] = sum(tiles[begin + _AMOUNT : end : STRIDE])
        return found

    def mean_minor(self, window: str) -> float:
        """Mean amount, minor units; nan without events."""
        count = self.count(window)
        return self.sum_minor(window) / count if count else math.nan

    def std_minor(self, window: str) -> float:
        """Standard deviation of amounts, minor units, from whole major units; nan below two events."""
        count = self.count(window)
        if count < 2:
            return math.nan
        mean_major = self.sum_minor(window) / count / 100
        tiles, begin, end = self._span(window)
        squares = sum(tiles[begin + _SQUARES : end : STRIDE])
        return 100 * math.sqrt(max(squares / count - mean_major * mean_major, 0.0))

    def risk_30d(self) -> tuple[int, int]:
        """Known fraud and events in the 30 full days that end where the label delay begins."""
        if self._risk is None:
            day = int(self._at_s // GRAIN_S["days"])
            tiles, begin, end = self._between("days", day - LABEL_DELAY_DAYS - 30, day - LABEL_DELAY_DAYS - 1)
            self._risk = sum(tiles[begin + _FRAUD : end : STRIDE]), sum(tiles[begin + _COUNT : end : STRIDE])
        return self._risk

    def distinct(self, window: str) -> int:
        """Distinct counterparties, exact up to DISTINCT_CAP and never above it; 1d, 7d and 30d."""
        return min(len(self.parties(window)), DISTINCT_CAP)

    def saturated(self, window: str) -> bool:
        """Whether `distinct` stands for more than DISTINCT_CAP."""
        return len(self.parties(window)) > DISTINCT_CAP

    def parties(self, window: str) -> frozenset[int]:
        """Return the hashed ids of counterparties, as far as tiles keep them; 1d, 7d and 30d."""
        found = self._parties.get(window)
        if found is None:
            found = self._parties[window] = self._read_parties(window)
        return found

    def _read_parties(self, window: str) -> frozenset[int]:
        grain, full = WINDOWS[window]
        pairs = self._tiles.get(_PARTIES[grain])
        if not pairs or isinstance(pairs, int):
            return frozenset()
        last, indices = int(self._at_s // GRAIN_S[grain]), pairs[::2]
        begin, end = bisect_left(indices, last - full), bisect_right(indices, last)
        return frozenset(pairs[2 * begin + 1 : 2 * end : 2])

    def since_last_s(self) -> float:
        """Seconds since the last event before the request; nan without one in the kept history."""
        last_us = self._tiles.get("last_event_us")
        oldest_day = int(self._at_s // GRAIN_S["days"]) - KEPT["days"] + 1
        if not isinstance(last_us, int) or last_us < oldest_day * GRAIN_S["days"] * 1_000_000:
            return math.nan
        return max(self._at_s - last_us / 1e6, 0.0)


def read(row: FeatureRow, view: str, at_s: float) -> Windows | None:
    """Return the windows of a tile view at a time (seconds since the epoch), or None when the view is MISSING.

    In a whole store an entity without tiles has windows, all 0: nothing happened, and that is known.
    """
    found = row.views.get(view)
    if found is None or not row.usable(view):
        return None
    windows: Windows | None = found.windows.get(at_s)
    if windows is None:
        windows = found.windows[at_s] = Windows(found.values, at_s)
    return windows
