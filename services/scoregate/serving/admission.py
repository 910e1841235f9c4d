"""Who gets in: a bound on work in flight, a rate per key, and one decision per key at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from scoregate.errors import KeyInFlight, Overloaded, TooManyRequests


class Admission:
    """Bounds of one process. Nothing here waits: what does not fit is refused at once."""

    def __init__(self, max_in_flight: int, rate_per_s: float) -> None:
        self._max_in_flight = max_in_flight
        self._rate_per_s = rate_per_s
        self._in_flight = 0
        self._deciding: set[str] = set()
        self._buckets: dict[str, tuple[float, float]] = {}

    @property
    def in_flight(self) -> int:
        return self._in_flight

    def spend(self, key_id: str, requests: int = 1) -> None:
        """Take from the key's token bucket, which holds one second's worth.

        Raises:
            TooManyRequests: the bucket is empty.
        """
        now = time.monotonic()
        tokens, since = self._buckets.get(key_id, (self._rate_per_s, now))
        tokens = min(self._rate_per_s, tokens + (now - since) * self._rate_per_s)
        if tokens < min(requests, self._rate_per_s):
            raise TooManyRequests(f"This key may send {self._rate_per_s:.0f} rows a second to one process")
        self._buckets[key_id] = (tokens - requests, now)

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
