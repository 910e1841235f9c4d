"""Tiles in bulk: what `features.windows` reads, for any number of entities and times, from raw events.

Events are sorted by entity and time once. A tile is then a run of neighbours, its sums are differences of prefix sums,
and what an entity's tiles are at some time is a range of runs, the last of them cut short.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scoregate.features.windows import DISTINCT_CAP, GRAIN_S, KEPT, STRIDE, party_id

Ints = NDArray[np.int64]

PARTY_LISTS: Final = {"hours": "hour_parties", "days": "day_parties"}
KEPT_US: Final = KEPT["days"] * 86_400_000_000
"""Changes older than this reach no window."""

_ROWS_AT_ONCE: Final = 20_000
_NEVER: Final = np.iinfo(np.int64).max


def tiles_at(events: pa.Table, queries: pa.Table) -> pa.Table:
    """Return the tiles of `queries` (key, at_us), in their order, from the events strictly before each time.

    `events`: key, event_us, and where they exist amount_minor, party (strings), label_us (when fraud became known).
    """
    index = TileIndex(events)
    code = pc.fill_null(pc.index_in(_array(queries["key"]), value_set=index.keys), -1)
    return index.tiles(code.to_numpy().astype(np.int64), queries["at_us"].to_numpy()).add_column(
        0, "key", _array(queries["key"])
    )


class TileIndex:
    """The events of one view, ready to be asked for tiles; `keys` are its entities, addressed by position."""

    def __init__(self, events: pa.Table) -> None:
        encoded = _array(events["key"]).dictionary_encode()
        self.keys: pa.Array = encoded.dictionary
        code = encoded.indices.to_numpy().astype(np.int64)
        # Stable, so that of equal times the earlier row stays first.
        order = np.lexsort((events["event_us"].to_numpy(), code))
        self._code, self._at = code[order], events["event_us"].to_numpy()[order]
        self._label = self._labels(events, order)
        self._clock = _distinct(self._at)
        self._place = self._code * (len(self._clock) + 1) + np.searchsorted(self._clock, self._at)
        self._first = np.searchsorted(self._code, np.arange(len(self.keys) + 1))
        amount = _column(events, "amount_minor", order)
        major = amount // 100
        # Wrapping around is harmless: only differences are read, and those fit.
        self._sums = _prefix(amount), _prefix(major * major)
        self._grains = {name: _Grain.of(name, self._code, self._at, self._label) for name in KEPT}
        self._parties: dict[str, _Firsts] = {}
        if "party" in events.column_names:
            party, ids = _party_ids(events["party"])
            self._parties = {grain: _Firsts.of(self._grains[grain], party[order], ids) for grain in PARTY_LISTS}

    def _labels(self, events: pa.Table, order: Ints) -> Ints:
        if "label_us" not in events.column_names:
            return np.full(len(order), _NEVER)
        label = pc.fill_null(_array(events["label_us"]), _NEVER).to_numpy()[order]
        return np.asarray(np.maximum(label, self._at))

    def log(self, from_us: int, to_us: int) -> pa.Table:
        """Return a row for each change in [from_us, to_us): 1 µs after an event, and after a label has arrived."""
        return self._changed(*self._changes(from_us, to_us))

    def latest(self, from_us: int, to_us: int) -> pa.Table:
        """Return of each entity that changed in [from_us, to_us) the last row of its log there."""
        code, at = self._changes(from_us, to_us)
        last = np.append(code[1:] != code[:-1], True)[: len(code)]
        return self._changed(code[last], at[last])

    def _changed(self, code: Ints, at: Ints) -> pa.Table:
        return self.tiles(code, at).add_column(0, "key", self.keys.take(pa.array(code)))

    def _changes(self, from_us: int, to_us: int) -> tuple[Ints, Ints]:
        """Return entity and time of every change in [from_us, to_us), sorted, each once."""
        # Labels of events that no window holds any more change nothing.
        known = self._label - self._at < KEPT_US
        times = [(self._at + 1, self._code), (self._label[known] + 1, self._code[known])]
        inside = [(at >= from_us) & (at < to_us) for at, _ in times]
        at, code = (np.concatenate([pair[i][some] for pair, some in zip(times, inside, strict=True)]) for i in (0, 1))
        order = np.lexsort((at, code))
        code, at = code[order], at[order]
        new = np.append(True, (np.diff(code) != 0) | (np.diff(at) != 0))[: len(code)]
        return code[new], at[new]

    def tiles(self, code: Ints, at: Ints) -> pa.Table:
        """Return the tiles of entities (-1: unknown) at times, row by row: at_us and the features of a tile view."""
        pieces = range(0, max(len(code), 1), _ROWS_AT_ONCE)
        return pa.concat_tables([self._piece(code[i : i + _ROWS_AT_ONCE], at[i : i + _ROWS_AT_ONCE]) for i in pieces])

    def _piece(self, code: Ints, at: Ints) -> pa.Table:
        known = code >= 0
        begin = np.where(known, self._first[code], 0)
        end = np.searchsorted(self._place, code * (len(self._clock) + 1) + np.searchsorted(self._clock, at))
        end = np.where(known, end, 0)
        columns: dict[str, pa.Array] = {"at_us": pa.array(at)}
        for name, grain in self._grains.items():
            first, count = grain.reach(code, at, begin, end)
            columns[name] = self._cells(grain, first, count, end, at)
            if name in self._parties:
                columns[PARTY_LISTS[name]] = self._parties[name].pairs(grain, first, count, end)
            if name == "days":
                last = self._at[np.maximum(end - 1, 0)] if len(self._at) else np.zeros_like(at)
                columns["last_event_us"] = pa.array(np.where(count > 0, last, 0))
        names = ["at_us", *KEPT, *(PARTY_LISTS[g] for g in self._parties), "last_event_us"]
        return pa.table({name: columns[name] for name in names})

    def _cells(self, grain: _Grain, first: Ints, count: Ints, end: Ints, at: Ints) -> pa.ListArray:
        run, last = _ranges(first, count)
        begins, ends = grain.start[run], grain.start[run + 1]
        # The tile that the time falls into holds only what came before it.
        ends[last] = end[count > 0]
        cells = np.empty((len(run), STRIDE), np.int64)
        cells[:, 0] = grain.index[run]
        cells[:, 1] = ends - begins
        cells[:, 2], cells[:, 3] = (total[ends] - total[begins] for total in self._sums)
        cells[:, 4] = grain.known_fraud(run, np.repeat(at, count))
        return _lists(cells, count * STRIDE)


@dataclass(frozen=True, slots=True)
class _Grain:
    """The runs of one grain: neighbours of one entity in one tile. `start` has one more item than there are runs."""

    kept: int
    width_us: int
    run: Ints
    start: Ints
    index: Ints
    place: Ints
    lowest: int
    span: int
    labels: Ints
    label_place: Ints
    label_first: Ints

    @classmethod
    def of(cls, name: str, code: Ints, at: Ints, label: Ints) -> _Grain:
        width_us = GRAIN_S[name] * 1_000_000
        tile = at // width_us
        new = np.append(True, (code[1:] != code[:-1]) | (tile[1:] != tile[:-1]))[: len(code)]
        run, start = np.cumsum(new) - 1, np.flatnonzero(new)
        index = tile[start]
        lowest = int(index.min(initial=0 if len(index) == 0 else index[0]))
        span = int(index.max(initial=lowest)) - lowest + 2
        known = np.flatnonzero(label != _NEVER)
        labels = _distinct(label[known])
        label_place = np.sort(run[known] * (len(labels) + 1) + np.searchsorted(labels, label[known]))
        return cls(
            kept=KEPT[name],
            width_us=width_us,
            run=run,
            start=np.append(start, len(code)),
            index=index,
            place=code[start] * span + index - lowest,
            lowest=lowest,
            span=span,
            labels=labels,
            label_place=label_place,
            label_first=np.searchsorted(label_place, np.arange(len(start) + 1) * (len(labels) + 1)),
        )

    def reach(self, code: Ints, at: Ints, begin: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Return the first run that is still kept at each time, and how many there are up to the event before `end`."""
        oldest = np.clip(at // self.width_us - (self.kept - 1) - self.lowest, 0, self.span - 1)
        first = np.searchsorted(self.place, code * self.span + oldest)
        some = end > begin
        last = self.run[np.where(some, end - 1, 0)] if len(self.run) else np.zeros_like(end)
        return first, np.where(some, np.maximum(last - first + 1, 0), 0)

    def known_fraud(self, run: Ints, at: Ints) -> Ints:
        """Count the events of each run whose label arrived before the time; a label is never older than its event."""
        counts = np.zeros(len(run), np.int64)
        some = np.flatnonzero(self.label_first[run + 1] > self.label_first[run])
        run = run[some]
        before = run * (len(self.labels) + 1) + np.searchsorted(self.labels, at[some])
        counts[some] = np.searchsorted(self.label_place, before) - self.label_first[run]
        return counts


@dataclass(frozen=True, slots=True)
class _Firsts:
    """The first event of each party in each run, up to `DISTINCT_CAP` + 1 of them: tile and hashed id.

    `before` counts them ahead of each event.
    """

    pair: Ints
    before: Ints

    @classmethod
    def of(cls, grain: _Grain, party: Ints, ids: Ints) -> _Firsts:
        who = grain.run * len(ids) + party
        # Stable, so that the first of its kind is the earliest.
        order = np.argsort(who, kind="stable")
        new = np.append(True, np.diff(who[order]) > 0)[: len(who)]
        first = np.zeros(len(who), bool)
        first[order[new]] = True
        nth = _prefix(first.astype(np.int64))
        first &= nth[1:] - nth[grain.start[grain.run]] <= DISTINCT_CAP + 1
        chosen = np.flatnonzero(first)
        pair = np.stack([grain.index[grain.run[chosen]], ids[party[chosen]]], axis=1)
        return cls(pair, _prefix(first.astype(np.int64)))

    def pairs(self, grain: _Grain, first: Ints, count: Ints, end: Ints) -> pa.ListArray:
        begin = self.before[np.where(count > 0, grain.start[first], 0)]
        many = np.where(count > 0, self.before[end] - begin, 0)
        return _lists(self.pair[_ranges(begin, many)[0]], many * 2)


def _array(column: Any) -> Any:
    return column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column


def _column(events: pa.Table, name: str, order: Ints) -> Ints:
    if name not in events.column_names:
        return np.zeros(len(order), np.int64)
    return np.asarray(events[name].to_numpy()[order], dtype=np.int64)


def _party_ids(column: Any) -> tuple[Ints, Ints]:
    """Return a number for each event's party, and the hashed id of each number."""
    encoded = _array(column).dictionary_encode()
    ids = np.array([party_id(value) for value in encoded.dictionary.to_pylist()], np.int64)
    return encoded.indices.to_numpy().astype(np.int64), ids


def _distinct(values: Ints) -> Ints:
    # np.unique hashes, which for half a million times takes ten times as long as sorting.
    ascending = np.sort(values)
    return np.asarray(ascending[np.append(True, np.diff(ascending) > 0)[: len(ascending)]])


def _prefix(values: Ints) -> Ints:
    return np.concatenate([np.zeros(1, np.int64), np.cumsum(values)])


def _ranges(first: Ints, count: Ints) -> tuple[Ints, Ints]:
    """Concatenate the ranges [first, first + count), and tell where each one that is not empty ends."""
    ends = np.cumsum(count)
    flat = np.arange(ends[-1] if len(ends) else 0) + np.repeat(first - (ends - count), count)
    return flat, ends[count > 0] - 1


def _lists(values: Ints, lengths: Ints) -> pa.ListArray:
    offsets = pa.array(_prefix(lengths).astype(np.int32))
    return pa.ListArray.from_arrays(offsets, pa.array(values.ravel()))
