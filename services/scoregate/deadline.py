"""When an answer is due; every step of a decision takes its time from what is left."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Self

from scoregate.errors import DeadlineExceeded


@dataclass(frozen=True, slots=True)
class Deadline:
    """`until_s` is on the monotonic clock; `ms` is what the caller was promised."""

    until_s: float
    ms: int

    @classmethod
    def after(cls, ms: int, began_s: float | None = None) -> Self:
        """Due `ms` after `began_s` on the monotonic clock, or from now."""
        return cls((time.monotonic() if began_s is None else began_s) + ms / 1000, ms)

    @property
    def left_s(self) -> float:
        """What is left, never below 0."""
        return max(self.until_s - time.monotonic(), 0.0)

    @asynccontextmanager
    async def bound(self, otherwise: str) -> AsyncIterator[None]:
        """End the block when the deadline passes.

        Raises:
            DeadlineExceeded: it passed; `otherwise` says what became of the work.
        """
        try:
            # From what is left and not `timeout_at`: uvloop's clock stands still within a turn of the loop.
            async with asyncio.timeout(None if self is NEVER else self.left_s):
                yield
        except TimeoutError:
            raise DeadlineExceeded(f"{self.ms} ms have passed: {otherwise}") from None

    def require(self) -> None:
        """Begin nothing that nobody waits for.

        Raises:
            DeadlineExceeded: nothing is left.
        """
        if not self.left_s:
            raise DeadlineExceeded(f"{self.ms} ms have passed: no decision was made, and none recorded")


NEVER = Deadline(math.inf, 0)
"""Of work that nobody waits for."""
