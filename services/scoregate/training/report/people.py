"""How decisions fall on segments of people."""

from __future__ import annotations

from scoregate.training.plots import Bar, bars
from scoregate.training.report.page import Page
from scoregate.training.report.parts import figure, interval, table


def fairness(page: Page) -> str:
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
            parts.append(figure(caption, bars(ratios, most=most, mark=0.8)))
        keys = ("approval_rate", "equal_opportunity_difference", "good_refused_rate", "calibration_gap")
        rows = [
            (name, f"{cell['records']:,}", *("too few" if not cell.get(k) else interval(cell[k]) for k in keys))
            for name, cell in sorted(one["segments"].items())
        ]
        heads = ("segment", "records", "approved", "equal opportunity", "good refused", "observed - predicted")
        parts.append(table(heads, rows))
    rules = [(name.replace("_", " "), text) for name, text in found["rules"].items()]
    return "".join(parts) + table(("figure", "which rule it serves"), rules)
