"""Grafana's dashboards: a table of panels for each, and the JSON that Grafana wants of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from scoregate.telemetry import names

WIDE: Final = 12
HIGH: Final = 8


@dataclass(frozen=True, slots=True)
class Panel:
    """One graph: what is drawn, how each line is called, and in what unit."""

    title: str
    expr: str
    legend: str
    unit: str = "short"


def _per_s(metric: str, by: str, **match: str) -> str:
    return f"sum by ({by}) (rate({metric}_total{{{_match(match)}}}[$__rate_interval]))"


def _share(metric: str, by: str, of: str, **match: str) -> str:
    return f"{_per_s(metric, f'{by}, {of}', **match)} / on ({by}) group_left {_per_s(metric, by, **match)}"


def _quantile(metric: str, by: str, q: float = 0.99, **match: str) -> str:
    rate = f"rate({metric}_bucket{{{_match(match)}}}[$__rate_interval])"
    return f"histogram_quantile({q}, sum by ({by}, le) ({rate}))"


def _of(metric: str) -> str:
    """A gauge of the chosen services."""
    return f'{metric}{{service=~"$service"}}'


def _match(match: dict[str, str]) -> str:
    return ", ".join(['service=~"$service"'] * ("stream" not in match) + [f"{k}{v}" for k, v in match.items() if v])


_STREAM = {"stream": ""}
_LEDGER = f'="{names.SPAN_LEDGER}"'

PANELS: Final = {
    "service": (
        Panel("Requests", _per_s(names.REQUESTS, "service, status"), "{{service}} {{status}}", "reqps"),
        Panel("p99", _quantile(names.REQUEST_SECONDS, "service, route"), "{{service}} {{route}}", "s"),
        Panel("p99 by stage", _quantile(names.STAGE_SECONDS, "service, stage"), "{{service}} {{stage}}", "s"),
        Panel(
            "Event loop, p99 of its lag", _quantile(names.LOOP_LAG_SECONDS, "service, arm"), "{{service}} {{arm}}", "s"
        ),
        Panel("In flight", _of(names.IN_FLIGHT), "{{service}} {{arm}}"),
        Panel("Places", _of(names.PLACES), "{{service}} {{arm}}"),
        Panel("Refused unworked", _per_s(names.SHED, "service, reason"), "{{service}} {{reason}}", "reqps"),
        Panel("Refused keys", _per_s(names.AUTH_FAILURES, "service, reason"), "{{service}} {{reason}}", "reqps"),
        Panel("Degraded", _of(names.DEGRADED), "{{service}} {{arm}}"),
        Panel("Store left alone", _of(names.BREAKER_OPEN), "{{service}} {{arm}}"),
        Panel("Spans lost", _per_s(names.SPANS_LOST, "service, reason"), "{{service}} {{reason}}"),
        Panel("Spans exported", _per_s(names.SPANS_EXPORTED, "service"), "{{service}}"),
        Panel("Runs", names.BUILD_INFO, "{{version}}"),
        Panel("Ready", _of(names.READY), "{{service}} {{arm}}"),
    ),
    "canary": (
        Panel("Decisions by arm", _per_s(names.DECISIONS, "service, arm"), "{{service}} {{arm}}", "reqps"),
        Panel(
            "Outcomes by arm", _share(names.DECISIONS, "service, arm", "outcome"), "{{arm}} {{outcome}}", "percentunit"
        ),
        Panel("p99 by arm", _quantile(names.REQUEST_SECONDS, "service, arm"), "{{service}} {{arm}}", "s"),
        Panel("5xx by arm", _per_s(names.REQUESTS, "service, arm", status='=~"5.."'), "{{service}} {{arm}}", "reqps"),
        Panel("PSI between the arms' scores", 'scoregate:arms_score:psi1h{service=~"$service"}', "{{service}}"),
        Panel("Score bins by arm", _share(names.SCORE_BINS, "service, arm", "bin"), "{{arm}} {{bin}}", "percentunit"),
    ),
    "model": (
        Panel("Serves", _of(names.MODEL_INFO), "{{service}} {{arm}} {{version}} {{policy}}"),
        Panel("Outcomes", _share(names.DECISIONS, "service", "outcome"), "{{service}} {{outcome}}", "percentunit"),
        Panel("Rungs", _share(names.DECISIONS, "service", "rung"), "{{service}} {{rung}}", "percentunit"),
        Panel("PSI", _of(names.DRIFT_PSI), "{{service}} {{window}} {{subject}}"),
        Panel("Decisions compared", _of(names.DRIFT_DECISIONS), "{{service}}"),
        Panel("Retrain", _of(names.RETRAIN), "{{service}}"),
        Panel("Bad per bad expected", 'scoregate:calibration:ratio7d{service=~"$service"}', "{{service}} {{model}}"),
        Panel("Labels", _per_s(names.LABELLED, "service, bad"), "{{service}} {{bad}}"),
        Panel("Bad expected of them", _per_s(names.LABELLED_SCORE, "service"), "{{service}}"),
        Panel("Median delay of labels", _quantile(names.LABEL_DELAY_SECONDS, "service", 0.5), "{{service}}", "s"),
    ),
    "features": (
        Panel("Stale or missing", _per_s(names.FEATURES_DEGRADED, "service, view, status"), "{{view}} {{status}}"),
        Panel("Missing by feature", _per_s(names.FEATURES_MISSING, "service, feature"), "{{service}} {{feature}}"),
        Panel("Events counted", _per_s(names.EVENTS_APPLIED, "stream", **_STREAM), "{{stream}}"),
        Panel("Events too late", _per_s(names.EVENTS_LATE, "stream", **_STREAM), "{{stream}}"),
        Panel("Events put aside", _per_s(names.EVENTS_REJECTED, "stream", **_STREAM), "{{stream}}"),
        Panel(
            "p99 until features show an event",
            _quantile(names.EVENT_FRESHNESS_SECONDS, "stream", **_STREAM),
            "{{stream}}",
            "s",
        ),
        Panel("Rows filled anew", _per_s(names.STORE_REBUILDS, "stream", **_STREAM), "{{stream}}"),
    ),
    "ledger": (
        Panel("p99 of an append", _quantile(names.STAGE_SECONDS, "service", stage=_LEDGER), "{{service}}", "s"),
        Panel("Decisions", _per_s(names.DECISIONS, "service"), "{{service}}", "reqps"),
        Panel("In line", f"sum by (service, queue) ({_of(names.WAITING)})", "{{service}} {{queue}}"),
    ),
}


def dashboards() -> dict[str, dict[str, Any]]:
    """Return each dashboard by the name of its file."""
    return {name: _dashboard(name, panels) for name, panels in PANELS.items()}


def _dashboard(name: str, panels: tuple[Panel, ...]) -> dict[str, Any]:
    service = {
        "name": "service",
        "type": "query",
        "datasource": _SOURCE,
        "query": f"label_values({names.REQUESTS}_total, service)",
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }
    source = {"name": "source", "type": "datasource", "query": "prometheus"}
    return {
        "uid": f"scoregate-{name}",
        "title": f"scoregate: {name}",
        "tags": ["scoregate"],
        "schemaVersion": 39,
        "refresh": "10s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source, service]},
        "panels": [_panel(number, panel) for number, panel in enumerate(panels)],
    }


_SOURCE = {"type": "prometheus", "uid": "${source}"}


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": number + 1,
        "title": panel.title,
        "type": "timeseries",
        "datasource": _SOURCE,
        "gridPos": {"x": WIDE * (number % 2), "y": HIGH * (number // 2), "w": WIDE, "h": HIGH},
        "fieldConfig": {"defaults": {"unit": panel.unit}, "overrides": []},
        "targets": [{"refId": "A", "expr": panel.expr, "legendFormat": panel.legend, "datasource": _SOURCE}],
    }
