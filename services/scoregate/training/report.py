"""One page per training that people read: what the gates found, curves, costs, fairness, drift, features, lineage.

Self-contained: styles and plots are inline, nothing is loaded from anywhere. Evidently's own page on drift is kept
beside it, its figures stand here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any, Final

import numpy as np

from scoregate.models.forest import Forest
from scoregate.policy import Policy
from scoregate.training.card import title
from scoregate.training.dataset import Dataset
from scoregate.training.gates import Found
from scoregate.training.plots import Bar, Line, bars, chart
from scoregate.training.resample import Floats, Ints, Measured

POINTS: Final = 200
EXPLAINED: Final = 400
"""Records that importance is a mean of."""

STYLE: Final = """
body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:1040px;padding:0 1rem;color:#222}
h1{margin-bottom:0}h2{margin-top:2.2rem;border-bottom:1px solid #ddd}table{border-collapse:collapse;margin:.6rem 0}
td,th{padding:.25rem .7rem;border-bottom:1px solid #eee;text-align:left;vertical-align:top}td.n{text-align:right}
.passed{color:#2c7a3f}.failed{color:#b3261e;font-weight:600}.skipped{color:#777}.row{display:flex;flex-wrap:wrap;gap:1rem}
figure{margin:0}figcaption{font-weight:600}svg text{font:11px system-ui,sans-serif;fill:#333}.small{color:#666}
"""

_WINDOW: Final = re.compile(r"_(\d+)([mhd])$")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True, eq=False)
class Page:
    """What a report shows. `score` and `label` are of the test records, `importance` is mean |log-odds| by feature.

    `metrics` and `details` are what `metrics.json` holds, `meanings` what a service says of its features.
    """

    service: str
    version: str
    found: Found
    metrics: Mapping[str, Measured]
    details: Mapping[str, Any]
    label: Ints
    score: Floats
    weight: Floats
    importance: Mapping[str, float]
    policy: Policy
    meanings: Mapping[str, str]
    lineage: Mapping[str, Any]
    drift: Mapping[str, Any] | None
    champion: bool


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
        _section("Figures on records that training has not seen", _metrics(page)),
        _section("Curves", _curves(page)),
        _section("Expected loss and thresholds", _costs(page)),
        _section("Work and what it finds", _workload(page)),
        _section("Fairness", _fairness(page)),
        _section("Stability", _stability(page)),
        _section("Drift against the previous data", _drift(page)),
        _section("Features", _features(page)),
        _section("Data checks", _checks(page)),
        _section("Lineage", _table(("", ""), [(key, str(value)) for key, value in page.lineage.items()])),
    ]
    head = f'<meta charset="utf-8"><title>{escape(page.service)} {escape(page.version)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def meaning(name: str, policy: Policy, meanings: Mapping[str, str]) -> str:
    """Say what a feature is: in the service's words, else by its name; and which reason it may be given for."""
    words = meanings.get(name)
    if words is None:
        window = _WINDOW.search(name)
        words = name[: window.start()] if window else name
        words = words.replace("_is_", ": ").replace("_to_", " against ").replace("_", " ").replace(" minor", "")
        words += f", last {window[1]} {_UNITS[window[2]]}" if window else ""
    for code, group in policy.groups.items():
        if any(evidence.feature == name for evidence in group):
            return f"{words} (reason: {policy.texts[code]})"
    return words


def _section(heading: str, body: str) -> str:
    return f"<h2>{heading}</h2>{body}" if body else ""


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]], *, classes: Sequence[str] = ()) -> str:
    top = "".join(f"<th>{escape(head)}</th>" for head in heads)
    lines = []
    for i, row in enumerate(rows):
        of = f' class="{classes[i]}"' if classes else ""
        lines.append(f"<tr{of}>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>")
    return f"<table><tr>{top}</tr>{''.join(lines)}</table>"


def _figure(caption: str, svg: str) -> str:
    return f"<figure><figcaption>{escape(caption)}</figcaption>{svg}</figure>"


def _row(figures: Sequence[str]) -> str:
    return f'<div class="row">{"".join(figures)}</div>'


def _gates(page: Page) -> str:
    rows = [(gate.name, gate.status, _of(gate.figure), _of(gate.bound), gate.sentence) for gate in page.found.gates]
    return _table(("gate", "", "figure", "bound", ""), rows, classes=[gate.status for gate in page.found.gates])


def _metrics(page: Page) -> str:
    rows = [(title(name), f"{m.value:.4f}", f"{m.low:.4f} to {m.high:.4f}") for name, m in page.metrics.items()]
    return _table(("metric", "value", "95 % interval"), rows)


def _curves(page: Page) -> str:
    order = np.argsort(-page.score, kind="stable")
    weight, bad = page.weight[order], (page.weight * page.label)[order]
    last = np.flatnonzero(np.append(np.diff(page.score[order]) != 0, True))
    above, hits = np.cumsum(weight)[last], np.cumsum(bad)[last]
    tpr, fpr = hits / hits[-1], (above - hits) / (above - hits)[-1]
    thin = np.unique(np.linspace(0, len(last) - 1, POINTS).astype(int))
    # The left end, where decisions are made, keeps its points: by rank, not by place.
    thin = np.unique(np.concatenate([thin, np.unique(np.geomspace(1, len(last), POINTS).astype(int) - 1)]))
    unit = (0.0, 1.0, 0.0, 1.0)
    roc = [(0.0, 0.0), *zip(fpr[thin].tolist(), tpr[thin].tolist(), strict=True)]
    pr = list(zip(tpr[thin].tolist(), (hits / above)[thin].tolist(), strict=True))
    base = float(bad.sum() / weight.sum())
    diagonal = Line("chance", [(0, 0), (1, 1)], dashed=True)
    everyone = Line("all", [(0, base), (1, base)], dashed=True)
    return _row(
        [
            _figure("ROC", chart([Line("", roc), diagonal], "false-positive rate", "true-positive rate", box=unit)),
            _figure(
                "Precision and recall",
                chart([Line("", pr), everyone], "recall", "precision", box=unit),
            ),
            _figure("Calibration", _reliability(page.details.get("reliability", ()))),
            _figure("Scores, share of good and of bad records", _histogram(page)),
        ]
    )


def _reliability(points: Sequence[Mapping[str, Any]]) -> str:
    if not points:
        return ""
    most = max(max(p["predicted"], p["observed"]["high"]) for p in points)
    line = Line(
        "observed, with 95 % interval",
        [(p["predicted"], p["observed"]["value"]) for p in points],
        [p["observed"]["low"] for p in points],
        [p["observed"]["high"] for p in points],
        dots=True,
    )
    ideal = Line("as predicted", [(0, 0), (most, most)], dashed=True)
    return chart([line, ideal], "mean score", "share of bad", box=(0, most, 0, most))


def _histogram(page: Page) -> str:
    edges = np.linspace(0, 1, 21)
    lines, most = [], 0.0
    for name, here in (("good", page.label == 0), ("bad", page.label == 1)):
        counts = np.histogram(page.score[here], edges, weights=page.weight[here])[0]
        share = counts / max(float(counts.sum()), 1e-300)
        steps = [p for i, y in enumerate(share.tolist()) for p in ((edges[i], y), (edges[i + 1], y))]
        lines.append(Line(name, [(float(x), y) for x, y in steps]))
        most = max(most, float(share.max()))
    return chart(lines, "score", "share of records", box=(0, 1, 0, most))


def _costs(page: Page) -> str:
    found, money = page.details.get("thresholds"), page.details.get("money")
    if not found:
        return ""
    rows, figures = [], []
    for name, one in found["outcomes"].items():
        curve = one["curve"]
        extra = [p["extra_minor"] for p in curve]
        line = Line(
            "observed, with 95 % interval",
            [(p["factor"], p["extra_minor"]["value"] / 100) for p in curve],
            [e["low"] / 100 for e in extra],
            [e["high"] / 100 for e in extra],
        )
        by_score = Line("as scores expect", [(p["factor"], p["expected_extra_minor"] / 100) for p in curve])
        values = [y for _, y in (*line.points, *by_score.points)]
        low, high = min(0.0, *values), max(0.0, *values)
        here = Line("where it begins", [(1, low), (1, high)], dashed=True)
        box = (0.25, 2.5, low, high)
        axis = f"extra cost of {found['per_decisions']:,} decisions"
        figures.append(_figure(name, chart([line, by_score, here], "multiple of the threshold", axis, box=box)))
        begins = "never" if one["score"] is None else f"{one['score']:.4f}"
        shifts = [_major(one["shift"][key]) for key in ("minus_20_percent", "plus_20_percent")]
        rows.append((name, begins, *shifts, f"{one['optimum']['factor']:g}"))
    text = _table(("outcome", "from score, at the median amount", "-20 %", "+20 %", "least at"), rows)
    if money:
        text += _table(
            (f"{money['per_decisions']:,} decisions", "major units, 95 % interval"),
            [(name, _major(money[key])) for name, key in (("the policy", "cost_minor"), ("saved", "saved_minor"))],
        )
    for one in found["overrides"]:
        text += (
            f"<p><b>Overridden by a person:</b> {escape(one['outcome'])} begins above {one['above']:g}, because: "
            f"{escape(one['reason'])}. "
            f"It moves {one['moved']:,} records and costs {_major(one['extra_minor'])} more.</p>"
        )
    return _row(figures) + text


def _workload(page: Page) -> str:
    points = page.details.get("workload") or ()
    rows = [
        (
            _percent(p["share"]),
            f"{p['per_day']['value']:,.1f}" if "per_day" in p else "",
            f"{p['score']:.4f}",
            _percent(p["capture"]),
            _percent(p["precision"]),
        )
        for p in points
    ]
    heads = ("share of records on the list", "a day", "from score", "of all bad ones found", "of the list bad")
    return _table(heads, rows) if rows else ""


def _fairness(page: Page) -> str:
    found = page.details.get("fairness")
    if not found:
        return ""
    parts = []
    for attribute, one in found["attributes"].items():
        cells = [(name, cell) for name, cell in sorted(one["segments"].items()) if cell.get("adverse_impact_ratio")]
        ratios = [Bar(name, **cell["adverse_impact_ratio"]) for name, cell in cells]
        if ratios:
            most = max(1.0, *(bar.high or 0.0 for bar in ratios))
            caption = f"{attribute}: adverse-impact ratio against {one['reference']}"
            parts.append(_figure(caption, bars(ratios, most=most, mark=0.8)))
        keys = ("approval_rate", "equal_opportunity_difference", "good_refused_rate", "calibration_gap")
        rows = [
            (name, f"{cell['records']:,}", *("too few" if not cell.get(k) else _interval(cell[k]) for k in keys))
            for name, cell in sorted(one["segments"].items())
        ]
        heads = ("segment", "records", "approved", "equal opportunity", "good refused", "observed - predicted")
        parts.append(_table(heads, rows))
    rules = [(name.replace("_", " "), text) for name, text in found["rules"].items()]
    return "".join(parts) + _table(("figure", "which rule it serves"), rules)


def _stability(page: Page) -> str:
    text = ""
    if folds := (page.details.get("stability") or {}).get("folds"):
        metric = title(page.details["stability"]["metric"])
        text += f"<p>{metric} on each fold's unseen records: {', '.join(f'{value:.3f}' for value in folds)}.</p>"
    rows = [(f"the score in {where}", f"{psi:.3f}") for where, psi in page.found.score_psi.items()]
    worst = sorted(page.found.psi.items(), key=lambda one: -one[1])[:10]
    rows += [(f"{name} in the test period", f"{psi:.3f}") for name, psi in worst]
    return text + _table(("against the training records", "population stability index"), rows)


def _drift(page: Page) -> str:
    if page.drift is None:
        return "<p>This is the first training here: there is nothing to compare its records with.</p>"
    drift = page.drift
    link = f' <a href="{escape(drift["page"])}">Evidently\'s own page</a>.' if "page" in drift else ""
    worst = sorted(drift["columns"].items(), key=lambda one: -one[1])[:12]
    intro = (
        f"<p>Training records against those of {escape(drift['previous'])}, by Evidently: "
        f"{drift['share']:.0%} of {len(drift['columns'])} features drifted (PSI above 0.25).{link}</p>"
    )
    if not worst:
        return intro
    return intro + bars([Bar(n, v) for n, v in worst], most=max(0.3, *(v for _, v in worst)), mark=0.25)


def _features(page: Page) -> str:
    order = sorted(page.importance, key=lambda name: -page.importance[name])
    most = max(page.importance.values(), default=1.0)
    figure = bars([Bar(name, page.importance[name]) for name in order[:15]], most=most)
    rows = [
        (
            name,
            meaning(name, page.policy, page.meanings),
            f"{page.importance[name]:.3f}",
            f"{page.found.alone[name][0]:.3f}",
            f"{page.found.psi[name]:.3f}",
        )
        for name in order
    ]
    heads = ("feature", "meaning", "importance", "ROC-AUC alone", "PSI")
    note = '<p class="small">Importance: mean absolute share in the log-odds (Shapley value) over tested records.</p>'
    return note + figure + _table(heads, rows)


def _checks(page: Page) -> str:
    broken = [one for one in page.found.checks if not one["ok"]]
    rows = [("failed" if one in broken else "passed", one["check"], one["observed"]) for one in page.found.checks]
    rows.sort(key=lambda row: row[0])
    table = _table(("", "check", "observed"), rows, classes=[row[0] for row in rows])
    said = f"{len(page.found.checks)} checks by Great Expectations, {len(broken)} failed"
    return f"<details{' open' if broken else ''}><summary>{said}</summary>{table}</details>"


def _of(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def _percent(m: Mapping[str, float]) -> str:
    return f"{m['value']:.1%} ({m['low']:.1%} to {m['high']:.1%})"


def _interval(m: Mapping[str, float]) -> str:
    return f"{m['value']:.3f} ({m['low']:.3f} to {m['high']:.3f})"


def _major(m: Mapping[str, float]) -> str:
    return f"{m['value'] / 100:,.0f} ({m['low'] / 100:,.0f} to {m['high'] / 100:,.0f})"
