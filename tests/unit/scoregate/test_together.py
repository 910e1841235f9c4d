"""Requests that take a step together: nobody waits for nothing, and nobody suffers by the others."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import pytest

from scoregate.scoring import together
from scoregate.scoring.together import AT_ONCE, Together


class Steps:
    """Doubles each number, and notes which came together; an odd one cannot be doubled."""

    def __init__(self) -> None:
        self.coming = 0
        self.groups: list[list[int]] = []
        self.take = Together(self._double, lambda: self.coming)

    def _double(self, some: Sequence[int]) -> list[int]:
        self.groups.append([*some])
        if any(one % 2 for one in some):
            raise ValueError(f"{some} are not even")
        return [2 * one for one in some]


def run(act: Callable[[Steps], Awaitable[None]]) -> Steps:
    steps = Steps()
    asyncio.run(asyncio.wait_for(act(steps), 30))
    return steps


def test_who_is_alone_waits_for_nobody() -> None:
    """The step is taken without another turn of the loop."""

    async def act(steps: Steps) -> None:
        with pytest.raises(StopIteration) as taken:
            steps.take(2).send(None)
        assert 4 == taken.value.value

    run(act)


def test_those_who_are_coming_are_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets its own, in whatever order they came; the last of them ends the wait."""
    monkeypatch.setattr(together, "WAIT_S", 60.0)

    async def act(steps: Steps) -> None:
        async def come(one: int) -> int:
            await asyncio.sleep(0.001 * one)
            steps.coming -= 1
            return await steps.take(one)

        steps.coming = 3
        assert [8, 4, 12] == await asyncio.gather(*map(come, (4, 2, 6)))

    assert [[2, 4, 6]] == run(act).groups


def test_who_was_coming_and_does_not_come_keeps_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever knows of it says so; and else a little time is enough."""

    async def act(steps: Steps) -> None:
        steps.coming = 1
        assert 4 == await steps.take(2)
        monkeypatch.setattr(together, "WAIT_S", 60.0)
        waiting = asyncio.ensure_future(steps.take(6))
        await asyncio.sleep(0)
        steps.coming = 0
        steps.take.go()
        assert 12 == await waiting

    run(act)


def test_no_more_than_some_are_taken_at_once() -> None:
    """Others want the loop, too: it turns between the groups."""

    async def act(steps: Steps) -> None:
        steps.coming = 1
        turns: list[int] = []

        async def watch() -> None:
            while True:
                turns.append(len(steps.groups))
                await asyncio.sleep(0)

        watching = asyncio.ensure_future(watch())
        numbers = [*range(0, 6 * AT_ONCE, 2)]
        assert [2 * one for one in numbers] == await asyncio.gather(*map(steps.take, numbers))
        watching.cancel()
        assert {0, 1, 2, 3} <= {*turns}

    assert [AT_ONCE] * 3 == [len(group) for group in run(act).groups]


def test_who_cannot_take_it_fails_alone() -> None:
    """The others have what they would have without it, and whoever gave up is missed by nobody."""

    async def act(steps: Steps) -> None:
        steps.coming = 1
        asked = [asyncio.ensure_future(steps.take(one)) for one in (2, 3, 4, 6)]
        await asyncio.sleep(0)
        asked[2].cancel()
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [4, 12] == [found[0], found[3]]
        assert [ValueError, asyncio.CancelledError] == [type(found[1]), type(found[2])]

    run(act)
