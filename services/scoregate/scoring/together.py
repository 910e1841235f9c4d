"""One step of many requests at once: its code and data are brought to the processor once, and not for each of them.

A step of a decision takes half as long right after the same step of another decision as after the whole of one. So
requests wait before a step for those who are about to reach it; not for long, and nobody waits who is alone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

WAIT_S: Final = 0.002
"""Longest wait for those who are coming."""

AT_ONCE: Final = 16
"""Requests that take a step together: whoever else wants the loop, such as a refusal, waits for so many at most."""

One = TypeVar("One")
Found = TypeVar("Found")


class Together(Generic[One, Found]):
    """Calls `step` with those who came, in their order; it returns what it finds of each. `coming`: how many are."""

    def __init__(self, step: Callable[[Sequence[One]], Sequence[Found]], coming: Callable[[], int]) -> None:
        self._step, self._coming = step, coming
        self._waiting: list[tuple[One, asyncio.Future[Found]]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_due = False

    async def __call__(self, one: One) -> Found:
        """Take the step, and what it raises of this one."""
        if not self._waiting and not self._coming():
            return self._step([one])[0]
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Found] = loop.create_future()
        self._waiting.append((one, future))
        if not self._coming() or len(self._waiting) >= AT_ONCE:
            self.go()
        elif self._timer is None:
            self._timer = loop.call_later(WAIT_S, self._go)
        return await future

    def go(self) -> None:
        """Wait for nobody any more."""
        if self._waiting and not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._go)

    def _go(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer, self._is_due = None, False
        some, self._waiting = self._waiting[:AT_ONCE], self._waiting[AT_ONCE:]
        self._take(some)
        self.go()

    def _take(self, some: Sequence[tuple[One, asyncio.Future[Found]]]) -> None:
        try:
            found = [*zip(some, self._step([one for one, _ in some]), strict=True)]
        except Exception as problem:
            if len(some) == 1:
                [(_, future)] = some
                if not future.done():
                    future.set_exception(problem)
                return
            # Whoever cannot take it must not keep the others from it.
            for each in some:
                self._take([each])
            return
        for (_, future), one in found:
            if not future.done():
                future.set_result(one)
