"""The lane of batches: a few rows of one, then a few of the next, and single requests in between.

Batches hold no places of single requests, and single requests none of theirs: neither can keep the other out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager

from scoregate.errors import Overloaded

ROWS_AT_ONCE = 25
"""Rows that are decided together: a few milliseconds of work between turns of other requests."""

MOST_BATCHES = 32
SMOOTHING = 0.2
FIRST_ROW_S = 0.0005


class Lane:
    """Who is let in gets done: the time of a row is measured, and a batch that would not fit is refused at once."""

    def __init__(self) -> None:
        self._turn = asyncio.Lock()
        self.batches = self.rows = 0
        self._row_s = FIRST_ROW_S

    @contextmanager
    def enter(self, rows: int, left_s: float) -> Iterator[None]:
        """Stand in line with so many rows.

        Raises:
            Overloaded: those before it, and its own, take longer than it has.
        """
        takes_s = (self.rows + rows) * self._row_s
        if self.batches >= MOST_BATCHES or (self.batches and takes_s > left_s):
            raise Overloaded(f"{self.rows} rows of {self.batches} batches are in line; try again shortly")
        self.batches += 1
        self.rows += rows
        try:
            yield
        finally:
            self.batches -= 1
            self.rows -= rows

    @asynccontextmanager
    async def turn(self, rows: int) -> AsyncIterator[None]:
        """Wait for the others' turns, then take one."""
        async with self._turn:
            began_s = time.monotonic()
            yield
            self._row_s += SMOOTHING * ((time.monotonic() - began_s) / rows - self._row_s)
