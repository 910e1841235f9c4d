"""The metrics' part of the evidence from a Prometheus server: of all pods of both arms, also those that are gone.

    since a step began → the samples of every counter, pod by pod → by how much each grew, by arm

Raw samples and not `increase`, which extrapolates: errors are counted one by one, and half a failure is none. What a
pod counted up to its last scrape stays counted; a counter that fell began anew with its process.
"""

from __future__ import annotations

import json
import math
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from scoregate.errors import DependencyError
from scoregate.rollout.canary import Reading
from scoregate.rollout.requests import BOUNDS, as_reading
from scoregate.telemetry import names

TIMEOUT_S: Final = 10.0
COUNTERS: Final = (f"{names.REQUESTS}_total", f"{names.REQUEST_SECONDS}_bucket")

Labels = Mapping[str, str]
Series = frozenset[tuple[str, str]]


class PrometheusReadings:
    """Counts of one service since `since_s`; each look asks for the samples that are new.

    `of` are further labels that the series must have, such as a namespace. `clock`: seconds since the epoch.
    """

    def __init__(
        self, url: str, service: str, since_s: float, of: Labels, clock: Callable[[], float] = time.time
    ) -> None:
        self._url, self._clock, self._until_s = url.rstrip("/"), clock, since_s
        labels = {"service": service, "route": f"/v1/{service}/score", **of}
        matchers = ",".join(f"{name}={json.dumps(value)}" for name, value in labels.items())
        self._selectors = [f"{counter}{{{matchers}}}" for counter in COUNTERS]
        self._last: dict[Series, float] | None = None
        self._grown: dict[Series, float] = {}

    def __call__(self) -> dict[str, Reading]:
        """Return by how much both arms' counters grew up to now.

        Raises:
            DependencyError: Prometheus does not answer.
        """
        now_s = self._clock()
        if self._last is None:
            self._last = dict(self._ask(self._selectors, self._until_s, lambda found: float(found["value"][1])))
        span_s = math.ceil(now_s - self._until_s) + 1
        windows = [f"{selector}[{span_s}s]" for selector in self._selectors]
        for series, samples in self._ask(windows, now_s, lambda found: found["values"]):
            self._add(series, [float(value) for at_s, value in samples if at_s > self._until_s])
        self._until_s = now_s
        return readings(self._grown)

    def _add(self, series: Series, values: Iterable[float]) -> None:
        assert self._last is not None
        before = self._last.get(series, 0.0)
        for value in values:
            self._grown[series] = self._grown.get(series, 0.0) + (value - before if value >= before else value)
            before = value
        self._last[series] = before

    def _ask(self, queries: Iterable[str], at_s: float, value: Callable[[Any], Any]) -> Iterable[tuple[Series, Any]]:
        for query in queries:
            asked = urllib.parse.urlencode({"query": query, "time": f"{at_s:.3f}"})
            try:
                with urllib.request.urlopen(f"{self._url}/api/v1/query?{asked}", timeout=TIMEOUT_S) as answer:  # noqa: S310
                    found = json.load(answer)["data"]["result"]
            except (OSError, ValueError, KeyError) as problem:
                raise DependencyError(f"Prometheus at {self._url} does not answer: {problem}") from problem
            yield from ((frozenset(one["metric"].items()), value(one)) for one in found)


def readings(grown: Mapping[Series, float]) -> dict[str, Reading]:
    """Add series of many pods up, arm by arm."""
    statuses: dict[str, list[tuple[str, float]]] = {}
    up_to: dict[str, dict[str, float]] = {}
    for series, count in grown.items():
        labels = dict(series)
        if "le" in labels:
            below = up_to.setdefault(labels["arm"], dict.fromkeys(BOUNDS, 0.0))
            below[f"{float(labels['le']):g}"] += count
        else:
            statuses.setdefault(labels["arm"], []).append((labels["status"], count))
    none = dict.fromkeys(BOUNDS, 0.0)
    return {arm: as_reading(statuses.get(arm, []), up_to.get(arm, none)) for arm in {*statuses, *up_to}}
