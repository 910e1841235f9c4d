"""Admission: bounds that refuse at once."""

from __future__ import annotations

import pytest

from scoregate.errors import KeyInFlight, Overloaded, TooManyRequests
from scoregate.serving import buckets
from scoregate.serving.admission import Admission
from scoregate.serving.principal import Principal

A, B = Principal("a", frozenset()), Principal("b", frozenset())


def test_the_bound_on_work_in_flight_holds_and_frees() -> None:
    """The place after the last is refused; a place given back is free again, after an error too."""
    door = Admission(1, 100)
    with door.slot(), pytest.raises(Overloaded), door.slot():
        pass
    with pytest.raises(ValueError, match="inside"), door.slot():
        raise ValueError("inside")

    assert 0 == door.in_flight


def test_one_decision_per_key_at_a_time() -> None:
    """The same natural key in flight is 409; another is not."""
    door = Admission(9, 100)
    with door.deciding("a"), door.deciding("b"), pytest.raises(KeyInFlight), door.deciding("a"):
        pass
    with door.deciding("a"):
        pass


def test_a_key_spends_a_second_of_tokens_and_earns_them_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten a second: the eleventh at once is refused, another key is not, and time refills."""
    clock = [0.0]
    monkeypatch.setattr(buckets.time, "monotonic", lambda: clock[0])
    door = Admission(9, 10)
    for _ in range(10):
        door.spend(A)
    with pytest.raises(TooManyRequests):
        door.spend(A)
    door.spend(B)
    clock[0] = 0.5
    door.spend(A, 5)
    with pytest.raises(TooManyRequests):
        door.spend(A)


def test_a_key_may_have_a_rate_of_its_own() -> None:
    """What its record says counts in place of the process's setting."""
    door = Admission(9, 10)
    slow = Principal("slow", frozenset(), rate_per_s=2)
    door.spend(slow, 2)

    with pytest.raises(TooManyRequests, match="2 rows"):
        door.spend(slow)
