"""Features from Valkey or Redis in Feast's online format: one round trip for all requests of one event-loop turn."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from google.protobuf.message import DecodeError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from scoregate.errors import StoreUnavailable
from scoregate.features import FeatureRow, ViewRow, encoding
from scoregate.features.patience import patience
from scoregate.features.plan import FeaturePlan, ViewPlan
from scoregate.features.reading import UNREADABLE, Marker, StoredRow, assemble, judge, marker_key, read_marker
from scoregate.features.round_trip import Command, RoundTrips

CompleteUntil = Callable[[str, str, float], float]
"""(stream, filling of the store, watermark) → time up to which all that was acknowledged is counted in it, seconds."""


@dataclass(frozen=True, slots=True)
class _ViewReader:
    """One view's share of a read: where its fields begin in the answer for its hash, and what they are."""

    at: int
    view: ViewPlan
    first: int
    decoders: tuple[tuple[str, Callable[[bytes], Any]], ...]

    @classmethod
    def of(cls, at: int, view: ViewPlan, first: int) -> _ViewReader:
        return cls(at, view, first, tuple((name, encoding.decoder(dtype)) for name, dtype in view.features))

    @property
    def fields(self) -> list[bytes]:
        name = self.view.name
        features = (encoding.field_key(name, feature) for feature, _ in self.view.features)
        return [encoding.timestamp_key(name), encoding.version_key(name), *features]

    def decode(self, raw: list[bytes | None]) -> StoredRow | None:
        """Return what the store has, None where it has nothing."""
        stamp = raw[self.first]
        if stamp is None:
            return None
        version, *cells = raw[self.first + 1 : self.first + 2 + len(self.view.features)]
        try:
            values = {
                name: None if cell is None else decode(cell)
                for (name, decode), cell in zip(self.decoders, cells, strict=True)
            }
            return StoredRow(values, encoding.decode_timestamp_s(stamp), version.decode() if version else None)
        except (DecodeError, ValueError, OverflowError):
            return UNREADABLE


@dataclass(frozen=True, slots=True)
class _HashReader:
    """All views of the same join keys: they share a hash, so one command reads them. Worked out once."""

    join_keys: tuple[str, ...]
    prefix: bytes
    views: tuple[_ViewReader, ...]
    fields: tuple[bytes, ...]

    @classmethod
    def all_of(cls, plan: FeaturePlan) -> tuple[_HashReader, ...]:
        found: dict[tuple[str, ...], list[_ViewReader]] = {}
        for at, view in enumerate(plan.views):
            before = found.setdefault(view.join_keys, [])
            before.append(_ViewReader.of(at, view, sum(len(reader.fields) for reader in before)))
        return tuple(
            cls(keys, encoding.key_prefix(keys), tuple(views), tuple(f for view in views for f in view.fields))
            for keys, views in found.items()
        )

    def key(self, entities: Mapping[str, str], project: bytes) -> bytes:
        return encoding.row_key(self.prefix, tuple(entities[k] for k in self.join_keys), project)

    def decode(self, raw: list[bytes | None] | Exception, rows: list[StoredRow | None]) -> None:
        """Put the row of each view where the plan has the view."""
        for view in self.views:
            rows[view.at] = UNREADABLE if isinstance(raw, Exception) else view.decode(raw)

    def judged(
        self, raw: list[bytes | None] | Exception, markers: Mapping[str, Marker], now_s: float
    ) -> list[tuple[int, ViewRow]]:
        """Return what the row of each view means, with the place that the view has in the plan."""
        rows = [(view, UNREADABLE if isinstance(raw, Exception) else view.decode(raw)) for view in self.views]
        return [(r.at, judge(r.view, row, markers.get(r.view.stream), now_s)) for r, row in rows]


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
        self._timeout_s = timeout_s
        self._complete_until_s = complete_until_s
        self._project = plan.project.encode()
        self._readers = _HashReader.all_of(plan)
        self._markers = tuple((stream, marker_key(plan.project, stream)) for stream in plan.streams)
        self._turn: list[tuple[list[bytes], asyncio.Future[list[Any]]]] = []
        self._flights: set[asyncio.Task[None]] = set()
        self.reachable = True
        """Whether the last round trip was answered."""
        self.whole = True
        """Whether the last read found every stream's marker."""

    async def read(self, entities: Mapping[str, str], now_s: float) -> FeatureRow:
        keys = [reader.key(entities, self._project) for reader in self._readers]
        loop = asyncio.get_running_loop()
        future: asyncio.Future[list[Any]] = loop.create_future()
        if not self._turn:
            loop.call_soon(self._depart)
        self._turn.append((keys, future))
        answer = await future
        rows: list[StoredRow | None] = [None] * len(self._plan.views)
        for reader, raw in zip(self._readers, answer, strict=False):
            reader.decode(raw, rows)
        return assemble(self._plan, entities, rows, self._found(answer[len(self._readers) :]), now_s)

    async def read_all(self, entities: Sequence[Mapping[str, str]], now_s: float) -> list[FeatureRow]:
        asked = [[reader.key(each, self._project) for each in entities] for reader in self._readers]
        # What many share, such as a merchant, is read, decoded and judged once.
        distinct = [list(dict.fromkeys(keys)) for keys in asked]
        answers = iter(await self._answers(distinct))
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
        read = zip(self._markers, raws, strict=True)
        markers = {
            stream: marker for (stream, _), raw in read if (marker := self._vouched(stream, read_marker(_pairs(raw))))
        }
        self.whole = len(markers) == len(self._markers)
        return markers

    def _vouched(self, stream: str, marker: Marker | None) -> Marker | None:
        """Add to a marker up to when all that was acknowledged is counted."""
        if marker is None or self._complete_until_s is None:
            return marker
        return replace(marker, complete_s=self._complete_until_s(stream, marker.epoch, marker.watermark_s))

    def _depart(self) -> None:
        turn, self._turn = self._turn, []
        flight = asyncio.get_running_loop().create_task(self._fly(turn))
        self._flights.add(flight)
        flight.add_done_callback(self._flights.discard)

    async def _fly(self, turn: list[tuple[list[bytes], asyncio.Future[list[Any]]]]) -> None:
        per_request = len(self._readers)
        try:
            answers = await self._answers(list(zip(*(keys for keys, _ in turn), strict=True)))
        except StoreUnavailable as problem:
            for _, future in turn:
                if not future.done():
                    future.set_exception(StoreUnavailable(problem.detail))
            return
        of_readers, markers = answers[: len(turn) * per_request], answers[len(turn) * per_request :]
        for i, (_, future) in enumerate(turn):
            if not future.done():
                future.set_result(of_readers[i :: len(turn)] + markers)
                # One decision a turn of the loop, so that a refusal waits for one at most and not for all of them.
                await asyncio.sleep(0)

    async def _answers(self, keys: Sequence[Sequence[bytes]]) -> list[Any]:
        """Ask for rows by their keys, those of each reader together, and for the markers; in one round trip.

        Raises:
            StoreUnavailable: the store does not answer in time.
        """
        of_readers = zip(self._readers, keys, strict=True)
        commands: list[Command] = [("HMGET", key, *reader.fields) for reader, asked in of_readers for key in asked]
        # After the rows: a store that was flushed meanwhile must not read as one in which nothing happened.
        commands += [("HGETALL", key) for _, key in self._markers]
        try:
            async with patience(self._timeout_s):
                answers = await self._round_trips(commands)
        except (RedisError, OSError, TimeoutError) as problem:
            self.reachable = False
            if isinstance(problem, TimeoutError):
                # Slow or dead, nobody can tell: a new connection does not begin with what this one owes.
                self._round_trips.drop()
            raise StoreUnavailable(f"the online store does not answer: {type(problem).__name__}") from problem
        self.reachable = True
        return answers

    async def close(self) -> None:
        self._round_trips.drop()
        await self._redis.aclose()


def _pairs(raw: list[bytes] | Exception) -> dict[bytes, bytes] | Exception:
    """Read what HGETALL answers: fields and values in turn."""
    return raw if isinstance(raw, Exception) else dict(zip(raw[::2], raw[1::2], strict=True))
