"""Events → tiles, one at a time: what the worker does to one entity's row of one view. Pure.

A row is kept as the bytes that Feast stores. An event nearly always lands in the newest tile, so the others stay as
they are: a count costs a few microseconds, whatever the row holds.

Additions commute, so events may come in any order: count, sums and known fraud end up the same. Above DISTINCT_CAP
parties in one tile, the first that came are the ones that stay.
"""

from __future__ import annotations

import re
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Mapping
from functools import lru_cache
from typing import Final

from google.protobuf.message import DecodeError

from scoregate.features.encoding import Value, int64_list, packed_int64s, varint
from scoregate.features.windows import DISTINCT_CAP, GRAIN_S, KEPT, STRIDE

PARTY_LISTS: Final = {"hours": "hour_parties", "days": "day_parties"}
MARKS: Final = "marks"
"""Name of what a row keeps beside Feast's features: which of its events were reversed or labelled."""

_CELLS: Final = re.compile(rb"(?:[\x80-\xff]*[\x00-\x7f]){5}", re.DOTALL)
_PAIRS: Final = re.compile(rb"(?:[\x80-\xff]*[\x00-\x7f]){2}", re.DOTALL)
_MARK: Final = struct.Struct("<QIBq")
# The same indices and parties come all the time, and are long.
_varint = lru_cache(maxsize=100_000)(varint)
_REVERSED: Final = 1
_BAD: Final = 2
_INT64: Final = b"\x20"
_LAST: Final = "last_event_us"


class Tiles:
    """One entity's tiles. `changes` returns the features that are not yet as stored."""

    __slots__ = ("_grains", "_marks", "_marks_changed", "_parties", "_time_changed", "last_event_us")

    def __init__(self, stored: Mapping[str, bytes | None] | None = None, *, parties: bool) -> None:
        """Begin with what is stored: Feast's bytes by feature, and MARKS.

        Raises:
            ValueError: the bytes are not those of tiles.
        """
        stored = stored or {}
        self._grains = [_Grain(name, stored.get(name)) for name in GRAIN_S]
        lists = [(grain, PARTY_LISTS[grain.name]) for grain in self._grains if parties and grain.name in PARTY_LISTS]
        self._parties = [_Parties(name, grain, stored.get(name)) for grain, name in lists]
        self._marks = _read_marks(stored.get(MARKS))
        last = stored.get(_LAST)
        self.last_event_us: int = Value.FromString(last).int64 if last else 0
        self._time_changed = self._marks_changed = False

    def count(self, at_us: int, amount_minor: int, party: int | None) -> bool:
        """Add an event; return whether it was young enough for a tile to be kept."""
        return self._add(at_us, party, 1, amount_minor, (amount_minor // 100) ** 2, 0)

    def reverse(self, subject: int, at_us: int, amount_minor: int) -> bool:
        """Take back what the event of this subject added, once; return whether its tile is still there."""
        bits, known_us = self._mark(subject)
        if bits & _REVERSED:
            return True
        self._set_mark(subject, at_us, bits | _REVERSED, known_us)
        fraud = -1 if bits & _BAD else 0
        return self._add(at_us, None, -1, -amount_minor, -((amount_minor // 100) ** 2), fraud)

    def label(self, subject: int, at_us: int, *, is_bad: bool, known_us: int) -> bool:
        """Note whether the event of this subject was bad; the label that became known last holds."""
        bits, before_us = self._mark(subject)
        if known_us < before_us:
            return True
        self._set_mark(subject, at_us, bits & _REVERSED | (_BAD if is_bad else 0), known_us)
        change = 0 if bits & _REVERSED else int(is_bad) - int(bool(bits & _BAD))
        return change == 0 or self._add(at_us, None, 0, 0, 0, change)

    def changes(self) -> dict[str, bytes]:
        """Return what differs from what is stored, as it is to be stored; from then on it counts as stored."""
        out: dict[str, bytes] = {}
        for part in self._lists():
            if part.changed:
                out[part.name] = part.encode()
                part.changed = False
        if self._time_changed:
            out[_LAST] = _INT64 + varint(self.last_event_us)
        if self._marks_changed:
            out[MARKS] = self._encode_marks()
        self._time_changed = self._marks_changed = False
        return out

    def all(self) -> dict[str, bytes]:
        """Return every feature as it is to be stored, and MARKS if there are any."""
        for part in self._lists():
            part.changed = True
        self._time_changed, self._marks_changed = True, bool(self._marks)
        return self.changes()

    def _add(self, at_us: int, party: int | None, count: int, amount: int, square: int, fraud: int) -> bool:
        if at_us > self.last_event_us and count > 0:
            self.last_event_us = at_us
            self._time_changed = True
        landed = False
        for grain in self._grains:
            if grain.begins_us <= at_us < grain.ends_us:
                # Nearly always; without a call.
                tile = grain.open
                tile[1] += count
                tile[2] += amount
                tile[3] += square
                tile[4] += fraud
                grain.changed = landed = True
            elif grain.add(at_us // grain.width_us, count, amount, square, fraud):
                landed = True
        if party is not None:
            for pairs in self._parties:
                pairs.add(at_us // pairs.grain.width_us, party)
        return landed

    def _lists(self) -> list[_Grain | _Parties]:
        return [*self._grains, *self._parties]

    def _mark(self, subject: int) -> tuple[int, int]:
        _, bits, known_us = self._marks.get(subject, (0, 0, 0))
        return bits, known_us

    def _set_mark(self, subject: int, at_us: int, bits: int, known_us: int) -> None:
        self._marks[subject] = (at_us // 86_400_000_000, bits, known_us)
        self._marks_changed = True

    def _encode_marks(self) -> bytes:
        oldest = self._grains[-1].open[0] - KEPT["days"]
        self._marks = {subject: mark for subject, mark in self._marks.items() if mark[0] > oldest}
        return b"".join(_MARK.pack(subject, *mark) for subject, mark in sorted(self._marks.items()))


class _Grain:
    """The tiles of one grain, ascending: index and bytes of each closed one, and the newest as numbers."""

    __slots__ = (
        "_cells",
        "_indices",
        "_kept",
        "_prefix",
        "begins_us",
        "changed",
        "ends_us",
        "name",
        "open",
        "width_us",
    )

    def __init__(self, name: str, stored: bytes | None) -> None:
        self.name, self.changed = name, False
        self._kept = KEPT[name]
        self.width_us = GRAIN_S[name] * 1_000_000
        self._indices: list[int] = []
        self._cells: list[bytes] = []
        tile = [0, 0, 0, 0, 0]
        if stored:
            numbers = _decoded(stored, STRIDE)
            self._indices = numbers[::STRIDE]
            self._cells = _CELLS.findall(packed_int64s(stored))
            del self._cells[-1:]
            tile = numbers[-STRIDE:] or tile
        self._begin(tile)

    def _begin(self, tile: list[int]) -> None:
        """Open a tile: what falls between `begins_us` and `ends_us` is added to it by whoever looks."""
        self.open, self._prefix = tile, _varint(tile[0])
        self.begins_us = tile[0] * self.width_us
        self.ends_us = self.begins_us + self.width_us

    def add(self, index: int, count: int, amount: int, square: int, fraud: int) -> bool:
        """Add to a tile other than the open one, made where there is none; return whether it is still kept."""
        tile = self.open
        if index <= tile[0] - self._kept:
            return False
        self.changed = True
        if index > tile[0]:
            if tile[0]:
                self._cells.append(self._closed())
            self._indices.append(index)
            self._begin([index, count, amount, square, fraud])
            gone = bisect_left(self._indices, index - self._kept + 1)
            if gone:
                del self._indices[:gone], self._cells[:gone]
            return True
        place = bisect_left(self._indices, index)
        if self._indices[place] == index:
            _, *before = _decoded(int64_list(self._cells[place]), STRIDE)
            added = [a + b for a, b in zip(before, (count, amount, square, fraud), strict=True)]
            self._cells[place] = b"".join(map(varint, (index, *added)))
        else:
            self._indices.insert(place, index)
            self._cells.insert(place, b"".join(map(varint, (index, count, amount, square, fraud))))
        return True

    def _closed(self) -> bytes:
        _, count, amount, square, fraud = self.open
        return b"".join((self._prefix, _varint(count), varint(amount), varint(square), _varint(fraud)))

    def encode(self) -> bytes:
        return int64_list(b"".join(self._cells) + self._closed() if self.open[0] else b"")


class _Parties:
    """Distinct parties by tile, up to DISTINCT_CAP + 1 of each: index, id and bytes of a pair, ascending by index."""

    __slots__ = ("_ids", "_indices", "_kept", "_latest", "_members", "_pairs", "changed", "grain", "name")

    def __init__(self, name: str, grain: _Grain, stored: bytes | None) -> None:
        self.name, self.grain, self.changed = name, grain, False
        self._kept = KEPT[grain.name]
        numbers = _decoded(stored, 2)
        self._indices, self._ids = numbers[::2], numbers[1::2]
        self._pairs: list[bytes] = _PAIRS.findall(packed_int64s(stored)) if stored else []
        # Whom the tile that was last added to has: nearly always it is asked again.
        self._latest = 0
        self._members: set[int] = set()

    def add(self, index: int, party: int) -> None:
        """Add a party to a tile that is still kept."""
        newest = self.grain.open[0]
        if index <= newest - self._kept:
            return
        end = bisect_right(self._indices, index)
        if index != self._latest:
            self._latest = index
            self._members = set(self._ids[bisect_left(self._indices, index, 0, end) : end])
        if party in self._members or len(self._members) > DISTINCT_CAP:
            return
        self.changed = True
        self._members.add(party)
        self._indices.insert(end, index)
        self._ids.insert(end, party)
        self._pairs.insert(end, _varint(index) + _varint(party))
        if gone := bisect_left(self._indices, newest - self._kept + 1):
            del self._indices[:gone], self._ids[:gone], self._pairs[:gone]

    def encode(self) -> bytes:
        return int64_list(b"".join(self._pairs))


def _decoded(stored: bytes | None, stride: int) -> list[int]:
    """Decode a stored list, whose length must be a multiple of `stride`."""
    try:
        numbers = list(Value.FromString(stored).int64_list.val) if stored else []
    except DecodeError as problem:
        raise ValueError("a list of a row of tiles cannot be read") from problem
    if len(numbers) % stride:
        raise ValueError("a list of a row of tiles is cut off")
    return numbers


def _read_marks(stored: bytes | None) -> dict[int, tuple[int, int, int]]:
    if not stored:
        return {}
    if len(stored) % _MARK.size:
        raise ValueError("the marks of a row of tiles cannot be read")
    return {subject: (day, bits, known_us) for subject, day, bits, known_us in _MARK.iter_unpack(stored)}
