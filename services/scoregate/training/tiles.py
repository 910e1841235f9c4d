"""Tiles in bulk: what `features.windows` reads, for any number of entities and times, from raw events.

Events are sorted by entity and time once. A tile is then a run of neighbours, its sums are differences of prefix sums,
and what an entity's tiles are at some time is a range of runs, the last of them cut short. What becomes known of an
event afterwards, a label or that it was reversed, adds to its run from then on.
"""

from __future__ import annotations

from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from scoregate.features.windows import DISTINCT_CAP, GRAIN_S, KEPT, STRIDE, party_id
from scoregate.values import frozen

Ints = NDArray[np.int64]

PARTY_LISTS: Final = {"hours": "hour_parties", "days": "day_parties"}
KEPT_US: Final = KEPT["days"] * 86_400_000_000
"""Changes older than this reach no window."""

_ROWS_AT_ONCE: Final = 20_000
_NEVER: Final = np.iinfo(np.int64).max


def tiles_at(events: pa.Table, queries: pa.Table) -> pa.Table:
    """Return the tiles of `queries` (key, at_us), in their order, from the events strictly before each time.

    `events`: key, event_us, and where they exist amount_minor, party (strings), label_us (when fraud became known),
    reversed_us (when the event was taken back).
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
        self._label = _afterwards(events, "label_us", order, self._at)
        self._reversed = _afterwards(events, "reversed_us", order, self._at)
        self._clock = _distinct(self._at)
        self._place = self._code * (len(self._clock) + 1) + np.searchsorted(self._clock, self._at)
        self._first = np.searchsorted(self._code, np.arange(len(self.keys) + 1))
        amount = _column(events, "amount_minor", order)
        major = amount // 100
        # Wrapping around is harmless: only differences are read, and those fit.
        self._sums = _prefix(amount), _prefix(major * major)
        self._grains = {name: _Grain.of(name, self._code, self._at) for name in KEPT}
        later = _later(self._label, self._reversed, amount, major)
        self._later = {name: _Later.of(grain.run, len(grain.index), *later) for name, grain in self._grains.items()}
        self._parties: dict[str, _Firsts] = {}
        self._arrival = order
        if "party" in events.column_names:
            party, ids = _party_ids(events["party"])
            self._party = party[order], ids
            self._parties = {grain: _Firsts.of(self._grains[grain], *self._party) for grain in PARTY_LISTS}

    def log(self, from_us: int, to_us: int) -> pa.Table:
        """Return a row for each change in [from_us, to_us): 1 µs after an event, a label's arrival, a reversal."""
        return self._changed(*self._changes(from_us, to_us))

    def latest(self, from_us: int, to_us: int) -> pa.Table:
        """Return of each entity that changed in [from_us, to_us) the last row of its log there."""
        code, at = self._changes(from_us, to_us)
        last = np.append(code[1:] != code[:-1], True)[: len(code)]
        return self._changed(code[last], at[last])

    def newest(self) -> pa.Table:
        """Return each entity's tiles after its newest event, whenever the others came, with all that is known by now.

        What a worker has that was given the events in the order of the table: tiles are kept as of the newest event,
        and of too many parties in a tile those that came first.
        """
        code = np.arange(len(self.keys))
        end = self._first[1:]
        at = self._at[end - 1] if len(code) else end
        parties = {
            grain: _Firsts.of(self._grains[grain], *self._party, arrival=self._arrival) for grain in self._parties
        }
        tables = []
        for i in range(0, max(len(code), 1), _ROWS_AT_ONCE):
            part = slice(i, i + _ROWS_AT_ONCE)
            known = np.full(len(code[part]), _NEVER)
            tables.append(self._rows(code[part], at[part], self._first[:-1][part], end[part], known, parties))
        found = pa.concat_tables(tables)
        return found.set_column(0, "at_us", pa.array(at + 1)).add_column(0, "key", self.keys)

    def _changed(self, code: Ints, at: Ints) -> pa.Table:
        return self.tiles(code, at).add_column(0, "key", self.keys.take(pa.array(code)))

    def _changes(self, from_us: int, to_us: int) -> tuple[Ints, Ints]:
        """Return entity and time of every change in [from_us, to_us), sorted, each once."""
        times = [(self._at + 1, self._code)]
        for afterwards in (self._label, self._reversed):
            # What becomes known of events that no window holds any more changes nothing.
            known = afterwards - self._at < KEPT_US
            times.append((afterwards[known] + 1, self._code[known]))
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
        return self._rows(code, at, begin, np.where(known, end, 0), at, self._parties)

    def _rows(self, code: Ints, at: Ints, begin: Ints, end: Ints, known: Ints, parties: dict[str, _Firsts]) -> pa.Table:
        """Return the tiles kept at `at` of the events from `begin` to `end`, with what was known before `known`."""
        columns: dict[str, pa.Array] = {"at_us": pa.array(at)}
        for name, grain in self._grains.items():
            first, count = grain.reach(code, at, begin, end)
            columns[name] = self._cells(name, first, count, end, known)
            if name in parties:
                columns[PARTY_LISTS[name]] = parties[name].pairs(grain, first, count, end)
            if name == "days":
                last = self._at[np.maximum(end - 1, 0)] if len(self._at) else np.zeros_like(at)
                columns["last_event_us"] = pa.array(np.where(count > 0, last, 0))
        names = ["at_us", *KEPT, *(PARTY_LISTS[g] for g in parties), "last_event_us"]
        return pa.table({name: columns[name] for name in names})

    def _cells(self, name: str, first: Ints, count: Ints, end: Ints, known: Ints) -> pa.ListArray:
        grain = self._grains[name]
        run, last = _ranges(first, count)
        begins, ends = grain.start[run], grain.start[run + 1]
        # The tile that the time falls into holds only what came before it.
        ends[last] = end[count > 0]
        cells = np.empty((len(run), STRIDE), np.int64)
        cells[:, 0] = grain.index[run]
        cells[:, 1] = ends - begins
        cells[:, 2], cells[:, 3] = (total[ends] - total[begins] for total in self._sums)
        cells[:, 4] = 0
        self._later[name].add_to(cells[:, 1:], run, np.repeat(known, count))
        return _lists(cells, count * STRIDE)


@frozen
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

    @classmethod
    def of(cls, name: str, code: Ints, at: Ints) -> _Grain:
        width_us = GRAIN_S[name] * 1_000_000
        tile = at // width_us
        new = np.append(True, (code[1:] != code[:-1]) | (tile[1:] != tile[:-1]))[: len(code)]
        run, start = np.cumsum(new) - 1, np.flatnonzero(new)
        index = tile[start]
        lowest = int(index.min(initial=0 if len(index) == 0 else index[0]))
        span = int(index.max(initial=lowest)) - lowest + 2
        return cls(
            kept=KEPT[name],
            width_us=width_us,
            run=run,
            start=np.append(start, len(code)),
            index=index,
            place=code[start] * span + index - lowest,
            lowest=lowest,
            span=span,
        )

    def reach(self, code: Ints, at: Ints, begin: Ints, end: Ints) -> tuple[Ints, Ints]:
        """Return the first run that is still kept at each time, and how many there are up to the event before `end`."""
        oldest = np.clip(at // self.width_us - (self.kept - 1) - self.lowest, 0, self.span - 1)
        first = np.searchsorted(self.place, code * self.span + oldest)
        some = end > begin
        last = self.run[np.where(some, end - 1, 0)] if len(self.run) else np.zeros_like(end)
        return first, np.where(some, np.maximum(last - first + 1, 0), 0)


@frozen
class _Later:
    """What becomes known of a grain's runs: changes of count, sum, squares and known fraud, each from its time on."""

    clock: Ints
    place: Ints
    first: Ints
    total: Ints

    @classmethod
    def of(cls, run: Ints, runs: int, event: Ints, at: Ints, change: Ints) -> _Later:
        """`event`: whose runs change; `at`: from when on; `change`: four numbers each."""
        clock = _distinct(at)
        place = run[event] * (len(clock) + 1) + np.searchsorted(clock, at)
        order = np.argsort(place)
        total = np.concatenate([np.zeros((1, 4), np.int64), np.cumsum(change[order], axis=0)])
        place = place[order]
        return cls(clock, place, np.searchsorted(place, np.arange(runs + 1) * (len(clock) + 1)), total)

    def add_to(self, cells: Ints, run: Ints, at: Ints) -> None:
        """Add to rows of `cells`, one per run, what had become known of the run before the time."""
        some = np.flatnonzero(self.first[run + 1] > self.first[run])
        run = run[some]
        before = np.searchsorted(self.place, run * (len(self.clock) + 1) + np.searchsorted(self.clock, at[some]))
        cells[some] += self.total[before] - self.total[self.first[run]]


@frozen
class _Firsts:
    """The first event of each party in each run, up to `DISTINCT_CAP` + 1 of them: tile and hashed id.

    `before` counts them ahead of each event.
    """

    pair: Ints
    before: Ints

    @classmethod
    def of(cls, grain: _Grain, party: Ints, ids: Ints, arrival: Ints | None = None) -> _Firsts:
        """`arrival`: place of each event in the order in which they came, if that is to choose and not their time."""
        who = grain.run * len(ids) + party
        # Stable, so that the first of its kind is the earliest.
        order = np.argsort(who, kind="stable")
        new = np.append(True, np.diff(who[order]) > 0)[: len(who)]
        first = np.zeros(len(who), bool)
        first[order[new]] = True
        nth = _prefix(first.astype(np.int64))
        many = nth[grain.start[1:]] - nth[grain.start[:-1]] > DISTINCT_CAP + 1
        first &= nth[1:] - nth[grain.start[grain.run]] <= DISTINCT_CAP + 1
        for run in np.flatnonzero(many) if arrival is not None else ():
            begin, end = grain.start[run], grain.start[run + 1]
            came = begin + np.argsort(np.asarray(arrival)[begin:end])
            _, earliest = np.unique(party[came], return_index=True)
            first[begin:end] = False
            first[came[np.sort(earliest)[: DISTINCT_CAP + 1]]] = True
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


def _afterwards(events: pa.Table, name: str, order: Ints, at: Ints) -> Ints:
    """Return when something became known of each event, never before it happened; `_NEVER` where nothing did."""
    if name not in events.column_names:
        return np.full(len(order), _NEVER)
    known = pc.fill_null(_array(events[name]), _NEVER).to_numpy()[order]
    return np.asarray(np.maximum(known, at))


def _later(label: Ints, reverse: Ints, amount: Ints, major: Ints) -> tuple[Ints, Ints, Ints]:
    """Return (event, time, change of count, sum, squares, known fraud) for labels and reversals.

    A reversed event is no known fraud either, whichever of the two was known first.
    """
    labelled, reversed_ = np.flatnonzero(label != _NEVER), np.flatnonzero(reverse != _NEVER)
    both = np.flatnonzero((label != _NEVER) & (reverse != _NEVER))
    change = np.zeros((len(labelled) + len(reversed_) + len(both), 4), np.int64)
    change[: len(labelled), 3] = 1
    taken = slice(len(labelled), len(labelled) + len(reversed_))
    change[taken, 0] = -1
    change[taken, 1], change[taken, 2] = -amount[reversed_], -(major * major)[reversed_]
    change[taken.stop :, 3] = -1
    at = np.concatenate([label[labelled], reverse[reversed_], np.maximum(label, reverse)[both]])
    return np.concatenate([labelled, reversed_, both]), at, change


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
