"""A batch of entries → the rows they change, in two round trips: read what is not in memory, swap what changed.

A row is written with the id of the last entry counted in it, and only if nobody has written it since it was read. So an
entry that is delivered twice counts once, and a worker that was thought dead cannot undo what its successor did.
"""

from __future__ import annotations

import hashlib
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Final, Protocol

from scoregate.errors import ScoregateError
from scoregate.events import FACTS, Effect, Event
from scoregate.features import encoding
from scoregate.features.accumulate import Tiles
from scoregate.features.links import Links
from scoregate.features.plan import ViewPlan, views
from scoregate.features.windows import party_id
from scoregate.streaming.rows import RowFormat, command, line
from scoregate.values import frozen

Order = tuple[int, int]
"""An entry's place in its stream: milliseconds and number, as its id says."""
Entry = tuple[Order, bytes, Event]
"""Place and id on the stream, and what happened."""

ROWS_KEPT: Final = 50_000
KEYS_KEPT: Final = 100_000
MOST_TRIES: Final = 20
ROWS_AT_ONCE: Final = 256
"""Rows that are asked for, or written, in one go."""

_party = lru_cache(maxsize=KEYS_KEPT)(party_id)


class State(Protocol):
    """What a row holds, and what of it is not yet as stored."""

    last_event_us: int

    def changes(self) -> dict[str, bytes]: ...
    def all(self) -> dict[str, bytes]: ...


class View(Protocol):
    """A kind of row that events change: where it is, and what an event does to it."""

    @property
    def format(self) -> RowFormat: ...
    @property
    def key(self) -> str: ...
    @property
    def row_key(self) -> Callable[[str], bytes]: ...

    def begin(self, time: bytes | None, stored: Mapping[str, bytes | None]) -> State:
        """Read what is stored of a row.

        Raises:
            ValueError: it is damaged.
        """
        ...

    def apply(self, state: Any, event: Event) -> bool:
        """Apply an event to what `begin` returned; return whether its time is still kept."""
        ...


@frozen
class Counted:
    """A view of tiles, and the columns of the stream that it is keyed by and counts."""

    format: RowFormat
    key: str
    party: str | None
    amount: str | None
    row_key: Callable[[str], bytes]

    @classmethod
    def of(cls, plan: ViewPlan, tags: Mapping[str, str], project: str) -> Counted:
        form = RowFormat.of(plan, project)
        key = tags.get("key", plan.join_keys[0])
        # The same merchants come all the time.
        return cls(form, key, tags.get("party"), tags.get("amount"), lru_cache(maxsize=KEYS_KEPT)(form.key))

    def begin(self, time: bytes | None, stored: Mapping[str, bytes | None]) -> Tiles:
        return Tiles(stored, parties=self.party is not None)

    def apply(self, state: Tiles, event: Event) -> bool:
        amount = int(event.row.get(self.amount) or 0) if self.amount else 0
        if event.effect is Effect.COUNT:
            party = event.row.get(self.party) if self.party else None
            return state.count(event.at_us, amount, None if party is None else _party(str(party)))
        if event.effect is Effect.REVERSE:
            return state.reverse(subject_id(event), event.at_us, amount)
        if event.effect is Effect.LABEL:
            return state.label(subject_id(event), event.at_us, is_bad=bool(event.is_bad), known_us=event.known_us)
        return True


@frozen
class Linked:
    """A view of links, and the column of the stream that it is keyed by. Only what happened links: no label does."""

    format: RowFormat
    key: str
    row_key: Callable[[str], bytes]

    @classmethod
    def of(cls, plan: ViewPlan, tags: Mapping[str, str], project: str) -> Linked:
        form = RowFormat.of(plan, project)
        return cls(form, tags.get("key", plan.join_keys[0]), form.key)

    def begin(self, time: bytes | None, stored: Mapping[str, bytes | None]) -> Links:
        # A row's time is a microsecond after its newest event's.
        return Links(stored, round(encoding.decode_timestamp_s(time) * 1e6) - 1 if time else 0)

    def apply(self, state: Links, event: Event) -> bool:
        return state.add(event.at_us, event.row)


@dataclass(slots=True)
class _Row:
    """A row as this worker last saw or wrote it."""

    version: bytes
    order: Order
    state: State


@dataclass(slots=True)
class _Work:
    """What a batch does to one row."""

    view: View
    key: bytes
    place: tuple[bytes, bytes]
    entries: list[Entry] = field(default_factory=list)


@dataclass(slots=True)
class Applied:
    """What became of a batch: (entry, view) pairs that counted, and those that came too late for any tile."""

    counted: int = 0
    late: int = 0


def subject_id(event: Event) -> int:
    """Hash an event's subject to 64 bits, to tell the events of one row apart."""
    return int.from_bytes(hashlib.blake2b(f"{event.service}\0{event.subject}".encode(), digest_size=8).digest())


def order_of(entry_id: bytes) -> Order:
    """Return an entry's place in its stream; (0, 0) for no entry."""
    ms, _, seq = entry_id.partition(b"-")
    return (int(ms), int(seq)) if ms else (0, 0)


class Applier:
    """Applies entries of one stream to the rows of one shard; not for several threads at once."""

    def __init__(
        self, redis: Any, registry: bytes, project: str, stream: str, *, swap_sha: str, shard: int = 0, shards: int = 1
    ) -> None:
        self._redis, self._swap_sha = redis, swap_sha.encode()
        self._shard, self._shards = shard, shards
        self._rows: OrderedDict[tuple[bytes, bytes], _Row] = OrderedDict()
        self._counted: list[View] = [
            Counted.of(plan, tags, project) for plan, tags in views(registry, "tiles") if plan.stream == stream
        ]
        linked = (Linked.of(plan, tags, project) for plan, tags in views(registry, "links") if plan.stream == stream)
        self._happened: list[View] = [*self._counted, *linked]
        facts = (plan for plan, _ in views(registry, FACTS) if stream == FACTS)
        self._facts = {plan.name: RowFormat.of(plan, project) for plan in facts}

    def apply(self, entries: Sequence[Entry]) -> Applied:
        """Count entries, in their order.

        Raises:
            RedisError: the store failed on the way; the entries may be given again.
        """
        applied = Applied()
        if self._facts:
            self._state(entries, applied)
            return applied
        work = self._sort(entries)
        for _ in range(MOST_TRIES):
            if not work:
                return applied
            work = self._try(work, applied)
        raise ScoregateError(f"{len(work)} rows were changed by somebody else again and again")

    def forget(self) -> None:
        """Drop the rows in memory: somebody else may have written them."""
        self._rows.clear()

    def _mine(self, key: bytes) -> bool:
        return self._shards == 1 or zlib.crc32(key) % self._shards == self._shard

    def _sort(self, entries: Iterable[Entry]) -> list[_Work]:
        """Bring together what concerns the same row."""
        found: dict[tuple[bytes, bytes], _Work] = {}
        for entry in entries:
            row = entry[2].row
            for view in self._happened if entry[2].effect is Effect.COUNT else self._counted:
                entity = row.get(view.key)
                if entity is None:
                    continue
                key = view.row_key(entity)
                if self._mine(key):
                    place = (key, view.format.version)
                    work = found.get(place)
                    if work is None:
                        work = found[place] = _Work(view, key, place)
                    work.entries.append(entry)
        return list(found.values())

    def _try(self, work: list[_Work], applied: Applied) -> list[_Work]:
        """Apply and write; return what has to be done again, because its row had changed.

        A part of the rows at a time, and never waiting for what was asked last: the store works while this does.
        """
        parts = [work[start : start + ROWS_AT_ONCE] for start in range(0, len(work), ROWS_AT_ONCE)]
        again: list[_Work] = []
        written: list[tuple[_Work, Applied]] = []
        with line(self._redis) as store:
            asked = self._ask(store, parts[0])
            for part, following in zip(parts, [*parts[1:], []], strict=True):
                coming = self._ask(store, following)
                self._load(store, asked)
                before, written = written, self._swap(store, part)
                self._settle(store, before, applied, again)
                asked = coming
            self._settle(store, written, applied, again)
        while len(self._rows) > ROWS_KEPT:
            self._rows.popitem(last=False)
        return again

    def _ask(self, store: Any, work: list[_Work]) -> list[_Work]:
        """Ask for the rows that are not in memory; return whose they are."""
        unknown = [each for each in work if each.place not in self._rows]
        if unknown:
            store.send_packed_command([b"".join([command(each.view.format.read(each.key)) for each in unknown])])
        return unknown

    def _load(self, store: Any, asked: list[_Work]) -> None:
        for each in asked:
            version, time, stored = each.view.format.stored(store.read_response())
            self._rows[each.place] = _Row(version, order_of(version), each.view.begin(time, stored))

    def _swap(self, store: Any, work: list[_Work]) -> list[tuple[_Work, Applied]]:
        """Apply what is not counted yet, and ask for it to be written; return that with what became of it."""
        written: list[tuple[_Work, Applied]] = []
        commands: list[bytes] = []
        for each in work:
            row, view = self._rows[each.place], each.view
            self._rows.move_to_end(each.place)
            fresh = [entry for entry in each.entries if entry[0] > row.order]
            if not fresh:
                continue
            result = Applied()
            for _, _, event in fresh:
                if view.apply(row.state, event):
                    result.counted += 1
                else:
                    result.late += 1
            before, (order, after, _) = row.version, fresh[-1]
            time = encoding.encode_timestamp(row.state.last_event_us + 1)
            # A row that is written for the first time is written whole: no feature of it is null.
            values = row.state.changes() if before else row.state.all()
            commands.append(view.format.swap(self._swap_sha, each.key, before, after, time, values))
            row.version, row.order = after, order
            written.append((each, result))
        if commands:
            store.send_packed_command([b"".join(commands)])
        return written

    def _settle(self, store: Any, written: list[tuple[_Work, Applied]], applied: Applied, again: list[_Work]) -> None:
        """Take the answers to swaps."""
        for each, result in written:
            if store.read_response():
                applied.counted += result.counted
                applied.late += result.late
            else:
                del self._rows[each.place]
                again.append(each)

    def _state(self, entries: Iterable[Entry], applied: Applied) -> None:
        """Write statements, each where it is newer than what is stored."""
        for order, entry_id, event in entries:
            form = self._facts.get(event.view)
            if form is None:
                applied.late += 1
                continue
            entity = event.row[form.view.join_keys[0]]
            key = form.key(str(entity))
            if not self._mine(key):
                continue
            for _ in range(MOST_TRIES):
                version, time, _ = form.stored(self._redis.execute_command(*form.read(key)))
                if order_of(version) >= order:
                    break
                if time is not None and encoding.decode_timestamp_s(time) * 1e6 > event.at_us:
                    applied.late += 1
                    break
                values = {name: encoding.encode_value(event.row.get(name), dtype) for name, dtype in form.view.features}
                after = encoding.encode_timestamp(event.at_us)
                with line(self._redis) as store:
                    store.send_packed_command([form.swap(self._swap_sha, key, version, entry_id, after, values)])
                    swapped = store.read_response()
                if swapped:
                    applied.counted += 1
                    break
