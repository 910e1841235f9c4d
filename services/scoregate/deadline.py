"""When an answer is due; every step of a decision takes its time from what is left."""

from __future__ import annotations

import asyncio
import math
import time
from types import TracebackType
from typing import Protocol, Self

from scoregate.errors import DeadlineExceeded
from scoregate.values import frozen


class Cancellable(Protocol):
    def cancel(self) -> None: ...


@frozen
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
        """End the block of a `with` when the deadline passes.

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


class Limit:
    """End what a task waits for in a `with` block when it takes longer than so many seconds; never for None.

    What `asyncio.timeout` does, at a third of its cost: a decision waits three times.

    Raises:
        TimeoutError: it took longer.
    """

    __slots__ = ("_before", "_is_over", "_seconds", "_task", "_timer")

    def __init__(self, seconds: float | None) -> None:
        self._seconds, self._is_over = seconds, False
        self._timer: Cancellable | None = None

    def __enter__(self) -> None:
        if self._seconds is None:
            return
        loop = asyncio.get_running_loop()
        task = asyncio.current_task(loop)
        assert task is not None, "only a task can be told that its time is over"
        self._task, self._before = task, task.cancelling()
        self._timer = self._after(loop, self._seconds)

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is None:
            return
        self._timer.cancel()
        # Somebody else may have cancelled the task as well, and is not to be kept from it.
        if self._is_over and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeoutError from problem

    def _after(self, loop: asyncio.AbstractEventLoop, seconds: float) -> Cancellable:
        return loop.call_later(seconds, self._end)

    def _end(self) -> None:
        self._is_over = True
        self._task.cancel()


class Bound(Limit):
    """See `Deadline.bound`."""

    __slots__ = ("_deadline", "_otherwise")

    def __init__(self, deadline: Deadline, otherwise: str) -> None:
        # From what is left and not until when: uvloop's clock stands still within a turn of the loop.
        super().__init__(None if deadline is NEVER else deadline.left_s)
        self._deadline, self._otherwise = deadline, otherwise

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            super().__exit__(kind, problem, trace)
        except TimeoutError:
            raise self._passed from None
        if isinstance(problem, TimeoutError):
            raise self._passed from None

    @property
    def _passed(self) -> DeadlineExceeded:
        return DeadlineExceeded(f"{self._deadline.ms} ms have passed: {self._otherwise}")


NEVER = Deadline(math.inf, 0)
"""Of work that nobody waits for."""
