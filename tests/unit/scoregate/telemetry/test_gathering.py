"""What is gathered and flushed is what counting one by one would have given, alone and where workers share files."""

from __future__ import annotations

import math
import random
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry, Histogram, values
from prometheus_client.values import MultiProcessValue

from scoregate.telemetry import metrics as subject
from scoregate.telemetry import names
from scoregate.telemetry.gathering import Times
from scoregate.telemetry.metrics import SCORE_BINS, Metrics, exposition

ROUTE = "/v1/toy/score"
EDGES = [s for b in names.LATENCY_BUCKETS_S for s in (b, math.nextafter(b, 0), math.nextafter(b, 1))]
"""On every bound, just below it and just above it; the last of them is up to +Inf."""

Series = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture(params=["alone", "in files"])
def registry(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> CollectorRegistry:
    """Where one process keeps its series, and where several share them."""
    if request.param == "in files":
        monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", str(tmp_path))
        shared = MultiProcessValue()
        monkeypatch.setattr(values, "ValueClass", shared)
        monkeypatch.setattr(subject, "ValueClass", shared)
    return CollectorRegistry()


def said(registry: CollectorRegistry) -> Series:
    """All that is exposed, but for when a series was made."""
    samples = [sample for metric in exposition(registry).collect() for sample in metric.samples]
    return {(s.name, frozenset(s.labels.items())): s.value for s in samples if not s.name.endswith("_created")}


def total(series: Series, name: str, **labels: str) -> float:
    """The sum over all series of a name that have these labels."""
    return sum(value for (of, having), value in series.items() if of == name and labels.items() <= having)


def counts(series: Series) -> Series:
    return {key: value for key, value in series.items() if not key[0].endswith("_sum")}


def answer(metrics: Metrics, seconds: float, score: float | None = 0.5) -> None:
    """Count what one request does."""
    metrics.stage(names.SPAN_LEDGER, seconds)
    metrics.decision("m", "approve", "model", "fresh", score)
    metrics.request(ROUTE, 200, seconds)


def test_times_fall_where_prometheus_client_puts_them(registry: CollectorRegistry) -> None:
    """In every bucket, on its edges and beyond the last bound, however often they are flushed meanwhile."""
    of = {"buckets": names.LATENCY_BUCKETS_S, "registry": registry}
    one_by_one, gathered = (Histogram(name, name, ["which"], **of).labels("same") for name in ("one", "many"))
    times, drawn = Times(gathered), random.Random(7)
    for seconds in (*EDGES, 0.0, 9.0, math.inf, *[drawn.expovariate(100) for _ in range(500)]):
        one_by_one.observe(seconds)
        times.observe(seconds)
        if drawn.random() < 0.1:
            times.flush()
    times.flush()
    series = said(registry)
    one, many = ({k: v for k, v in series.items() if k[0].startswith(name)} for name in ("one", "many"))

    assert len(EDGES) + 503 == total(series, "many_bucket", le="+Inf") == total(series, "many_count")
    assert list(counts(one).values()) == list(counts(many).values())


def test_a_sum_of_times_is_what_they_add_up_to(registry: CollectorRegistry) -> None:
    """To the last digits of a float: they are added in another order."""
    metrics = Metrics("toy", "stable", registry)
    for seconds in EDGES:
        answer(metrics, seconds)
    metrics.flush()

    assert pytest.approx(math.fsum(EDGES)) == total(said(registry), f"{names.REQUEST_SECONDS}_sum")


def test_requests_times_and_decisions_are_equally_many(registry: CollectorRegistry) -> None:
    """After a flush nothing is missing and nothing is there twice, and another flush adds nothing."""
    metrics, scores = Metrics("toy", "stable", registry), [n / len(EDGES) for n in range(1, len(EDGES))]
    for seconds, score in zip(EDGES, [None, *scores], strict=True):
        answer(metrics, seconds, score)
    metrics.flush()
    series = said(registry)
    metrics.flush()

    assert series == said(registry)
    for name in (
        f"{names.REQUESTS}_total",
        f"{names.REQUEST_SECONDS}_count",
        f"{names.DECISIONS}_total",
        f"{names.STAGE_SECONDS}_count",
    ):
        assert len(EDGES) == total(series, name), name
    for name in (names.REQUEST_SECONDS, names.STAGE_SECONDS):
        assert len(EDGES) == total(series, f"{name}_bucket", le="+Inf"), name
    assert len(scores) == total(series, f"{names.SCORE_BINS}_total")


def test_a_score_is_in_its_bin(registry: CollectorRegistry) -> None:
    """The last bin has its upper bound too, and a bin that nothing fell into says 0."""
    metrics = Metrics("toy", "stable", registry)
    metrics.serves("toy_v1", "m", "p", "f", "1")
    none = said(registry)
    for score in (0.0, 0.05, 0.0501, 1.0):
        metrics.decision("m", "approve", "model", "fresh", score)
    metrics.flush()
    bins = [total(said(registry), f"{names.SCORE_BINS}_total", bin=f"{n:02d}") for n in range(SCORE_BINS)]

    assert SCORE_BINS == len([name for name, _ in none if name == f"{names.SCORE_BINS}_total"])
    assert [1, 2, *[0] * (SCORE_BINS - 3), 1] == bins


def test_a_request_counts_for_the_arm_that_answered_it(registry: CollectorRegistry) -> None:
    """What was gathered before a change is the old arm's and is there at once; what comes later is the new one's."""
    metrics = Metrics("toy", "stable", registry)
    counted = {}
    for arm, number in (("canary", 3), ("stable", 2), ("canary", 5)):
        for _ in range(number):
            answer(metrics, 0.003)
        metrics.become(arm, ready=True)
        series = said(registry)
        for name in (f"{names.REQUESTS}_total", f"{names.STAGE_SECONDS}_count", f"{names.DECISIONS}_total"):
            counted[name] = [total(series, name, arm=of) for of in ("stable", "canary")]
        assert 1 == len({tuple(each) for each in counted.values()})

    assert [3 + 5, 2] == counted[f"{names.REQUESTS}_total"]


def test_a_request_counts_for_the_model_that_is_served(registry: CollectorRegistry) -> None:
    """From when it is served on; the times too."""
    metrics = Metrics("toy", "stable", registry)
    for version, number in (("one", 1), ("two", 2)):
        metrics.serves("toy_v1", version, "p", "f", "1")
        for _ in range(number):
            metrics.request(ROUTE, 200, 0.003)
    metrics.flush()
    series = said(registry)

    for name in (f"{names.REQUESTS}_total", f"{names.REQUEST_SECONDS}_count"):
        assert [1, 2] == [total(series, name, model=of) for of in ("one", "two")]
