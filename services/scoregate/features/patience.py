"""A timeout that charges somebody else only for time in which this process ran.

A timer that fires late says that the loop was busy or the processor elsewhere, and the answer may lie in the socket.
Whoever is waited for gets that time back.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

OWN_DELAY_S = 0.005
"""A timer that is later than this was late by our own fault."""


@asynccontextmanager
async def patience(timeout_s: float) -> AsyncIterator[None]:
    """Raise TimeoutError when the block takes longer, our own delays set aside."""
    loop = asyncio.get_running_loop()
    async with asyncio.timeout(None) as limit:
        watch = _Watch(loop, limit)
        watch.wait(timeout_s)
        try:
            yield
        finally:
            watch.timer.cancel()


class _Watch:
    def __init__(self, loop: asyncio.AbstractEventLoop, limit: asyncio.Timeout) -> None:
        self._loop, self._limit = loop, limit

    def wait(self, seconds: float) -> None:
        self._due_s = time.monotonic() + seconds
        self.timer = self._loop.call_later(seconds, self._overdue)

    def _overdue(self) -> None:
        late_s = time.monotonic() - self._due_s
        if late_s < OWN_DELAY_S:
            self._limit.reschedule(self._loop.time())
        else:
            self.wait(late_s)
