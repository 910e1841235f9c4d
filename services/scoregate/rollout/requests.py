"""The metrics' part of the evidence: how many requests failed, and how long they took, by arm."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterable, Mapping
from typing import Final

from scoregate.rollout.canary import Reading
from scoregate.rollout.verdict import Sample
from scoregate.telemetry import names

ANSWERED, FAILED = "answered", "failed"
BOUNDS: Final = tuple(f"{bound:g}" for bound in (*names.LATENCY_BUCKETS_S, float("inf")))
SCRAPE_S: Final = 2.0


def scrape(url: str) -> str:
    """Return what a process says at its /metrics.

    Raises:
        OSError: it does not answer.
    """
    with urllib.request.urlopen(url, timeout=SCRAPE_S) as answer:  # noqa: S310  an address of this stack
        return str(answer.read().decode())


def reading(text: str, service: str, arm: str) -> Reading:
    """Read an arm's single requests out of its metrics; counts by time are of each bucket alone."""
    from prometheus_client.parser import text_string_to_metric_families

    wanted = {"service": service, "arm": arm, "route": f"/v1/{service}/score"}
    statuses: list[tuple[str, float]] = []
    up_to: dict[str, float] = dict.fromkeys(BOUNDS, 0.0)
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not wanted.items() <= sample.labels.items():
                continue
            if sample.name == f"{names.REQUESTS}_total":
                statuses.append((sample.labels["status"], sample.value))
            elif sample.name == f"{names.REQUEST_SECONDS}_bucket":
                up_to[f"{float(sample.labels['le']):g}"] += sample.value
    return as_reading(statuses, up_to)


def as_reading(statuses: Iterable[tuple[str, float]], up_to: Mapping[str, float]) -> Reading:
    """Make a reading of (status, count) pairs and of counts up to each bound, in order of `BOUNDS`."""
    errors = {ANSWERED: 0.0, FAILED: 0.0}
    for status, count in statuses:
        errors[FAILED if status >= "500" else ANSWERED] += count
    slower = [0.0, *up_to.values()]
    return {
        "errors": errors,
        "latency": {bound: high - low for bound, low, high in zip(BOUNDS, slower, slower[1:], strict=False)},
    }


def grown(before: Reading, now: Reading) -> Reading:
    """Return by how much counters grew; one that fell began anew with its process."""
    return {
        gate: {
            name: value - before.get(gate, {}).get(name, 0.0) if _still(before.get(gate, {}), counts) else value
            for name, value in counts.items()
        }
        for gate, counts in now.items()
    }


def added(one: Reading, other: Reading) -> Reading:
    return {gate: {name: one.get(gate, {}).get(name, 0.0) + n for name, n in to.items()} for gate, to in other.items()}


def samples(stable: Reading, canary: Reading) -> dict[str, Sample]:
    """Return errors and latency of both arms."""
    orders: Mapping[str, tuple[str, ...]] = {"errors": (ANSWERED, FAILED), "latency": BOUNDS}
    return {
        gate: Sample(
            order,
            *(tuple(round(arm.get(gate, {}).get(name, 0.0)) for name in order) for arm in (stable, canary)),
        )
        for gate, order in orders.items()
    }


def _still(before: Mapping[str, float], now: Mapping[str, float]) -> bool:
    return all(now.get(name, 0.0) >= value for name, value in before.items())
