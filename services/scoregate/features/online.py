"""Features from Valkey or Redis in Feast's online format: one round trip for all requests of one event-loop turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, NamedTuple

from google.protobuf.message import DecodeError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from scoregate.errors import StoreUnavailable
from scoregate.features import FeatureRow, ViewRow, encoding
from scoregate.features.plan import FeaturePlan, ViewPlan
from scoregate.features.reading import UNREADABLE, Marker, StoredRow, judge, marker_key, read_marker
from scoregate.features.round_trip import Packed, RoundTrips, packed
from scoregate.values import frozen

Raw = list[bytes | None] | Exception
"""What the store answers for the fields of one hash."""

AT_ONCE = 16
"""Requests whose rows are decoded without letting others have the loop."""

_KEY = b"the key"

FAILED = (RedisError, OSError, TimeoutError)
"""What says that the store does not answer."""

CompleteUntil = Callable[[str, str, float], float]
"""(stream, filling of the store, watermark) → time up to which all that was acknowledged is counted in it, seconds."""


@frozen
class _ViewReader:
    """One view's share of a read: where its fields begin in the answer for its hash, and what they are."""

    at: int
    view: ViewPlan
    first: int
    cells: tuple[tuple[str, int, Callable[[bytes], Any]], ...]
    """Of each feature its name, where it stands in the answer, and how it is decoded."""

    @classmethod
    def of(cls, at: int, view: ViewPlan, first: int) -> _ViewReader:
        places = enumerate(view.features, first + 2)
        return cls(at, view, first, tuple((name, place, encoding.decoder(dtype)) for place, (name, dtype) in places))

    @property
    def fields(self) -> list[bytes]:
        name = self.view.name
        features = (encoding.field_key(name, feature) for feature, _ in self.view.features)
        return [encoding.timestamp_key(name), encoding.version_key(name), *features]

    def decode(self, raw: list[bytes | None]) -> StoredRow | None:
        """Return what the store has, None where it has nothing."""
        stamp, version = raw[self.first], raw[self.first + 1]
        if stamp is None:
            return None
        try:
            values = {
                name: None if (cell := raw[place]) is None else decode(cell) for name, place, decode in self.cells
            }
            return StoredRow(values, encoding.decode_timestamp_s(stamp), version.decode() if version else None)
        except (DecodeError, ValueError, OverflowError):
            return UNREADABLE


@frozen
class _HashReader:
    """All views of the same join keys: they share a hash, so one command reads them. Worked out once."""

    join_keys: tuple[str, ...]
    prefix: bytes
    views: tuple[_ViewReader, ...]
    before_key: bytes
    after_key: bytes
    """What the command has before the length of the key, and after the key: the fields are the same every time."""

    @classmethod
    def all_of(cls, plan: FeaturePlan) -> tuple[_HashReader, ...]:
        found: dict[tuple[str, ...], list[_ViewReader]] = {}
        for at, view in enumerate(plan.views):
            before = found.setdefault(view.join_keys, [])
            before.append(_ViewReader.of(at, view, sum(len(reader.fields) for reader in before)))
        return tuple(cls._of(keys, views) for keys, views in found.items())

    @classmethod
    def _of(cls, join_keys: tuple[str, ...], views: list[_ViewReader]) -> _HashReader:
        command = packed(("HMGET", _KEY, *(field for view in views for field in view.fields)))
        before, _, after = command.partition(packed((_KEY,))[len(b"*1\r\n") :])
        return cls(join_keys, encoding.key_prefix(join_keys), tuple(views), before, after)

    def read(self, key: bytes) -> Packed:
        """Return the command that reads all fields of the hash."""
        return b"%b$%d\r\n%b\r\n%b" % (self.before_key, len(key), key, self.after_key)

    def key(self, entities: Mapping[str, str], project: bytes) -> bytes:
        return encoding.row_key(self.prefix, [entities[k] for k in self.join_keys], project)

    def judged(self, raw: Raw, markers: Mapping[str, Marker], now_s: float) -> list[tuple[int, ViewRow]]:
        """Return what the row of each view means, with the place that the view has in the plan."""
        rows = [UNREADABLE] * len(self.views) if isinstance(raw, Exception) else [r.decode(raw) for r in self.views]
        return [
            (r.at, judge(r.view, row, markers.get(r.view.stream), now_s))
            for r, row in zip(self.views, rows, strict=True)
        ]


class _Waiting(NamedTuple):
    """A request's share of a flight: its keys, one for each reader, and who waits for what they stand for."""

    entities: Mapping[str, str]
    now_s: float
    keys: list[bytes]
    future: asyncio.Future[FeatureRow]


class OnlineFeatures:
    """A direct reader of Feast's online store.

    Reads asked for within one turn of the event loop leave as one pipeline: under load the round trip is shared.
    """

    def __init__(
        self, plan: FeaturePlan, url: str, *, timeout_s: float, complete_until_s: CompleteUntil | None = None
    ) -> None:
        # A retry inside the client would spend the request's deadline in silence.
        self._redis: Redis = Redis.from_url(
            url,
            # One timeout around a whole flight; the client would set one for each answer in it.
            socket_timeout=None,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
        )
        self._round_trips = RoundTrips(self._redis, timeout_s)
        self._plan = plan
        self._complete_until_s = complete_until_s
        self._project = plan.project.encode()
        self._readers = _HashReader.all_of(plan)
        self._streams = plan.streams
        self._read_markers = [packed(("HGETALL", marker_key(plan.project, stream))) for stream in self._streams]
        self._markers: dict[str, tuple[Any, Marker | None]] = {}
        self._turn: list[_Waiting] = []
        self.reachable = True
        """Whether the last round trip was answered."""
        self.whole = True
        """Whether the last read found every stream's marker."""

    async def read(self, entities: Mapping[str, str], now_s: float) -> FeatureRow:
        loop = asyncio.get_running_loop()
        keys = [reader.key(entities, self._project) for reader in self._readers]
        future: asyncio.Future[FeatureRow] = loop.create_future()
        if not self._turn:
            loop.call_soon(self._depart)
        self._turn.append(_Waiting(entities, now_s, keys, future))
        return await future

    async def read_all(self, entities: Sequence[Mapping[str, str]], now_s: float) -> list[FeatureRow]:
        asked = [[reader.key(each, self._project) for each in entities] for reader in self._readers]
        # What many share, such as a merchant, is read, decoded and judged once.
        distinct = [list(dict.fromkeys(keys)) for keys in asked]
        try:
            answers = iter(await self._ask(distinct))
        except FAILED as problem:
            raise self._failed(problem) from problem
        self.reachable = True
        raws = [[next(answers) for _ in keys] for keys in distinct]
        markers = self._found(list(answers))
        judged = [
            {key: reader.judged(raw, markers, now_s) for key, raw in zip(keys, of_reader, strict=True)}
            for reader, keys, of_reader in zip(self._readers, distinct, raws, strict=True)
        ]
        return [
            self._row(each, [row for of_key, key in zip(judged, keys, strict=True) for row in of_key[key]])
            for each, *keys in zip(entities, *asked, strict=True)
        ]

    def _row(self, entities: Mapping[str, str], rows: list[tuple[int, ViewRow]]) -> FeatureRow:
        at = dict(rows)
        return FeatureRow({view.name: at[i] for i, view in enumerate(self._plan.views)}, entities)

    def _found(self, raws: Sequence[Any]) -> dict[str, Marker]:
        """Read the markers, which come last in an answer."""
        read = zip(self._streams, raws, strict=True)
        markers = {
            stream: marker for stream, raw in read if (marker := self._vouched(stream, self._marker(stream, raw)))
        }
        self.whole = len(markers) == len(self._streams)
        return markers

    def _marker(self, stream: str, raw: Any) -> Marker | None:
        # Workers move it a few times a second, and every flight reads it.
        before, marker = self._markers.get(stream, (None, None))
        if raw != before:
            marker = read_marker(_pairs(raw))
            self._markers[stream] = raw, marker
        return marker

    def _vouched(self, stream: str, marker: Marker | None) -> Marker | None:
        """Add to a marker up to when all that was acknowledged is counted."""
        if marker is None or self._complete_until_s is None:
            return marker
        complete_s = self._complete_until_s(stream, marker.epoch, marker.watermark_s)
        return Marker(marker.epoch, marker.watermark_s, complete_s)

    def _depart(self) -> None:
        turn, self._turn = self._turn, []
        flight = self._ask(list(zip(*(waiting.keys for waiting in turn), strict=True)))
        flight.add_done_callback(lambda flight: self._land(flight, turn))

    def _land(self, flight: asyncio.Future[list[Any]], turn: list[_Waiting]) -> None:
        try:
            answers = flight.result()
        except FAILED as problem:
            unavailable = self._failed(problem)
            for waiting in turn:
                if not waiting.future.done():
                    waiting.future.set_exception(StoreUnavailable(unavailable.detail))
            return
        self.reachable = True
        rows = len(turn) * len(self._readers)
        markers = self._found(answers[rows:])
        each = zip(turn, (answers[i : rows : len(turn)] for i in range(len(turn))), strict=True)
        self._hand_over(each, markers)

    def _hand_over(self, each: Iterator[tuple[_Waiting, Sequence[Raw]]], markers: Mapping[str, Marker]) -> None:
        """Give some what is theirs; the next turn of the loop goes on, so that others have one in between."""
        some = [*islice(each, AT_ONCE)]
        for waiting, raws in some:
            if waiting.future.done():
                continue
            try:
                waiting.future.set_result(self._read(waiting, raws, markers))
            except Exception as problem:  # its own request's, which would else be waited for in vain, with all after it
                waiting.future.set_exception(problem)
        if len(some) == AT_ONCE:
            asyncio.get_running_loop().call_soon(self._hand_over, each, markers)

    def _read(self, waiting: _Waiting, raws: Sequence[Raw], markers: Mapping[str, Marker]) -> FeatureRow:
        each = zip(self._readers, raws, strict=True)
        rows = [row for reader, raw in each for row in reader.judged(raw, markers, waiting.now_s)]
        return self._row(waiting.entities, rows)

    def _ask(self, keys: Sequence[Sequence[bytes]]) -> asyncio.Future[list[Any]]:
        """Ask for rows by their keys, those of each reader together, and for the markers; in one round trip."""
        of_readers = zip(self._readers, keys, strict=True)
        # Markers after the rows: a store that was flushed meanwhile must not read as one in which nothing happened.
        return self._round_trips(
            [*(reader.read(key) for reader, asked in of_readers for key in asked), *self._read_markers]
        )

    def _failed(self, problem: Exception) -> StoreUnavailable:
        self.reachable = False
        return StoreUnavailable(f"the online store does not answer: {type(problem).__name__}")

    async def close(self) -> None:
        self._round_trips.drop()
        await self._redis.aclose()


def _pairs(raw: list[bytes] | Exception) -> dict[bytes, bytes] | Exception:
    """Read what HGETALL answers: fields and values in turn."""
    return raw if isinstance(raw, Exception) else dict(zip(raw[::2], raw[1::2], strict=True))
