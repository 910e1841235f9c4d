"""A timeout that charges somebody else only for time in which this process ran.

A timer that fires late says that the loop was busy or the processor elsewhere, and the answer may lie in the socket.
Whoever is waited for gets that time back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from scoregate.deadline import Limit

OWN_DELAY_S = 0.005
"""A timer that is later than this was late by our own fault."""


class Watch:
    """Calls `then` after so many seconds, our own delays set aside, unless it is cancelled."""

    __slots__ = ("_due_s", "_is_last", "_loop", "_then", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, then: Callable[[], None]) -> None:
        self._loop, self._then, self._is_last = loop, then, False
        self._wait(seconds)

    def cancel(self) -> None:
        self._timer.cancel()

    def _wait(self, seconds: float) -> None:
        self._due_s = time.monotonic() + seconds
        self._timer = self._loop.call_later(seconds, self._overdue)

    def _overdue(self) -> None:
        late_s = time.monotonic() - self._due_s
        if self._is_last and late_s < OWN_DELAY_S:
            self._then()
            return
        # A loop looks at its timers before its sockets: what came while it was busy is read in between.
        self._is_last = late_s < OWN_DELAY_S
        self._wait(late_s)


class Patience(Limit):
    """A limit on what a task waits for in a `with` block, our own delays set aside."""

    __slots__ = ()

    def _after(self, loop: asyncio.AbstractEventLoop, seconds: float) -> Watch:
        return Watch(loop, seconds, self._end)
