"""The lane of batches: turns, and who is not let in."""

from __future__ import annotations

import asyncio

import pytest

from scoregate.errors import Overloaded
from scoregate.serving.lane import FIRST_ROW_S, MOST_BATCHES, Lane


def test_batches_take_turns() -> None:
    """A few rows of one, a few of the next: a long batch does not hold up a short one."""
    lane, told = Lane(), list[str]()

    async def batch(name: str, turns: int) -> None:
        with lane.enter(turns, 10):
            for _ in range(turns):
                async with lane.turn(1):
                    told.append(name)
                    await asyncio.sleep(0)

    async def both() -> None:
        await asyncio.gather(batch("long", 6), batch("short", 2))

    asyncio.run(both())

    assert ["long", "short", "long", "short", "long"] == told[:5]


def test_a_batch_that_would_not_fit_is_refused() -> None:
    """Rows in line times what a row takes, against what is left of the deadline; one alone may always try."""
    lane = Lane()
    with lane.enter(1_000, FIRST_ROW_S * 10):
        with lane.enter(10, FIRST_ROW_S * 1_010):
            pass
        with pytest.raises(Overloaded), lane.enter(10, FIRST_ROW_S * 1_009):
            pass
        assert 1 == lane.batches

    assert 0 == lane.batches


def test_batches_in_line_are_bounded() -> None:
    """However short they are."""
    lane = Lane()
    entered = [lane.enter(1, 1_000) for _ in range(MOST_BATCHES + 1)]
    for one in entered[:-1]:
        one.__enter__()

    with pytest.raises(Overloaded):
        entered[-1].__enter__()
