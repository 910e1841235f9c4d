"""What Prometheus is told of drift: the last look at each service."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from scoregate.monitor.look import Look
from scoregate.telemetry import names


class DriftGauges(Collector):  # type: ignore[misc]  # prometheus_client is untyped here
    """What is not seen any more is not said any more."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(self)
        self._looks: dict[str, tuple[str, Look, bool]] = {}

    def say(self, service: str, model: str, look: Look, *, is_due: bool) -> None:
        self._looks[service] = (model, look, is_due)

    def collect(self) -> Iterator[GaugeMetricFamily]:
        psi = GaugeMetricFamily(names.DRIFT_PSI, "PSI.", labels=["service", "model", "window", "subject"])
        compared = GaugeMetricFamily(names.DRIFT_DECISIONS, "Compared.", labels=["service", "model", "window"])
        due = GaugeMetricFamily(names.RETRAIN, "1 when due.", labels=["service"])
        for service, (model, look, is_due) in dict(self._looks).items():
            for window, values in look.psi.items():
                for subject, value in values.items():
                    psi.add_metric([service, model, window, subject], value)
            for window, count in look.decisions.items():
                compared.add_metric([service, model, window], count)
            due.add_metric([service], float(is_due))
        yield from (psi, compared, due)
