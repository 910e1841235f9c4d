"""The circuit breaker: a dead store is left alone, and found again."""

from __future__ import annotations

import asyncio

import pytest

import toy
from scoregate.errors import StoreUnavailable
from scoregate.features.breaker import FAILURES, Breaker
from scoregate.features.memory import MemoryFeatures

ENTITIES = {"payer_id": "known"}


class Counted(MemoryFeatures):
    """Counts what it is asked."""

    reads = 0

    async def read(self, entities, now_s):  # type: ignore[no-untyped-def]
        self.reads += 1
        return await super().read(entities, now_s)


def counted(*, down: bool) -> Counted:
    source = Counted(toy.PLAN)
    source.rows, source.markers = toy.source().rows, toy.source().markers
    source.down = down
    return source


async def fail(breaker: Breaker, times: int) -> None:
    for _ in range(times):
        with pytest.raises(StoreUnavailable):
            await breaker.read(ENTITIES, toy.NOW_S)


def test_a_dead_store_is_left_alone() -> None:
    """After so many failures in a row no request reaches it; only probes do."""
    source = counted(down=True)

    async def scenario() -> tuple[bool, int]:
        breaker = Breaker(source)
        await fail(breaker, FAILURES + 100)
        opened = breaker.is_open
        await breaker.close()
        return opened, source.reads

    assert (True, FAILURES) == asyncio.run(scenario())


def test_it_closes_when_the_store_is_back() -> None:
    """A probe finds it, and the next request is answered by it."""
    source = counted(down=True)

    async def scenario() -> tuple[bool, int]:
        breaker = Breaker(source)
        await fail(breaker, FAILURES)
        source.down = False
        while breaker.is_open:  # noqa: ASYNC110 - nothing tells, and nothing should
            await asyncio.sleep(0.01)
        row = await breaker.read(ENTITIES, toy.NOW_S)
        return not row.missing, breaker.opened

    assert (True, 1) == asyncio.run(scenario())


def test_a_failure_now_and_then_opens_nothing() -> None:
    """An answer in between starts the count anew."""
    source = counted(down=True)

    async def scenario() -> bool:
        breaker = Breaker(source)
        for _ in range(5):
            source.down = True
            await fail(breaker, FAILURES - 1)
            source.down = False
            await breaker.read(ENTITIES, toy.NOW_S)
        return breaker.is_open

    assert not asyncio.run(scenario())
