"""Prometheus's rules, by Prometheus's own tool: each alert fires when it should, and not when it should not."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from deploy.generate import HERE, files
from deploy.prometheus.rules import ALERTS, BURNS, SLOS, groups

from scoregate.telemetry import names

ROUTE = "/v1/toy/score"
SAMPLES = 100
"""Minutes of each series."""
EVERY, AT = "5m", "95m"
"""When rules are evaluated, and the last time of those: each minute would take five times as long."""

Series = Mapping[str, str]


@pytest.fixture(scope="module")
def promtool() -> str:
    """Debian's `prometheus` has it; without it the rules are not tried, which is said."""
    if (found := shutil.which("promtool")) is None:
        pytest.skip("promtool (Debian's package `prometheus`) is not here, so the rules were not tried.")
    return found


def counter(per_minute: float, **labels: str) -> tuple[str, str]:
    """A metric's labels, and values that grow."""
    return _labels(labels), f"0+{per_minute:.6f}x{SAMPLES}"


def gauge(value: float, **labels: str) -> tuple[str, str]:
    return _labels(labels), f"{value:g}x{SAMPLES}"


def _labels(labels: Mapping[str, str]) -> str:
    return "{" + ", ".join(f'{name}="{value}"' for name, value in labels.items()) + "}"


def slo_series(name: str, bad: float) -> Series:
    """A hundred a minute, of which a share is bad."""
    good, bad = 100 * (1 - bad), 100 * bad
    match name:
        case "availability":
            metric, by, key = f"{names.REQUESTS}_total", {"route": ROUTE}, "status"
            pairs = [
                counter(good, service="toy", **by, **{key: "200"}),
                counter(bad, service="toy", **by, **{key: "503"}),
            ]
        case "fallback":
            metric = f"{names.DECISIONS}_total"
            pairs = [counter(good, service="toy", source="model"), counter(bad, service="toy", source="fallback")]
        case "latency":
            return _histogram(names.REQUEST_SECONDS, "0.1", good, service="toy", route=ROUTE)
        case _:
            return _histogram(names.EVENT_FRESHNESS_SECONDS, "1.0", good, stream="payments")
    return {f"{metric}{labels}": values for labels, values in pairs}


def _histogram(metric: str, bound: str, good: float, **labels: str) -> Series:
    counts = [(f"{metric}_count", counter(100, **labels)), (f"{metric}_bucket", counter(good, **labels, le=bound))]
    return {f"{name}{said}": values for name, (said, values) in counts}


def of(metric: str, *pairs: tuple[str, str]) -> dict[str, str]:
    return {f"{metric}{labels}": values for labels, values in pairs}


def arms(canary: tuple[float, float]) -> Series:
    """Two arms and two bins; the stable one's shares are even."""
    bins = [
        counter(rate, service="toy", arm=arm, bin=f"0{i}")
        for arm, rates in (("stable", (500, 500)), ("canary", canary))
        for i, rate in enumerate(rates)
    ]
    decisions = counter(1_000, service="toy", arm="canary", source="model")
    return {**of(f"{names.SCORE_BINS}_total", *bins), **of(f"{names.DECISIONS}_total", decisions)}


def degraded(per_minute: float) -> Series:
    return {
        **of(f"{names.FEATURES_DEGRADED}_total", counter(per_minute, service="toy", view="payer", status="stale")),
        **of(f"{names.DECISIONS}_total", counter(100, service="toy", source="model")),
    }


def labels(bad_per_minute: float, score_per_minute: float) -> Series:
    bad = counter(bad_per_minute, service="toy", model="m", bad="true")
    return {
        **of(f"{names.LABELLED}_total", bad),
        **of(f"{names.LABELLED_SCORE}_total", counter(score_per_minute, service="toy", model="m")),
    }


def loop(on_time: float) -> Series:
    said = {"service": "toy", "arm": "stable"}
    pairs = counter(on_time, **said, le="0.05"), counter(100, **said, le="0.1"), counter(100, **said, le="+Inf")
    return of(f"{names.LOOP_LAG_SECONDS}_bucket", *pairs)


def psi(subject: str, value: float) -> Series:
    return of(names.DRIFT_PSI, gauge(value, service="toy", model="m", subject=subject))


FIRES_AND_NOT: Mapping[str, tuple[Series, Series]] = {
    "ScoresDifferBetweenArms": (arms((950, 50)), arms((505, 495))),
    "ScoreDrifts": (psi("score", 0.12), psi("score", 0.08)),
    "FeatureDrifts": (psi("feature:amount", 0.2), psi("feature:amount", 0.1)),
    "OutcomesDrift": (psi("outcome", 0.12), psi("outcome", 0.08)),
    "FeaturesMissing": (degraded(6), degraded(4)),
    "LabelsAreLate": (labels(0, 0), labels(1, 1)),
    "CalibrationDrifts": (labels(1.6, 1), labels(1.4, 1)),
    "StoreIsLeftAlone": (
        of(names.BREAKER_OPEN, gauge(1, service="toy", arm="stable")),
        of(names.BREAKER_OPEN, gauge(0, service="toy", arm="stable")),
    ),
    "NotReady": (
        of(names.READY, gauge(0, service="toy", arm="stable", instance="a")),
        of(
            names.READY,
            gauge(0, service="toy", arm="stable", instance="a"),
            gauge(1, service="toy", arm="stable", instance="b"),
        ),
    ),
    "EventsWait": (
        of(names.WAITING, gauge(1_500, service="toy", queue="outbox")),
        of(names.WAITING, gauge(900, service="toy", queue="outbox")),
    ),
    "LoopIsLate": (loop(90), loop(100)),
    "SpansAreLost": (
        of(f"{names.SPANS_LOST}_total", counter(20, service="toy", reason="queue")),
        of(f"{names.SPANS_LOST}_total", counter(5, service="toy", reason="queue")),
    ),
}


def case(alert: str, series: Series, firing: int) -> dict[str, Any]:
    """So many alerts of a name fire at the end."""
    expected = [{"labels": "{}", "value": firing}] if firing else []
    return {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})',
                "eval_time": AT,
                "exp_samples": expected,
            }
        ],
    }


def test_every_alert_fires_when_it_should_and_not_otherwise(promtool: str, tmp_path: Path) -> None:
    """A burn of twenty budgets fires in every window, one of two in the longest alone, one of a half in none."""
    cases = [case(name, fires, 1) for name, (fires, _) in FIRES_AND_NOT.items()]
    cases += [case(name, quiet, 0) for name, (_, quiet) in FIRES_AND_NOT.items()]
    for slo in SLOS:
        budget = 1 - slo.objective
        for times, firing in ((20, len(BURNS)), (2, 1), (0.5, 0)):
            cases.append(case(slo.alert, slo_series(slo.name, times * budget), firing))
    told = {"rule_files": [str(HERE / "prometheus" / "rules.yaml")], "evaluation_interval": EVERY, "tests": cases}
    file = tmp_path / "tests.yaml"
    file.write_text(yaml.safe_dump(told))
    tried = subprocess.run([promtool, "test", "rules", str(file)], capture_output=True, text=True, check=False)

    assert set(FIRES_AND_NOT) == {alert.name for alert in ALERTS}
    assert 0 == tried.returncode, tried.stdout + tried.stderr


def test_prometheus_takes_the_rules(promtool: str) -> None:
    """The file is one that Prometheus loads."""
    tried = subprocess.run(
        [promtool, "check", "rules", str(HERE / "prometheus" / "rules.yaml")],
        capture_output=True,
        text=True,
        check=False,
    )

    assert 0 == tried.returncode, tried.stdout + tried.stderr


def test_what_is_generated_is_up_to_date() -> None:
    """`python -m deploy.generate` after a change of names, rules or dashboards."""

    assert [] == [str(path) for path, text in files().items() if not path.exists() or path.read_text() != text]


def test_every_alert_has_a_runbook_with_commands() -> None:
    """At three in the morning somebody wants to know what to type."""
    alerts = {rule["alert"] for group in groups()["groups"] for rule in group["rules"] if "alert" in rule}
    pages = {path.stem: path.read_text() for path in (HERE / "prometheus" / "runbooks").glob("*.md")}

    assert alerts == pages.keys() - {"README"}
    assert [] == [name for name in alerts if "```sh\n" not in pages[name]]
