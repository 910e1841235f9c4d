"""`scoregate top`: what every scoring process of this stack does just now, as its own metrics say."""

from __future__ import annotations

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from typing import Final

from rich.console import Console
from rich.live import Live
from rich.table import Table

from scoregate.local import StackError
from scoregate.local.ready import probe
from scoregate.local.state import Stage, read_desired
from scoregate.local.supervisor import supervisor_of
from scoregate.local.traefik import HOST
from scoregate.settings import Settings
from scoregate.telemetry import names
from scoregate.values import frozen

MOST_BYTES: Final = 4_000_000
COLUMNS: Final = ("process", "req/s", "5xx/s", "p50 ms", "p99 ms", "in flight", "fallback", "outcomes", "degraded")

Labels = frozenset[tuple[str, str]]
Reading = Mapping[tuple[str, Labels], float]
"""Sample and labels → value."""


@frozen
class Row:
    """One process over some seconds. `p50_s` and `p99_s` are upper bounds of buckets; None without a decision."""

    process: str
    requests_per_s: float
    failed_per_s: float
    p50_s: float | None
    p99_s: float | None
    in_flight: float
    is_degraded: bool
    fallback_share: float
    outcomes: Mapping[str, float] = field(default_factory=dict)


def top(settings: Settings, console: Console, every_s: float, *, once: bool) -> int:
    if supervisor_of(settings.home) is None:
        raise StackError("Nothing runs: `make up` starts it.")
    before = _read(settings)
    if once or not sys.stdout.isatty():
        time.sleep(every_s)
        console.print(_table(rows(before, _read(settings), every_s)))
        return 0
    with Live(console=console, auto_refresh=False) as live:
        while True:
            time.sleep(every_s)
            now = _read(settings)
            live.update(_table(rows(before, now, every_s)), refresh=True)
            before = now


def rows(before: Mapping[str, Reading], now: Mapping[str, Reading], seconds: float) -> list[Row]:
    """Compare two readings of every process; one that was not there before, or began anew, is counted from nothing."""
    return [_row(process, before.get(process, {}), reading, seconds) for process, reading in now.items()]


def _row(process: str, before: Reading, now: Reading, seconds: float) -> Row:
    grown = {at: value - before.get(at, 0.0) if value >= before.get(at, 0.0) else value for at, value in now.items()}

    def of(name: str, wanted: Callable[[Mapping[str, str]], bool] = lambda _: True) -> Mapping[Labels, float]:
        return {labels: value for (sample, labels), value in grown.items() if sample == name and wanted(dict(labels))}

    def gauge(name: str) -> float:
        return sum(value for (sample, _), value in now.items() if sample == name)

    asked = of(f"{names.REQUESTS}_total", lambda labels: labels["route"].startswith("/v1/"))
    failed = sum(value for labels, value in asked.items() if dict(labels)["status"] >= "500")
    decisions = of(f"{names.DECISIONS}_total")
    decided = sum(decisions.values())
    outcomes: defaultdict[str, float] = defaultdict(float)
    for labels, value in decisions.items():
        outcomes[dict(labels)["outcome"]] += value
    by_rules = sum(value for labels, value in decisions.items() if dict(labels)["source"] == "fallback")
    buckets = of(f"{names.REQUEST_SECONDS}_bucket", lambda labels: labels["route"].endswith("/score"))
    return Row(
        process,
        sum(asked.values()) / seconds,
        failed / seconds,
        quantile(buckets, 0.5),
        quantile(buckets, 0.99),
        gauge(names.IN_FLIGHT),
        gauge(names.DEGRADED) > 0,
        by_rules / decided if decided else 0.0,
        {o: outcomes[o] / decided for o in sorted(outcomes, key=lambda o: -outcomes[o]) if outcomes[o]}
        if decided
        else {},
    )


def quantile(buckets: Mapping[Labels, float], q: float) -> float | None:
    """Return the bound of the first bucket that holds the quantile; None without any observation."""
    up_to: defaultdict[float, float] = defaultdict(float)
    for labels, value in buckets.items():
        up_to[float(dict(labels)["le"])] += value
    most = max(up_to.values(), default=0)
    return min((bound for bound, value in up_to.items() if value >= q * most), default=None) if most else None


def _read(settings: Settings) -> dict[str, Reading]:
    """Read every process that answers."""
    processes = [spec for spec in read_desired(settings.home).processes if spec.stage is Stage.SERVICE]
    found = {spec.name: probe(f"http://{HOST}:{spec.port}/metrics", most_bytes=MOST_BYTES) for spec in processes}
    return {name: _parsed(text) for name, (status, text) in sorted(found.items()) if status == 200}


def _parsed(text: str) -> Reading:
    from prometheus_client.parser import text_string_to_metric_families

    families = text_string_to_metric_families(text)
    return {(s.name, frozenset(s.labels.items())): s.value for family in families for s in family.samples}


def _table(some: Sequence[Row]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, no_wrap=True, justify="left" if column in ("process", "outcomes") else "right")
    for row in some:
        table.add_row(
            row.process,
            f"{row.requests_per_s:.1f}",
            f"{row.failed_per_s:.1f}",
            _ms(row.p50_s),
            _ms(row.p99_s),
            f"{row.in_flight:.0f}",
            f"{row.fallback_share:.1%}",
            ", ".join(f"{outcome} {share:.0%}" for outcome, share in row.outcomes.items()),
            "yes" if row.is_degraded else "",
        )
    return table


def _ms(seconds: float | None) -> str:
    return "-" if seconds is None else "> 250" if seconds == float("inf") else f"≤ {seconds * 1_000:g}"
