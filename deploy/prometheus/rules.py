"""SLOs and alerts: a table of each, and the rules that Prometheus wants of them. `rules.yaml` is made of this."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from scoregate.telemetry import names

RUNBOOKS: Final = "deploy/prometheus/runbooks"
RATIO: Final = "scoregate:slo_errors:ratio_rate"

BURNS: Final = (
    ("page", 14.4, "1h", "5m"),
    ("page", 6.0, "6h", "30m"),
    ("ticket", 3.0, "1d", "2h"),
    ("ticket", 1.0, "3d", "6h"),
)
"""Severity, and how many times too fast the budget of 30 days is spent over a long and a short window: the table of
Google's "The Site Reliability Workbook", chapter 5."""

WINDOWS: Final = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")

PSI_SMALL: Final = 0.1
PSI_MIDDLE: Final = 0.12
PSI_LARGE: Final = 0.25
"""Siddiqi's bounds (2006): above the first something moves, above the last it has moved; one that has moved just now
fills only a part of its window yet, and is between them."""


@dataclass(frozen=True, slots=True)
class Slo:
    """What must hold of a share `objective` of all; `bad` and `all` are counters' rates over a window `{w}`."""

    name: str
    objective: float
    bad: str
    all: str
    alert: str
    says: str


@dataclass(frozen=True, slots=True)
class Alert:
    """One condition; `lasts` is how long it must have held."""

    name: str
    severity: str
    expr: str
    lasts: str
    says: str


def _rate(metric: str, by: str = "service", **match: str) -> str:
    wanted = ", ".join(f"{label}{value}" for label, value in match.items())
    return f"sum by ({by}) (rate({metric}{{{wanted}}}[{{w}}]))"


def _slower(metric: str, bound: str, by: str = "service", **match: str) -> str:
    """Those of a histogram that came after a bucket's bound."""
    return f"({_rate(f'{metric}_count', by, **match)} - {_rate(f'{metric}_bucket', by, **match, le=_is(bound))})"


def _is(value: str) -> str:
    return f'="{value}"'


_REQUESTS, _SECONDS = f"{names.REQUESTS}_total", names.REQUEST_SECONDS
_DECISIONS, _FRESHNESS = f"{names.DECISIONS}_total", names.EVENT_FRESHNESS_SECONDS
_ASKED = '=~"/v1/.*"'
_SCORE = '=~"/v1/.*/score"'

SLOS: Final = (
    Slo(
        "availability",
        0.999,
        _rate(_REQUESTS, route=_ASKED, status='=~"5.."'),
        _rate(_REQUESTS, route=_ASKED),
        "AvailabilityBurns",
        "Requests to {{ $labels.service }} fail",
    ),
    Slo(
        "latency",
        0.99,
        _slower(_SECONDS, "0.1", route=_SCORE),
        _rate(f"{_SECONDS}_count", route=_SCORE),
        "LatencyBurns",
        "Decisions of {{ $labels.service }} take longer than 100 ms",
    ),
    Slo(
        "fallback",
        0.995,
        _rate(_DECISIONS, source='="fallback"'),
        _rate(_DECISIONS),
        "FallbacksBurn",
        "{{ $labels.service }} decides without its model",
    ),
    Slo(
        "freshness",
        0.99,
        _slower(_FRESHNESS, "1.0", "stream"),
        _rate(f"{_FRESHNESS}_count", "stream"),
        "FreshnessBurns",
        "Events of {{ $labels.stream }} show in features later than a second after they were known",
    ),
)


def _shares_differ(one: str, other: str, metric: str, by: str) -> str:
    """PSI of the shares of one arm's decisions against another's, by a label, over an hour."""

    def share(arm: str) -> str:
        some = f'increase({metric}{{arm="{arm}"}}[1h])'
        return f"clamp_min(sum by (service, {by}) ({some}) / on (service) group_left sum by (service) ({some}), 0.001)"

    return f"sum by (service) (({share(one)} - {share(other)}) * ln({share(one)} / {share(other)}))"


def _enough(arm: str) -> str:
    return f'sum by (service) (increase({_DECISIONS}{{arm="{arm}"}}[1h])) > 500'


_MISSING = _rate(f"{names.FEATURES_DEGRADED}_total", "service, view", status='=~"stale|missing"')
_LABELLED_BAD = f'sum by (service, model) (increase({names.LABELLED}_total{{bad="true"}}[7d]))'
_EXPECTED_BAD = f"sum by (service, model) (increase({names.LABELLED_SCORE}_total[7d]))"
_CALIBRATION = "scoregate:calibration:ratio7d"

_BINS = f"{names.SCORE_BINS}_total"

ALERTS: Final = (
    Alert(
        "ScoresDifferBetweenArms",
        "ticket",
        f"scoregate:arms_score:psi1h > {PSI_LARGE} and on (service) {_enough('canary')}",
        "5m",
        "The canary of {{ $labels.service }} scores otherwise than the stable model: PSI {{ $value }}",
    ),
    Alert(
        "ScoreDrifts",
        "ticket",
        f'{names.DRIFT_PSI}{{subject="score"}} > {PSI_SMALL}',
        "5m",
        "Scores of {{ $labels.service }} are not those that its model was accepted with: PSI {{ $value }}",
    ),
    Alert(
        "FeatureDrifts",
        "ticket",
        f'{names.DRIFT_PSI}{{subject=~"feature:.*"}} > {PSI_MIDDLE}',
        "5m",
        "{{ $labels.subject }} of {{ $labels.service }} is not what its model was trained on: PSI {{ $value }}",
    ),
    Alert(
        "OutcomesDrift",
        "ticket",
        f'{names.DRIFT_PSI}{{subject="outcome"}} > {PSI_SMALL}',
        "5m",
        "{{ $labels.service }} approves and declines other shares than its model was accepted with",
    ),
    Alert(
        "FeaturesMissing",
        "page",
        f"{_MISSING} / on (service) group_left {_rate(_DECISIONS)} > 0.05".replace("{w}", "10m"),
        "5m",
        "{{ $labels.view }} is stale or missing in more than 5 % of the decisions of {{ $labels.service }}",
    ),
    Alert(
        "LabelsAreLate",
        "ticket",
        f"sum by (service) (increase({names.LABELLED}_total[3d])) == 0",
        "1h",
        "No label of {{ $labels.service }} has come for more than three days",
    ),
    Alert(
        "CalibrationDrifts",
        "ticket",
        f"({_CALIBRATION} > 1.5 or {_CALIBRATION} < 0.67) and on (service, model) {_LABELLED_BAD} >= 50",
        "1h",
        "Of what {{ $labels.service }} scored, {{ $value }} times as much was bad as it said",
    ),
    Alert(
        "StoreIsLeftAlone",
        "page",
        f"max by (service, arm) ({names.BREAKER_OPEN}) == 1",
        "1m",
        "{{ $labels.service }} ({{ $labels.arm }}) has given its online store up and decides by rules",
    ),
    Alert(
        "NotReady",
        "page",
        f"max by (service, arm) ({names.READY}) == 0",
        "2m",
        "No process of {{ $labels.service }} ({{ $labels.arm }}) is ready",
    ),
    Alert(
        "EventsWait",
        "ticket",
        f'sum by (service) ({names.WAITING}{{queue="outbox"}}) > 1000',
        "5m",
        "Events of {{ $labels.service }} are durable and do not get onto their stream",
    ),
    Alert(
        "LoopIsLate",
        "ticket",
        f"histogram_quantile(0.99, sum by (service, arm, le) (rate({names.LOOP_LAG_SECONDS}_bucket[5m]))) > 0.05",
        "10m",
        "The event loop of {{ $labels.service }} ({{ $labels.arm }}) is late by {{ $value }} s",
    ),
    Alert(
        "SpansAreLost",
        "ticket",
        f"sum by (service, reason) (increase({names.SPANS_LOST}_total[10m])) > 100",
        "10m",
        "Spans of {{ $labels.service }} are lost: {{ $labels.reason }}",
    ),
)


def groups() -> dict[str, Any]:
    """Return what a file of rules holds."""
    return {
        "groups": [
            {"name": "scoregate-slos", "rules": [_ratio(slo, window) for slo in SLOS for window in WINDOWS]},
            {"name": "scoregate-burn", "rules": [_burn(slo, *burn) for slo in SLOS for burn in BURNS]},
            {
                "name": "scoregate-models",
                "rules": [
                    {"record": _CALIBRATION, "expr": f"{_LABELLED_BAD} / {_EXPECTED_BAD}"},
                    {"record": "scoregate:arms_score:psi1h", "expr": _shares_differ("canary", "stable", _BINS, "bin")},
                ],
            },
            {"name": "scoregate-alerts", "rules": [_alert(alert) for alert in ALERTS]},
        ]
    }


def _ratio(slo: Slo, window: str) -> dict[str, Any]:
    expr = f"{slo.bad} / {slo.all}".replace("{w}", window)
    return {"record": f"{RATIO}{window}", "expr": expr, "labels": {"slo": slo.name}}


def _burn(slo: Slo, severity: str, factor: float, long: str, short: str) -> dict[str, Any]:
    bound = f"{factor * (1 - slo.objective):.6g}"
    spent = [f'{RATIO}{window}{{slo="{slo.name}"}} > {bound}' for window in (long, short)]
    budget = f"{factor:g} times as fast as its budget of {1 - slo.objective:.1%} in 30 days allows"
    alert = Alert(slo.alert, severity, " and ".join(spent), "0m", f"{slo.says}, {budget}")
    return _alert(alert, window=long)


def _alert(alert: Alert, **labels: str) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "expr": alert.expr,
        "for": alert.lasts,
        "labels": {"severity": alert.severity, **labels},
        "annotations": {"summary": alert.says, "runbook": f"{RUNBOOKS}/{alert.name}.md"},
    }
