"""What metrics say of both arms: failures and times, and how they grew."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, generate_latest

from scoregate.rollout.requests import added, grown, reading, samples
from scoregate.telemetry.metrics import Metrics


def said(*requests: tuple[int, float]) -> str:
    """The real metrics of a process that answered these (status, seconds)."""
    registry = CollectorRegistry()
    metrics = Metrics("toy", "canary", registry)
    for status, seconds in requests:
        metrics.request("/v1/toy/score", status, seconds)
    metrics.request("/v1/toy/events", 500, 9.0)
    metrics.flush()
    return generate_latest(registry).decode()


def test_failures_and_times_of_single_requests_are_read() -> None:
    """5xx is a failure, a caller's fault is not, and other paths do not count."""
    found = reading(said((200, 0.003), (422, 0.0004), (503, 0.02), (200, 7.0)), "toy", "canary")

    assert {"answered": 3, "failed": 1} == found["errors"]
    assert {"0.0005": 1, "0.005": 1, "0.025": 1, "inf": 1} == {b: n for b, n in found["latency"].items() if n}


def test_other_arms_are_not_read() -> None:
    """A process says its own arm."""

    assert 0 == sum(reading(said((200, 0.003)), "toy", "stable")["errors"].values())


def test_a_counter_that_fell_began_anew() -> None:
    """A process that was started again counts from nothing, and nothing is taken away for it."""
    before, now = (
        reading(said(*[(200, 0.003)] * 5), "toy", "canary"),
        reading(said(*[(200, 0.003)] * 2), "toy", "canary"),
    )

    assert 2 == grown(before, now)["errors"]["answered"]
    assert 3 == grown(now, before)["errors"]["answered"]


def test_looks_add_up_to_a_sample_of_both_arms() -> None:
    """What grew between looks is summed, and an arm that was never read has seen nothing."""
    once = reading(said((200, 0.003), (500, 0.003)), "toy", "canary")
    found = samples({}, added(added({}, once), once))

    assert ((0, 0), (2, 2)) == (found["errors"].stable, found["errors"].canary)
    assert 4 == sum(found["latency"].canary)
