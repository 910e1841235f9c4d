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

ONE_POLL_S = 0.001
"""A loop looks at its timers before its sockets; at shorter ones uvloop looks without its sockets in between."""


class Watch:
    """Calls `then` after so many seconds, unless it is cancelled; our own delays are given back, as much again at most.

    What came while the loop was busy is read before it is called.
    """

    __slots__ = ("_due_s", "_is_last", "_loop", "_spare_s", "_then", "_timer")

    def __init__(self, loop: asyncio.AbstractEventLoop, seconds: float, then: Callable[[], None]) -> None:
        self._loop, self._then, self._spare_s, self._is_last = loop, then, seconds, False
        self._wait(seconds)

    def cancel(self) -> None:
        self._timer.cancel()

    def _wait(self, seconds: float) -> None:
        self._due_s = time.monotonic() + seconds
        self._timer = self._loop.call_later(seconds, self._overdue)

    def _overdue(self) -> None:
        if self._is_last:
            self._then()
            return
        late_s = time.monotonic() - self._due_s
        self._spare_s -= late_s
        self._is_last = late_s < OWN_DELAY_S or self._spare_s <= 0
        self._wait(max(late_s, ONE_POLL_S))


class Patience(Limit):
    """A limit on what a task waits for in a `with` block, our own delays set aside."""

    __slots__ = ()

    def _after(self, loop: asyncio.AbstractEventLoop, seconds: float) -> Watch:
        return Watch(loop, seconds, self._end)
