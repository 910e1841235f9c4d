"""When an answer is due; every step of a decision takes its time from what is left."""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass
from types import TracebackType
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

    def bound(self, otherwise: str) -> Bound:
        """End the block of an `async with` when the deadline passes.

        Raises:
            DeadlineExceeded: it passed; `otherwise` says what became of the work.
        """
        return Bound(self, otherwise)

    def require(self) -> None:
        """Begin nothing that nobody waits for.

        Raises:
            DeadlineExceeded: nothing is left.
        """
        if not self.left_s:
            raise DeadlineExceeded(f"{self.ms} ms have passed: no decision was made, and none recorded")


class Bound:
    """See `Deadline.bound`. A class, since a generator in its place costs as much again as the timer."""

    __slots__ = ("_deadline", "_otherwise", "_timeout")

    def __init__(self, deadline: Deadline, otherwise: str) -> None:
        self._deadline, self._otherwise = deadline, otherwise

    async def __aenter__(self) -> None:
        # From what is left and not `timeout_at`: uvloop's clock stands still within a turn of the loop.
        self._timeout = asyncio.timeout(None if self._deadline is NEVER else self._deadline.left_s)
        await self._timeout.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self._timeout.__aexit__(kind, problem, trace)
        except TimeoutError:
            raise self._passed from None
        if isinstance(problem, TimeoutError):
            raise self._passed from None

    @property
    def _passed(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"{self._deadline.ms} ms have passed: {self._otherwise}")


NEVER = Deadline(math.inf, 0)
"""Of work that nobody waits for."""
