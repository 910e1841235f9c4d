"""A circuit breaker before an online store: one that is dead or slow is left alone, and asked now and then.

While it is open every read fails at once, which is the next rung of the ladder without the wait. Probes are reads of
what could not be read last, in the background: nobody's request waits to find out whether the store is back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TypeVar

from scoregate.errors import StoreUnavailable
from scoregate.features import FeatureRow, FeatureSource

Found = TypeVar("Found")

FAILURES = 10
"""Reads that fail in a row before the store is left alone."""

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 0.4
"""Before a probe; doubled each time, so that a store under recovery is not hammered."""


class Breaker:
    """The port again, around a source."""

    def __init__(self, source: FeatureSource) -> None:
        self._source = source
        self._failures = 0
        self._probing: asyncio.Task[None] | None = None
        self.opened = 0
        """How often the store was left alone."""

    @property
    def is_open(self) -> bool:
        return self._probing is not None

    async def read(self, entities: Mapping[str, str], now_s: float) -> FeatureRow:
        return await self._watched(entities, lambda: self._source.read(entities, now_s))

    async def read_all(self, entities: Sequence[Mapping[str, str]], now_s: float) -> list[FeatureRow]:
        return await self._watched(entities[0], lambda: self._source.read_all(entities, now_s))

    async def _watched(self, entities: Mapping[str, str], read: Callable[[], Awaitable[Found]]) -> Found:
        if self._probing is not None:
            raise StoreUnavailable("the online store did not answer lately and is left alone")
        try:
            found = await read()
        except StoreUnavailable:
            self._failed(entities)
            raise
        self._failures = 0
        return found

    def _failed(self, entities: Mapping[str, str]) -> None:
        self._failures += 1
        if self._failures >= FAILURES and self._probing is None:
            self.opened += 1
            self._probing = asyncio.create_task(self._probe(entities))

    async def _probe(self, entities: Mapping[str, str]) -> None:
        pause_s = FIRST_PAUSE_S
        try:
            while not await self._answers(entities):
                await asyncio.sleep(pause_s)
                pause_s = min(pause_s * 2, LONGEST_PAUSE_S)
        finally:
            self._failures, self._probing = 0, None

    async def _answers(self, entities: Mapping[str, str]) -> bool:
        try:
            await self._source.read(entities, time.time())
        except StoreUnavailable:
            return False
        return True

    async def close(self) -> None:
        if self._probing is not None:
            self._probing.cancel()
        await self._source.close()
