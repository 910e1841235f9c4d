"""What rows of the online store held up to any entry of their stream: history and twin, added up by brute force.

Made to be held against what was served, so it shares the definition with the worker and the backfill and no code: an
event adds to its minute, hour and day, a reversal takes that back, the label that became known last holds; tiles are
kept as of the newest event, and of too many parties in one tile those that came first.
"""

from __future__ import annotations

import datetime as dt
import json
from array import array
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from scoregate.events import FACTS, Effect
from scoregate.features import encoding
from scoregate.features.plan import ViewPlan
from scoregate.features.windows import DISTINCT_CAP, GRAIN_S, KEPT, party_id
from scoregate.settings import Settings
from scoregate.training import backfill, live, tilelog
from scoregate.training.streams import DAY_US
from scoregate.training.tilelog import TileView
from scoregate.values import frozen

Order = tuple[int, int]
"""An entry's place in its stream."""

NOTHING: Final[Order] = (0, 0)
PARTY_LISTS: Final = {"hours": "hour_parties", "days": "day_parties"}

_party = lru_cache(maxsize=1_000_000)(party_id)


@frozen
class Filling:
    """The last filling of a stream's rows from history: history up to `until_us`, finished at `at_s`."""

    until_us: int
    at_s: float

    @classmethod
    def of(cls, settings: Settings, stream: str) -> Self | None:
        """Read what is noted of it; None where nothing was filled from here."""
        note = backfill.note_path(settings, stream)
        said = json.loads(note.read_text()) if note.exists() else {}
        return cls(int(said["until_us"]), note.stat().st_mtime) if "until_us" in said else None


@frozen
class Streamed:
    """One event of the twin. `moment_us` is when it began to matter: it happened, or became known."""

    order: Order
    effect: str
    about: tuple[str, str]
    at_us: int
    known_us: int
    is_bad: bool
    view: str
    row: Mapping[str, Any]

    @property
    def moment_us(self) -> int:
        return self.at_us if self.effect in (Effect.COUNT, Effect.FACTS) else self.known_us


@frozen
class Twin:
    """A stream as the offline store has it: its events, each once and in order, and the id of every entry."""

    events: Sequence[Streamed]
    ids: Collection[Order]
    last: Order

    @classmethod
    def of(cls, settings: Settings, stream: str) -> Self:
        table = live.read(settings, stream)
        names = ("id_ms", "id_seq", "effect", "service", "subject", "event_at", "known_at", "is_bad", "view", "row")
        lists = [(table[name].cast(pa.int64()) if name.endswith("_at") else table[name]).to_pylist() for name in names]
        events = [
            Streamed((ms, seq), effect, (service, subject), at, known, bool(bad), view or "", json.loads(row))
            for ms, seq, effect, service, subject, at, known, bad, view, row in zip(*lists, strict=True)
        ]
        # What was written twice counts once, but a row may be of either entry.
        ids: set[Order] = {NOTHING}
        for file in live.files(settings, stream):
            both = pq.ParquetFile(file).read(columns=["id_ms", "id_seq"], use_threads=False)
            ids.update(zip(both["id_ms"].to_pylist(), both["id_seq"].to_pylist(), strict=True))
        return cls(events, ids, max(ids))


Place = Callable[[Streamed], Any]
"""What events are put in order by, and cut off at."""


def by_entry(event: Streamed) -> Order:
    return event.order


def by_moment(event: Streamed) -> int:
    return event.moment_us


@dataclass(slots=True)
class _Tiles:
    """One entity's tiles: by grain and index count, sum, squares, known fraud; and the parties of each."""

    grains: dict[str, dict[int, list[int]]] = field(default_factory=lambda: {name: {} for name in GRAIN_S})
    parties: dict[str, dict[int, dict[int, None]]] = field(default_factory=lambda: {name: {} for name in PARTY_LISTS})
    reversed: set[tuple[str, str]] = field(default_factory=set)
    labels: dict[tuple[str, str], tuple[int, bool]] = field(default_factory=dict)
    last_us: int = 0

    def apply(self, event: Streamed, amount: int, party: str | None) -> None:
        about = event.about
        known_us, is_bad = self.labels.get(about, (0, False))
        if event.effect == Effect.COUNT:
            self.last_us = max(self.last_us, event.at_us)
            self._add(event.at_us, (1, amount, (amount // 100) ** 2, 0))
            for grain in PARTY_LISTS if party is not None else ():
                self.meet(grain, event.at_us // (GRAIN_S[grain] * 1_000_000), str(party))
        elif event.effect == Effect.REVERSE and about not in self.reversed:
            self.reversed.add(about)
            self._add(event.at_us, (-1, -amount, -((amount // 100) ** 2), -int(is_bad)))
        elif event.effect == Effect.LABEL and event.known_us >= known_us:
            self.labels[about] = (event.known_us, event.is_bad)
            if about not in self.reversed:
                self._add(event.at_us, (0, 0, 0, int(event.is_bad) - int(is_bad)))

    def meet(self, grain: str, index: int, party: str) -> None:
        met = self.parties[grain].setdefault(index, {})
        if len(met) <= DISTINCT_CAP:
            met[_party(party)] = None

    def _add(self, at_us: int, change: Sequence[int]) -> None:
        for grain, tiles in self.grains.items():
            tile = tiles.setdefault(at_us // (GRAIN_S[grain] * 1_000_000), [0, 0, 0, 0])
            for i, by in enumerate(change):
                tile[i] += by

    def features(self) -> dict[str, Any]:
        """Return the features of a view of tiles, lists as arrays."""
        out: dict[str, Any] = {"last_event_us": self.last_us}
        for grain, tiles in self.grains.items():
            oldest = self.last_us // (GRAIN_S[grain] * 1_000_000) - KEPT[grain] + 1
            kept = sorted(index for index in tiles if index >= oldest)
            out[grain] = array("q", (n for index in kept for n in (index, *tiles[index])))
            if grain in PARTY_LISTS:
                met = self.parties[grain]
                kept = sorted(index for index in met if index >= oldest)
                out[PARTY_LISTS[grain]] = array("q", (n for index in kept for id_ in met[index] for n in (index, id_)))
        return out

    def copy(self) -> _Tiles:
        return _Tiles(
            {grain: {index: [*tile] for index, tile in tiles.items()} for grain, tiles in self.grains.items()},
            {grain: {index: {**met} for index, met in tiles.items()} for grain, tiles in self.parties.items()},
            last_us=self.last_us,
        )


class TilePast:
    """The rows of one view of tiles, of these entities, for requests from `from_us` on."""

    def __init__(
        self, settings: Settings, view: TileView, filling: Filling, twin: Twin, entities: Collection[str], from_us: int
    ) -> None:
        self._view = view
        self._before = _history(settings, view, filling, entities, from_us)
        self._events: dict[str, list[Streamed]] = {}
        oldest_us = from_us - (KEPT["days"] + 1) * DAY_US
        for event in twin.events:
            key = event.row.get(view.key)
            if key is not None and key in entities and event.at_us >= oldest_us:
                self._events.setdefault(key, []).append(event)

    def rows(self, asked: Sequence[tuple[str, Any]], place: Place) -> list[dict[str, Any] | None]:
        """Return for each (entity, cut) the features of its row with every event whose place is not after the cut.

        None where nothing had been counted.
        """
        found: list[dict[str, Any] | None] = [None] * len(asked)
        own: dict[str, list[int]] = {}
        for i, (key, _) in enumerate(asked):
            own.setdefault(key, []).append(i)
        for key, questions in own.items():
            events = iter(sorted(self._events.get(key, ()), key=place))
            tiles = self._before[key].copy() if key in self._before else None
            event = next(events, None)
            for i in sorted(questions, key=lambda each: asked[each][1]):
                while event is not None and place(event) <= asked[i][1]:
                    tiles = tiles or _Tiles()
                    self._apply(tiles, event)
                    event = next(events, None)
                found[i] = tiles.features() if tiles else None
        return found

    def _apply(self, tiles: _Tiles, event: Streamed) -> None:
        view, row = self._view, event.row
        party = row.get(view.party) if view.party else None
        amount = int(row.get(view.amount) or 0) if view.amount else 0
        tiles.apply(event, amount, None if party is None else str(party))


def _history(
    settings: Settings, view: TileView, filling: Filling, entities: Collection[str], from_us: int
) -> dict[str, _Tiles]:
    """Return the tiles of the days on disk, with the labels known when the store was filled."""
    first = from_us // DAY_US - KEPT["days"] - 1
    days = [dt.date(1970, 1, 1) + dt.timedelta(days=day) for day in range(first, filling.until_us // DAY_US + 1)]
    wanted = pa.array(sorted(entities), pa.string())
    parts = []
    for table in tilelog.read_days(settings, view, days):
        is_ours = pc.and_(pc.is_in(table["key"], value_set=wanted), pc.less_equal(table["event_us"], filling.until_us))
        parts.append(table.filter(is_ours))
    found: dict[str, _Tiles] = {}
    if not sum(part.num_rows for part in parts):
        return found
    events = pa.concat_tables(parts, promote_options="default").combine_chunks()
    encoded = events["key"].combine_chunks().dictionary_encode()
    keys, code = encoded.dictionary.to_pylist(), encoded.indices.to_numpy().astype(np.int64)
    at = events["event_us"].to_numpy()
    entity = [found.setdefault(key, _Tiles()) for key in keys]
    changes = _changes(events, filling.until_us)
    party = events["party"].to_pylist() if "party" in events.column_names else [None] * len(at)
    for grain, width_s in GRAIN_S.items():
        index = at // (width_s * 1_000_000)
        # No window of these requests reaches further back.
        recent = np.flatnonzero(index >= from_us // (width_s * 1_000_000) - KEPT[grain])
        for i in recent.tolist() if grain in PARTY_LISTS else ():
            if party[i] is not None:
                entity[code[i]].meet(grain, int(index[i]), party[i])
        recent = recent[np.lexsort((index[recent], code[recent]))]
        if not len(recent):
            continue
        new = np.append(True, (np.diff(code[recent]) != 0) | (np.diff(index[recent]) != 0))
        start = np.flatnonzero(new)
        sums = np.add.reduceat(changes[recent], start).tolist()
        tiles = zip(code[recent][start].tolist(), index[recent][start].tolist(), sums, strict=True)
        for who, i, tile in tiles:
            entity[who].grains[grain][i] = tile
    newest = np.zeros(len(keys), np.int64)
    np.maximum.at(newest, code, at)
    for who, last_us in zip(entity, newest.tolist(), strict=True):
        who.last_us = last_us
    return found


def _changes(events: pa.Table, until_us: int) -> Any:
    """Return what each event adds to a tile: count, sum, squares, known fraud."""
    out = np.zeros((events.num_rows, 4), np.int64)
    out[:, 0] = 1
    if "amount_minor" in events.column_names:
        amount = events["amount_minor"].to_numpy().astype(np.int64)
        out[:, 1], out[:, 2] = amount, (amount // 100) ** 2
    if "label_us" in events.column_names:
        out[:, 3] = pc.fill_null(pc.less_equal(events["label_us"], until_us), False).to_numpy()
    return out


@frozen
class _Statement:
    """What was stated of an entity; `event` is None for what came with the history."""

    at_us: int
    values: Mapping[str, Any]
    event: Streamed | None


class FactsPast:
    """The rows of one view of facts, of these entities."""

    def __init__(
        self, settings: Settings, plan: ViewPlan, filling: Filling, twin: Twin, entities: Collection[str]
    ) -> None:
        key = plan.join_keys[0]
        self._said: dict[str, list[_Statement]] = {}
        for row in _newest(settings, plan, filling, entities):
            self._said[row[key]] = [_Statement(row["event_timestamp"], _stored(row, plan), None)]
        for event in twin.events:
            if event.effect == Effect.FACTS and event.view == plan.name and event.row.get(key) in entities:
                statement = _Statement(event.at_us, _stored(event.row, plan), event)
                self._said.setdefault(str(event.row[key]), []).append(statement)

    def rows(self, asked: Sequence[tuple[str, Any]], place: Place) -> list[dict[str, Any] | None]:
        """Return for each (entity, cut) the newest statement whose place is not after the cut, None without any."""
        return [self._row(key, cut, place) for key, cut in asked]

    def _row(self, key: str, cut: Any, place: Place) -> dict[str, Any] | None:
        newest: _Statement | None = None
        for said in self._said.get(key, ()):
            is_there = said.event is None or place(said.event) <= cut
            if is_there and (newest is None or said.at_us >= newest.at_us):
                newest = said
        return None if newest is None else dict(newest.values)


def _stored(row: Mapping[str, Any], plan: ViewPlan) -> dict[str, Any]:
    """Return a statement's features as a store gives them back."""
    return {
        name: None if row.get(name) is None else encoding.decode_value(encoding.encode_value(row[name], dtype), dtype)
        for name, dtype in plan.features
    }


def _newest(
    settings: Settings, plan: ViewPlan, filling: Filling, entities: Collection[str]
) -> Iterable[Mapping[str, Any]]:
    """Yield the last statement of history about each entity, times in microseconds."""
    key, left = plan.join_keys[0], set(entities)
    for file in sorted((settings.data / FACTS / plan.name).glob("????-??-??.parquet"), reverse=True):
        if not left:
            return
        table = pq.ParquetFile(file).read(use_threads=False)
        at = table["event_timestamp"].cast(pa.int64())
        table = table.set_column(table.column_names.index("event_timestamp"), "event_timestamp", at)
        is_ours = pc.is_in(table[key], value_set=pa.array(sorted(left), pa.string()))
        table = table.filter(pc.and_(is_ours, pc.less_equal(table["event_timestamp"], filling.until_us)))
        newest = {row[key]: row for row in table.sort_by("event_timestamp").to_pylist()}
        left -= newest.keys()
        yield from newest.values()
