"""What `scoregate top` makes of two readings of /metrics."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry, generate_latest

from scoregate.local.top import _parsed, rows
from scoregate.telemetry.metrics import Metrics


def test_a_row_is_what_happened_in_between() -> None:
    """Counted from one reading to the next: rates, bounds of times, shares of outcomes and of fallbacks."""
    registry = CollectorRegistry()
    metrics = Metrics("toy", "stable", registry)

    def read() -> dict[str, object]:
        metrics.flush()
        return {"toy-stable": _parsed(generate_latest(registry).decode())}

    metrics.request("/v1/toy/score", 503, 9.0)
    metrics.decision("m", "decline", "fallback", "rules", None)
    before = read()
    for status in (200, 200, 200, 503):
        metrics.request("/v1/toy/score", status, 0.004)
    metrics.request("/livez", 200, 0.001)
    for outcome, source in (("approve", "model"), ("approve", "model"), ("approve", "model"), ("review", "fallback")):
        metrics.decision("m", outcome, source, "fresh", 0.2)
    (row,) = rows(before, read(), 2.0)  # type: ignore[arg-type]
    (fresh,) = rows({}, read(), 2.0)  # type: ignore[arg-type]

    assert (2.0, 0.5) == (row.requests_per_s, row.failed_per_s)
    assert (0.005, 0.005) == (row.p50_s, row.p99_s)
    assert 0.25 == row.fallback_share
    assert {"approve": 0.75, "review": 0.25} == row.outcomes
    assert float("inf") == fresh.p99_s
    assert pytest.approx(2.5) == fresh.requests_per_s
