"""Who gets in: a measured bound on work in flight, a lane for batches, a rate per key, one decision per natural key."""

from __future__ import annotations

import time

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
        self.taken = self.bodies = self.refused = 0
        """Places that are held, bodies that are waited for, and requests that `shed` has counted and nobody yet."""
        self.keys: set[str] = set()
        """Natural keys that are being decided."""
        self._spent = Buckets()

    @property
    def in_flight(self) -> int:
        """Requests and batches that were let in and are not answered."""
        return self.taken + self.lane.batches

    @property
    def idle(self) -> int:
        """Requests that are here and want no time just now: their body has not come, or others' batches have a turn."""
        return self.bodies + self.lane.batches

    def reading(self) -> Reading:
        """Wait for a body: whoever sends it slowly must not keep others out."""
        return Reading(self)

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
        if self.taken >= self.bound.places:
            self.bound.met()
            raise Overloaded("All places are taken; try again shortly")

    def slot(self, *, measured: bool = False) -> Slot:
        """Hold one place among the requests in flight; measured: its time says what this process can do.

        Raises:
            Overloaded: all places are taken.
        """
        return Slot(self, measured)

    def deciding(self, natural_key: str) -> Deciding:
        """Hold a natural key while it is being decided.

        Raises:
            KeyInFlight: the same key is being decided by this process right now.
        """
        return Deciding(self.keys, natural_key)


# Classes, since a generator in the place of each takes four times as long.


class Reading:
    __slots__ = ("_admission",)

    def __init__(self, admission: Admission) -> None:
        self._admission = admission

    def __enter__(self) -> None:
        self._admission.bodies += 1

    def __exit__(self, *problem: object) -> None:
        self._admission.bodies -= 1


class Slot:
    __slots__ = ("_admission", "_began_s", "_measured")

    def __init__(self, admission: Admission, measured: bool) -> None:
        self._admission, self._measured = admission, measured

    def __enter__(self) -> None:
        admission = self._admission
        admission.look()
        admission.taken += 1
        if admission.taken == admission.bound.places:
            admission.bound.met()
        self._began_s = time.monotonic()

    def __exit__(self, *problem: object) -> None:
        self._admission.taken -= 1
        if self._measured:
            self._admission.bound.answered(time.monotonic() - self._began_s)


class Deciding:
    __slots__ = ("_key", "_keys")

    def __init__(self, keys: set[str], key: str) -> None:
        self._keys, self._key = keys, key

    def __enter__(self) -> None:
        if self._key in self._keys:
            raise KeyInFlight("The same transaction or application is being decided; repeat to get its answer")
        self._keys.add(self._key)

    def __exit__(self, *problem: object) -> None:
        self._keys.discard(self._key)
