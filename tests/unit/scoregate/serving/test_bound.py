"""The bound on work in flight follows what the process can do: against a simulated server with a knee."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from scoregate.serving.bound import LEAST, QUEUE_S, Bound


@dataclass
class Server:
    """Answers `per_s` requests a second at most, none in less than `least_s`; `offered` stand before it at a time."""

    per_s: float
    least_s: float
    now_s: float = 0.0

    def run(self, bound: Bound, offered: int, seconds: float) -> float:
        """Let the bound see so many seconds; return the time of a request at the end."""
        takes_s = self.least_s
        until_s = self.now_s + seconds
        while self.now_s < until_s:
            in_flight = min(offered, bound.places)
            if offered >= bound.places:
                bound.met()
            takes_s = max(self.least_s, in_flight / self.per_s)
            self.now_s += takes_s / in_flight
            bound.answered(takes_s)
        return takes_s


@pytest.mark.parametrize(("per_s", "least_s"), [(2_500, 0.003), (400, 0.010), (8_000, 0.002), (150, 0.060)])
def test_a_request_that_is_let_in_waits_little(per_s: float, least_s: float) -> None:
    """Under ten times too much: hardly more than the queue's target, at all of the rate that the server has."""
    server = Server(per_s, least_s)
    bound = Bound(256, lambda: server.now_s)
    server.run(bound, offered=4, seconds=2)
    takes_s = server.run(bound, offered=2_000, seconds=5)

    assert max(LEAST / per_s, least_s) <= takes_s < least_s + 1.6 * max(QUEUE_S, least_s / 2) + LEAST / per_s
    assert min(bound.places / takes_s, per_s) == pytest.approx(per_s, rel=0.1)


def test_whoever_would_rather_wait_is_let_in() -> None:
    """With five times the time to queue, sixty callers find a place who did not before."""
    places = []
    for queue_s in (0.010, 0.050):
        server = Server(2_500, 0.003)
        bound = Bound(256, lambda server=server: server.now_s, queue_s=queue_s)  # type: ignore[misc]
        server.run(bound, offered=4, seconds=2)
        server.run(bound, offered=500, seconds=5)
        places.append(bound.places)

    assert places[0] < 60 < places[1]


def test_a_burst_takes_no_places() -> None:
    """Forty at once, once a second, to a server that has little else to do: the places are what they were."""
    server = Server(600, 0.003)
    bound = Bound(256, lambda: server.now_s)
    before = bound.places
    for _ in range(20):
        server.run(bound, offered=40, seconds=0.02)
        server.run(bound, offered=1, seconds=1)

    assert before == bound.places


def test_places_come_back_when_nobody_is_refused() -> None:
    """After too much for a slow server it has few; a few calm seconds, and a burst finds room again."""
    server = Server(100, 0.003)
    bound = Bound(256, lambda: server.now_s)
    before = bound.places
    server.run(bound, offered=1, seconds=2)
    server.run(bound, offered=500, seconds=5)
    after = bound.places
    server.run(bound, offered=1, seconds=5)

    assert after < before == bound.places


def test_a_machine_that_becomes_slower_has_fewer_places_and_gets_them_back() -> None:
    """A third of the speed: places go; the speed again: they return."""
    server = Server(2_500, 0.003)
    bound = Bound(256, lambda: server.now_s)
    server.run(bound, offered=4, seconds=2)
    server.run(bound, offered=500, seconds=5)
    before = bound.places
    server.per_s = 800
    server.run(bound, offered=500, seconds=5)
    slower = bound.places
    server.per_s = 2_500
    server.run(bound, offered=500, seconds=5)

    assert LEAST <= slower < before
    assert before == pytest.approx(bound.places, abs=3)


def test_few_places_are_no_trap() -> None:
    """Where each answer takes long by itself, the least number of places is left again."""
    server = Server(5_000, 0.003)
    bound = Bound(256, lambda: server.now_s)
    server.run(bound, offered=4, seconds=1)
    server.least_s = 0.100
    server.run(bound, offered=500, seconds=20)

    assert 200 < bound.places


def test_what_was_not_asked_for_is_no_capacity() -> None:
    """A quiet hour takes no places away."""
    server = Server(2_500, 0.003)
    bound = Bound(256, lambda: server.now_s)
    before = bound.places
    server.run(bound, offered=2, seconds=10)

    assert before == bound.places
