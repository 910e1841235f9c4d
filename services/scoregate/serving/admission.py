"""Who gets in: a bound on work in flight, a rate per key, and one decision per key at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from scoregate.errors import KeyInFlight, Overloaded, TooManyRequests
from scoregate.serving.buckets import Buckets
from scoregate.serving.principal import Principal


class Admission:
    """Bounds of one process. Nothing here waits: what does not fit is refused at once."""

    def __init__(self, max_in_flight: int, rate_per_s: float) -> None:
        self._max_in_flight = max_in_flight
        self._rate_per_s = rate_per_s
        self._in_flight = 0
        self._deciding: set[str] = set()
        self._spent = Buckets()

    @property
    def in_flight(self) -> int:
        return self._in_flight

    def spend(self, caller: Principal, rows: int = 1) -> None:
        """Take from the caller's token bucket, which holds one second's worth.

        Raises:
            TooManyRequests: the bucket is empty.
        """
        rate_per_s = caller.rate_per_s or self._rate_per_s
        if not self._spent.take(caller.key_id, rate_per_s, burst=rate_per_s, cost=rows):
            raise TooManyRequests(f"This key may send {rate_per_s:g} rows a second to one process")

    @contextmanager
    def slot(self) -> Iterator[None]:
        """Hold one place among the requests in flight.

        Raises:
            Overloaded: all places are taken.
        """
        if self._in_flight >= self._max_in_flight:
            raise Overloaded(f"{self._in_flight} requests are in flight; try again shortly")
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1

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
