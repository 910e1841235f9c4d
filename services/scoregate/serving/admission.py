"""Who gets in: a measured bound on work in flight, a lane for batches, a rate per key, one decision per natural key."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from scoregate.errors import KeyInFlight, Overloaded, TooManyRequests
from scoregate.serving.bound import QUEUE_S, Bound
from scoregate.serving.buckets import Buckets
from scoregate.serving.lane import Lane
from scoregate.serving.principal import Principal


class Admission:
    """Bounds of one process. What does not fit is refused at once; only batches stand in line, for their turns."""

    def __init__(self, max_in_flight: int, rate_per_s: float, queue_s: float = QUEUE_S) -> None:
        self.bound = Bound(max_in_flight, queue_s=queue_s)
        self.lane = Lane()
        self._rate_per_s = rate_per_s
        self._in_flight = self._bodies = 0
        self.refused = 0
        """Requests that `shed` has counted, and nobody yet."""
        self._deciding: set[str] = set()
        self._spent = Buckets()

    @property
    def in_flight(self) -> int:
        """Requests and batches that were let in and are not answered."""
        return self._in_flight + self.lane.batches

    @property
    def idle(self) -> int:
        """Requests that are here and want no time just now: their body has not come, or others' batches have a turn."""
        return self._bodies + self.lane.batches

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Wait for a body: whoever sends it slowly must not keep others out."""
        self._bodies += 1
        try:
            yield
        finally:
            self._bodies -= 1

    def shed(self) -> None:
        """Note a request that was refused before anybody looked at it."""
        self.bound.met()
        self.refused += 1

    def spend(self, caller: Principal, rows: int = 1) -> None:
        """Take from the caller's token bucket, which holds one second's worth.

        Raises:
            TooManyRequests: the bucket is empty.
        """
        rate_per_s = caller.rate_per_s or self._rate_per_s
        if not self._spent.take(caller.key_id, rate_per_s, burst=rate_per_s, cost=rows):
            raise TooManyRequests(f"This key may send {rate_per_s:g} rows a second to one process")

    def look(self) -> None:
        """Refuse what would find no place, before anything is spent on it.

        Raises:
            Overloaded: all places are taken.
        """
        if self._in_flight >= self.bound.places:
            self.bound.met()
            raise Overloaded("All places are taken; try again shortly")

    @contextmanager
    def slot(self, *, measured: bool = False) -> Iterator[None]:
        """Hold one place among the requests in flight; what is alike in cost is measured.

        Raises:
            Overloaded: all places are taken.
        """
        self.look()
        self._in_flight += 1
        if self._in_flight == self.bound.places:
            self.bound.met()
        began_s = time.monotonic()
        try:
            yield
        finally:
            self._in_flight -= 1
            if measured:
                self.bound.answered(time.monotonic() - began_s)

    @contextmanager
    def deciding(self, natural_key: str) -> Iterator[None]:
        """Hold a natural key while it is being decided.

        Raises:
            KeyInFlight: the same key is being decided by this process right now.
        """
        if natural_key in self._deciding:
            raise KeyInFlight("The same transaction or application is being decided; repeat to get its answer")
        self._deciding.add(natural_key)
        try:
            yield
        finally:
            self._deciding.discard(natural_key)
