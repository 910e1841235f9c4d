"""One page per training that people read: what the gates found, curves, costs, fairness, drift, features, lineage.

Self-contained: styles and plots are inline, nothing is loaded from anywhere. Evidently's own page on drift is kept
beside it, its figures stand here.
"""

from __future__ import annotations

from html import escape
from typing import Final

import numpy as np

from scoregate.models.forest import Forest
from scoregate.training.dataset import Dataset
from scoregate.training.report import curves, people, records, work
from scoregate.training.report.page import Page
from scoregate.training.report.parts import number, table
from scoregate.training.report.records import meaning

__all__ = ["Page", "importance", "meaning", "render"]

EXPLAINED: Final = 400
"""Records that importance is a mean of."""

STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1040px;padding:0 1rem;color:#222}
h1{margin-bottom:0}h2{margin-top:2.2rem;border-bottom:1px solid #ddd}table{border-collapse:collapse;margin:.6rem 0}
td,th{padding:.25rem .7rem;border-bottom:1px solid #eee;text-align:left;vertical-align:top}td.n{text-align:right}
.passed{color:#2c7a3f}.failed{color:#b3261e;font-weight:600}.skipped{color:#777}.row{display:flex;flex-wrap:wrap;gap:1rem}
figure{margin:0}figcaption{font-weight:600}svg text{font:11px system-ui,sans-serif;fill:#333}.small{color:#666}
"""


def importance(forest: Forest, data: Dataset, names: tuple[str, ...], seed: int) -> dict[str, float]:
    """Return each feature's mean absolute share in the log-odds, over some of the test records."""
    rng = np.random.default_rng([seed, 5])
    tested, weight = np.flatnonzero(data.test), data.weight[data.test]
    some = rng.choice(tested, min(EXPLAINED, len(tested)), p=weight / weight.sum())
    mean = np.abs(forest.contributions(data.matrix[some].astype(np.float32))).mean(axis=0)
    return dict(zip(names, mean.tolist(), strict=True))


def render(page: Page) -> str:
    """Write the page."""
    failed = [gate for gate in page.found.gates if gate.status == "failed"]
    verdict = "All gates passed" if not failed else f"Stopped by {', '.join(gate.name for gate in failed)}"
    state = "failed" if failed else "passed"
    parts = [
        f"<h1>{escape(page.service)} {escape(page.version)}</h1>",
        f'<p class="{state}">{verdict}{"; it is the champion" if page.champion else ""}.</p>',
        _section("Gates", _gates(page)),
        _section("Figures on records that training has not seen", curves.metrics(page)),
        _section("Curves", curves.curves(page)),
        _section("Expected loss and thresholds", work.costs(page)),
        _section("Work and what it finds", work.workload(page)),
        _section("Alerts a day", work.alerts(page)),
        _section("Approaches", work.approaches(page)),
        _section("Fairness", people.fairness(page)),
        _section("Stability", records.stability(page)),
        _section("Drift against the previous data", records.drift(page)),
        _section("Features", records.features(page)),
        _section("Data checks", records.checks(page)),
        _section("Lineage", table(("", ""), [(key, str(value)) for key, value in page.lineage.items()])),
    ]
    head = f'<meta charset="utf-8"><title>{escape(page.service)} {escape(page.version)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _section(heading: str, body: str) -> str:
    return f"<h2>{heading}</h2>{body}" if body else ""


def _gates(page: Page) -> str:
    rows = [
        (gate.name, gate.status, number(gate.figure), number(gate.bound), gate.sentence) for gate in page.found.gates
    ]
    return table(("gate", "", "figure", "bound", ""), rows, classes=[gate.status for gate in page.found.gates])
