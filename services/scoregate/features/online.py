"""Features from Valkey or Redis in Feast's online format: one round trip for all requests of one event-loop turn."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import DecodeError
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from scoregate.errors import StoreUnavailable
from scoregate.features import FeatureRow, encoding
from scoregate.features.plan import FeaturePlan, ViewPlan
from scoregate.features.reading import Marker, assemble, marker_key


@dataclass(frozen=True, slots=True)
class _ViewReader:
    """One view's share of a read, worked out once: the key's constant part, the hash fields, the dtypes."""

    view: ViewPlan
    prefix: bytes
    fields: tuple[bytes, ...]

    @classmethod
    def of(cls, view: ViewPlan) -> _ViewReader:
        features = (encoding.field_key(view.name, name) for name, _ in view.features)
        return cls(view, encoding.key_prefix(view.join_keys), (encoding.timestamp_key(view.name), *features))

    def key(self, entities: Mapping[str, str], project: bytes) -> bytes:
        return encoding.row_key(self.prefix, tuple(entities[k] for k in self.view.join_keys), project)

    def decode(self, raw: list[bytes | None] | Exception) -> tuple[dict[str, Any] | None, float | None]:
        """Return (values, time), (None, None) where there is no row, and ({}, None) for one that cannot be read."""
        if isinstance(raw, Exception):
            return {}, None
        stamp = raw[0]
        if stamp is None:
            return None, None
        try:
            values = {
                name: None if cell is None else encoding.decode_value(cell, dtype)
                for (name, dtype), cell in zip(self.view.features, raw[1:], strict=True)
            }
            return values, encoding.decode_timestamp_s(stamp)
        except (DecodeError, ValueError, OverflowError):
            return {}, None


class OnlineFeatures:
    """A direct reader of Feast's online store.

    Reads asked for within one turn of the event loop leave as one pipeline: under load the round trip is shared.
    """

    def __init__(self, plan: FeaturePlan, url: str, *, timeout_s: float) -> None:
        # A retry inside the client would spend the request's deadline in silence.
        self._redis: Redis = Redis.from_url(
            url,
            socket_timeout=timeout_s,
            socket_connect_timeout=timeout_s,
            retry=Retry(NoBackoff(), 0),
            decode_responses=False,
        )
        self._plan = plan
        self._timeout_s = timeout_s
        self._project = plan.project.encode()
        self._readers = tuple(_ViewReader.of(view) for view in plan.views)
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
        rows = [reader.decode(raw) for reader, raw in zip(self._readers, answer, strict=False)]
        markers = {
            stream: marker
            for (stream, _), raw in zip(self._markers, answer[len(rows) :], strict=True)
            if (marker := _marker(raw))
        }
        self.whole = len(markers) == len(self._markers)
        return assemble(self._plan, rows, markers, now_s)

    def _depart(self) -> None:
        turn, self._turn = self._turn, []
        flight = asyncio.get_running_loop().create_task(self._fly(turn))
        self._flights.add(flight)
        flight.add_done_callback(self._flights.discard)

    async def _fly(self, turn: list[tuple[list[bytes], asyncio.Future[list[Any]]]]) -> None:
        per_request = len(self._readers)
        try:
            async with asyncio.timeout(self._timeout_s):
                pipe = self._redis.pipeline(transaction=False)
                for keys, _ in turn:
                    for reader, key in zip(self._readers, keys, strict=True):
                        pipe.execute_command("HMGET", key, *reader.fields)
                for _, key in self._markers:
                    pipe.execute_command("HMGET", key, "epoch", "watermark_us")
                # One damaged row is its own request's trouble, not that of everybody in this turn.
                answers = await pipe.execute(raise_on_error=False)
        except (RedisError, OSError, TimeoutError) as problem:
            self.reachable = False
            said = f"the online store does not answer: {type(problem).__name__}"
            for _, future in turn:
                if not future.done():
                    future.set_exception(StoreUnavailable(said))
            return
        self.reachable = True
        markers = answers[len(turn) * per_request :]
        for i, (_, future) in enumerate(turn):
            if not future.done():
                future.set_result(answers[i * per_request : (i + 1) * per_request] + markers)

    async def close(self) -> None:
        await self._redis.aclose()


def _marker(raw: list[bytes | None] | Exception) -> Marker | None:
    """Read a marker; one that is damaged is none."""
    if isinstance(raw, Exception) or None in raw:
        return None
    epoch, watermark_us = raw
    try:
        return Marker(epoch.decode(), int(watermark_us) / 1e6)  # type: ignore[union-attr, arg-type]
    except (ValueError, OverflowError):
        return None
