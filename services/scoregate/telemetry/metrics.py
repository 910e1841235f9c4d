"""prometheus-client metrics of one serving process; labels never hold anything a caller chose.

What every request counts is gathered, and is in the series after a `flush`; all else is there at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Protocol

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, multiprocess
from prometheus_client.values import MutexValue, ValueClass

from scoregate.telemetry import names
from scoregate.telemetry.gathering import Count, Found, Gathering, Times

SCORE_BINS = 20
NO_MODEL = "none"
"""The model of what a process answers before it has one."""
WORKER = "features"
"""The name that the worker goes by where services go by theirs."""


class Counts(Protocol):
    """What is counted of decisions."""

    def decision(self, model: str, outcome: str, source: str, rung: str, score: float | None) -> None: ...

    def degraded(self, view: str, status: str) -> None: ...

    def missing(self, features: Iterable[str]) -> None: ...


class NoCounts:
    """Counts nothing: a batch must not look like traffic."""

    def decision(self, model: str, outcome: str, source: str, rung: str, score: float | None) -> None:
        pass

    def degraded(self, view: str, status: str) -> None:
        pass

    def missing(self, features: Iterable[str]) -> None:
        pass


class Metrics:
    """Every metric of one service and arm. One instance per process: prometheus-client refuses a second series."""

    def __init__(self, service: str, arm: str, registry: CollectorRegistry | None = None) -> None:
        kw = {} if registry is None else {"registry": registry}
        self._service, self._model = service, NO_MODEL
        self._requests = Counter(
            names.REQUESTS, "Requests answered.", ["service", "route", "status", "arm", "model"], **kw
        )
        self._request_seconds = Histogram(
            names.REQUEST_SECONDS,
            "Time to answer a request.",
            ["service", "route", "arm", "model"],
            buckets=names.LATENCY_BUCKETS_S,
            **kw,
        )
        self._decisions = Counter(
            names.DECISIONS, "Decisions.", ["service", "arm", "model", "outcome", "source", "rung"], **kw
        )
        self._score_bins = Counter(
            names.SCORE_BINS, "Decisions by score bin.", ["service", "arm", "model", "bin"], **kw
        )
        self._degraded = Counter(
            names.FEATURES_DEGRADED,
            "Views stale or missing, features outside.",
            ["service", "arm", "view", "status"],
            **kw,
        )
        self._missing = Counter(
            names.FEATURES_MISSING, "Decisions without a feature.", ["service", "arm", "feature"], **kw
        )
        self._stage_seconds = Histogram(
            names.STAGE_SECONDS,
            "Time in one stage of a decision.",
            ["service", "stage", "arm"],
            buckets=names.LATENCY_BUCKETS_S,
            **kw,
        )
        gauge = {"multiprocess_mode": "livesum", **kw}
        self._all_in_flight = Gauge(names.IN_FLIGHT, "Requests being worked on.", ["service", "arm"], **gauge)
        self._all_places = Gauge(names.PLACES, "Requests that may be in flight.", ["service", "arm"], **gauge)
        self._waiting = Gauge(names.WAITING, "What stands in line.", ["service", "arm", "queue"], **gauge)
        self._loop_lags = Histogram(
            names.LOOP_LAG_SECONDS,
            "How late the event loop is.",
            ["service", "arm"],
            buckets=(*names.LATENCY_BUCKETS_S, 0.5, 1, 2.5),
            **kw,
        )
        self._labelled = Counter(names.LABELLED, "Labels.", ["service", "model", "bad"], **kw)
        self._labelled_score = Counter(names.LABELLED_SCORE, "Their scores.", ["service", "model"], **kw)
        self._label_delay = Histogram(
            names.LABEL_DELAY_SECONDS, "Until labels.", ["service"], buckets=names.LABEL_BUCKETS_S, **kw
        ).labels(service)
        self._auth = Counter(names.AUTH_FAILURES, "Refused keys.", ["service", "reason"], **kw)
        self._all_exported = Counter(names.SPANS_EXPORTED, "Spans exported.", ["service", "arm"], **kw)
        self._lost = Counter(names.SPANS_LOST, "Spans lost.", ["service", "arm", "reason"], **kw)
        self._shed = Counter(names.SHED, "Requests refused before work was done.", ["service", "reason"], **kw)
        latest = {"multiprocess_mode": "mostrecent", **kw}
        self._all_ready = Gauge(names.READY, "1 when the process is ready.", ["service", "arm"], **latest)
        self._all_degraded = Gauge(names.DEGRADED, "1 when degraded.", ["service", "arm"], **latest)
        self._breakers = Gauge(names.BREAKER_OPEN, "1 when the store is left alone.", ["service", "arm"], **latest)
        self._model_info = Gauge(
            names.MODEL_INFO, "What is served.", ["service", "arm", "model", "version", "policy", "plan"], **latest
        )
        self._build_info = Gauge(names.BUILD_INFO, "What runs.", ["version"], **latest)
        self._gathering = Gathering()
        self._waits: set[str] = set()
        self._info: tuple[str, ...] = ()
        self._bind(arm)

    def _bind(self, arm: str) -> None:
        """Find the series of an arm that are always the same; those of a label more are found when they are needed."""
        self._arm, of = arm, (self._service, arm)
        self._answered = Found(self._find_answered)
        self._decided = Found(self._find_decided)
        self._bins = Found(self._find_bins)
        self._lacking = Found(self._find_lacking)
        self._without = Found(self._find_without)
        spans = (names.SPAN_FEATURES, names.SPAN_STORE, names.SPAN_MODEL, names.SPAN_POLICY, names.SPAN_LEDGER)
        self._stages = {
            span: self._gathering.times(self._stage_seconds.labels(self._service, span, arm)) for span in spans
        }
        self._in_flight, self._places = self._all_in_flight.labels(*of), self._all_places.labels(*of)
        self._loop_lag, self._exported = self._loop_lags.labels(*of), self._all_exported.labels(*of)
        self._degraded_now, self._breaker = self._all_degraded.labels(*of), self._breakers.labels(*of)
        self._ready = self._all_ready.labels(*of)

    def _find_answered(self, of: tuple[str, int]) -> tuple[Count, Times]:
        route, status = of
        times = self._request_seconds.labels(self._service, route, self._arm, self._model)
        count = self._requests.labels(self._service, route, str(status), self._arm, self._model)
        return self._gathering.count(count), self._gathering.times(times)

    def _find_decided(self, said: tuple[str, str, str, str]) -> Count:
        return self._gathering.count(self._decisions.labels(self._service, self._arm, *said))

    def _find_bins(self, model: str) -> list[Count]:
        # All at once: one that nothing fell into is a share of 0, and no gap in what compares arms.
        labels = [(self._service, self._arm, model, f"{number:02d}") for number in range(SCORE_BINS)]
        return [self._gathering.count(self._score_bins.labels(*each)) for each in labels]

    def _find_lacking(self, of: tuple[str, str]) -> Count:
        return self._gathering.count(self._degraded.labels(self._service, self._arm, *of))

    def _find_without(self, feature: str) -> Count:
        return self._gathering.count(self._missing.labels(self._service, self._arm, feature))

    def flush(self) -> None:
        """Write what was gathered into the series; on the thread that counts, before anybody reads them."""
        self._gathering.flush()

    def become(self, arm: str, *, ready: bool) -> None:
        """Count under another arm from now on. Gauges of the one before read 0; whether it is ready nobody knows."""
        self.flush()
        # Several processes share their series by files, where none can be removed.
        for gauge in (self._in_flight, self._places, self._degraded_now, self._breaker):
            gauge.set(0)
        for queue in self._waits:
            self._waiting.labels(self._service, self._arm, queue).set(0)
        self._ready.set(math.nan)
        if self._info:
            self._model_info.labels(self._service, self._arm, *self._info).set(0)
        self._bind(arm)
        self.is_ready(ready)
        if self._info:
            self._serve(*self._info)

    def is_ready(self, ready: bool) -> None:
        self._ready.set(ready)

    def request(self, route: str, status: int, seconds: float) -> None:
        count, times = self._answered[route, status]
        count.more += 1
        times.observe(seconds)

    def decision(self, model: str, outcome: str, source: str, rung: str, score: float | None) -> None:
        self._decided[model, outcome, source, rung].more += 1
        if score is not None:
            self._bins[model][min(int(score * SCORE_BINS), SCORE_BINS - 1)].more += 1

    def degraded(self, view: str, status: str) -> None:
        self._lacking[view, str(status)].more += 1

    def missing(self, features: Iterable[str]) -> None:
        for feature in features:
            self._without[feature].more += 1

    def stage(self, span: str, seconds: float) -> None:
        self._stages[span].observe(seconds)

    def loop_lag(self, seconds: float) -> None:
        self._loop_lag.observe(seconds)

    def held(self, in_flight: int, places: int) -> None:
        """Say how many requests are being worked on, and may be."""
        self._in_flight.set(in_flight)
        self._places.set(places)

    def waiting(self, queue: str, length: int) -> None:
        self._waits.add(queue)
        self._waiting.labels(self._service, self._arm, queue).set(length)

    def condition(self, *, degraded: bool, breaker: bool) -> None:
        self._degraded_now.set(degraded)
        self._breaker.set(breaker)

    def labelled(self, model: str, score: float, *, is_bad: bool, delay_s: float) -> None:
        self._labelled.labels(self._service, model, str(is_bad).lower()).inc()
        self._labelled_score.labels(self._service, model).inc(score)
        self._label_delay.observe(max(delay_s, 0.0))

    def auth_failure(self, reason: str) -> None:
        self._auth.labels(self._service, reason).inc()

    def shed(self, reason: str, requests: int = 1) -> None:
        self._shed.labels(self._service, reason).inc(requests)

    def exported(self, spans: int) -> None:
        self._exported.inc(spans)

    def lost(self, reason: str, spans: int) -> None:
        self._lost.labels(self._service, self._arm, reason).inc(spans)

    def serves(self, model: str, version: str, policy: str, plan: str, build: str) -> None:
        """Say what the process serves; requests are counted under its version from then on."""
        self._model, self._info = version, (model, version, policy, plan)
        self._answered.clear()
        self._serve(*self._info)
        self._build_info.labels(build).set(1)

    def _serve(self, model: str, version: str, policy: str, plan: str) -> None:
        self._bins[version] = self._find_bins(version)
        self._model_info.labels(self._service, self._arm, model, version, policy, plan).set(1)


class EventMetrics:
    """Every metric of the worker that counts events into the feature store."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        kw = {} if registry is None else {"registry": registry}
        self._applied = Counter(names.EVENTS_APPLIED, "Rows that events were counted into.", ["stream"], **kw)
        self._late = Counter(names.EVENTS_LATE, "Rows that events came too late for.", ["stream"], **kw)
        self._rejected = Counter(names.EVENTS_REJECTED, "Entries that cannot be read.", ["stream"], **kw)
        self._exported = Counter(names.SPANS_EXPORTED, "Spans exported.", ["service", "arm"], **kw).labels(WORKER, "-")
        self._lost = Counter(names.SPANS_LOST, "Spans lost.", ["service", "arm", "reason"], **kw)
        self._rebuilds = Counter(names.STORE_REBUILDS, "Times that rows were filled anew.", ["stream"], **kw)
        self._freshness = Histogram(
            names.EVENT_FRESHNESS_SECONDS,
            "Time until features show an event.",
            ["stream"],
            buckets=(*names.LATENCY_BUCKETS_S, 0.5, 1, 2.5, 10, 60),
            **kw,
        )

    def applied(self, stream: str, counted: int, late: int) -> None:
        self._applied.labels(stream).inc(counted)
        self._late.labels(stream).inc(late)

    def rejected(self, stream: str) -> None:
        self._rejected.labels(stream).inc()

    def rebuilt(self, stream: str) -> None:
        self._rebuilds.labels(stream).inc()

    def exported(self, spans: int) -> None:
        self._exported.inc(spans)

    def lost(self, reason: str, spans: int) -> None:
        self._lost.labels(WORKER, "-", reason).inc(spans)

    def fresh_after(self, stream: str, seconds: Iterable[float]) -> None:
        observe = self._freshness.labels(stream).observe
        for each in seconds:
            observe(each)


def exposition(registry: CollectorRegistry) -> CollectorRegistry:
    """Return the registry to expose: this process's, or the sum over its sibling workers where there are several."""
    if ValueClass is MutexValue:
        return registry
    merged = CollectorRegistry()
    multiprocess.MultiProcessCollector(merged)
    return merged
