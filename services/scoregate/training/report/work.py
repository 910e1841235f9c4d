"""What decisions cost, and the work that they make."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from scoregate.training.plots import Line, chart
from scoregate.training.report.page import Page
from scoregate.training.report.parts import figure, interval, major, percent, row, table


def costs(page: Page) -> str:
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
        figures.append(figure(name, chart([line, by_score, here], "multiple of the threshold", axis, box=box)))
        begins = "never" if one["score"] is None else f"{one['score']:.4f}"
        shifts = [major(one["shift"][key]) for key in ("minus_20_percent", "plus_20_percent")]
        rows.append((name, begins, *shifts, f"{one['optimum']['factor']:g}"))
    text = table(("outcome", "from score, at the median amount", "-20 %", "+20 %", "least at"), rows)
    if money:
        text += table(
            (f"{money['per_decisions']:,} decisions", "major units, 95 % interval"),
            [(name, major(money[key])) for name, key in (("the policy", "cost_minor"), ("saved", "saved_minor"))],
        )
    for one in found["overrides"]:
        text += (
            f"<p><b>Overridden by a person:</b> {escape(one['outcome'])} begins above {one['above']:g}, because: "
            f"{escape(one['reason'])}. "
            f"It moves {one['moved']:,} records and costs {major(one['extra_minor'])} more.</p>"
        )
    return row(figures) + text


def workload(page: Page) -> str:
    points = page.details.get("workload") or ()
    rows = [
        (
            percent(p["share"]),
            f"{p['per_day']['value']:,.1f}" if "per_day" in p else "",
            f"{p['score']:.4f}",
            percent(p["capture"]),
            percent(p["precision"]),
        )
        for p in points
    ]
    heads = ("share of records on the list", "a day", "from score", "of all bad ones found", "of the list bad")
    return table(heads, rows) if rows else ""


def alerts(page: Page) -> str:
    """Show how many alerts a team sees a day."""
    found = page.details.get("alerts")
    if not found:
        return ""

    def per_day(m: Mapping[str, float]) -> str:
        return f"{m['value']:,.1f} ({m['low']:,.1f} to {m['high']:,.1f})"

    rows = [
        (o["from"], f"{o['score']:.4f}", per_day(o["records_per_day"]), per_day(o["alerts_per_day"])) for o in found
    ]
    sampled = "<p>Of a sample of the records: alerts are at least so many.</p>" if found[0]["at_least"] else ""
    return table(("from", "score", "records a day", "alerts a day"), rows) + sampled


def approaches(page: Page) -> str:
    """Show the approaches that were compared."""
    found = page.details.get("approaches")
    if not found:
        return ""
    heads = {"known": "known kinds, unseen", "new": "new kinds, unseen", "test": "the test period"}
    rows = [(name, *("" if one[key] is None else interval(one[key]) for key in heads)) for name, one in _by_name(found)]
    kept = f"<p>Kept: {escape(found['kept'])}, because {escape(found['why'])}.</p>"
    return kept + table(("average precision of", *heads.values()), rows)


def _by_name(found: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
    return sorted(found["figures"].items(), key=lambda one: -one[1]["test"]["value"])
