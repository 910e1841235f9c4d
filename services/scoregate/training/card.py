"""The model card of one artefact, written from its figures; what figures cannot tell is in the service's README."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import field
from typing import Any

from scoregate.training.evaluate import TITLES
from scoregate.training.resample import Measured
from scoregate.values import frozen


@frozen
class Figures:
    """What a card says. `tested` holds the first and last day of the test period, its records and bad ones."""

    service: str
    feature_service: str
    objective: str
    metrics: Mapping[str, Measured]
    shares: Mapping[str, float]
    training: Mapping[str, Any]
    tested: Mapping[str, Any]
    rounds: int
    details: Mapping[str, Any] = field(default_factory=dict)


def card(figures: Figures) -> str:
    """Write the card as Markdown."""
    metrics = "\n".join(
        f"| {title(n)} | {m.value:.4f} | {m.low:.4f} to {m.high:.4f} |" for n, m in figures.metrics.items()
    )
    outcomes = "\n".join(f"| {name} | {share:.2%} |" for name, share in figures.shares.items())
    parts = (_outside, _money, _stability, _approaches, _alerts, _thresholds, _fairness)
    more = "".join(part(figures.details) for part in parts)
    trained = figures.training
    return f"""# {figures.service}: {figures.feature_service}

Made by `scoregate train {figures.service}`, scoregate {trained["code_version"]}, seed {trained["seed"]}.
Purpose, population, label and limits are in the README of the service.

- Objective: {figures.objective}, {figures.rounds} trees.
- Trained on {_records(trained)} known to be bad.
- Tested on {_records(figures.tested)} bad, none of them trained on.
- Data digest: {trained["data_digest"][:16]}.

| metric | value | 95 % interval |
|---|---|---|
{metrics}

| outcome | share of the test period |
|---|---|
{outcomes}
{more}"""


def _outside(details: Mapping[str, Any]) -> str:
    if not (found := details.get("outside")) or found["beyond"] is None:
        return ""
    return (
        f"\n{found['share']:.2%} of the test period have a value further outside of its range in training than "
        f"{found['beyond']:g} times that range, and low confidence for it.\n"
    )


def _records(figures: Mapping[str, Any]) -> str:
    return f"{figures['rows']:,} records from {figures['start']} to {figures['end']}, {figures['bad']:,} of them"


def _money(details: Mapping[str, Any]) -> str:
    if not (money := details.get("money")):
        return ""
    rows = "\n".join(
        f"| {text} | {_major(money[key])} |"
        for key, text in (
            ("approve_all_minor", "the mildest outcome for all"),
            ("cost_minor", "the policy"),
            ("expected_minor", "the policy, as its scores expected"),
            ("saved_minor", "saved"),
        )
    )
    return f"""
Cost of {money["per_decisions"]:,} decisions of the test period, in major units, with 95 % intervals (below 0: earned):

| | |
|---|---|
{rows}
"""


def _stability(details: Mapping[str, Any]) -> str:
    found = details.get("stability") or {}
    if not found.get("sd"):
        return ""
    return (
        f"\nOver {len(found['folds'])} folds of the training records the {title(found['metric'])} was "
        f"{found['mean']:.3f} on average, with a standard deviation of {found['sd']:.3f}.\n"
    )


def _thresholds(details: Mapping[str, Any]) -> str:
    if not (found := details.get("thresholds")):
        return ""
    rows = "\n".join(
        f"| {name} | {_begins(one)} | {_major(one['shift']['minus_20_percent'])} "
        f"| {_major(one['shift']['plus_20_percent'])} | {one['optimum']['factor']:g} |"
        for name, one in found["outcomes"].items()
    )
    overrides = "".join(
        f"\n- Overridden by a person: {one['outcome']} begins above {one['above']:g}, because: {one['reason']}\n"
        f"  It moves {one['moved']:,} records and costs {_major(one['extra_minor'])} more.\n"
        for one in found["overrides"]
    )
    return f"""
Where outcomes begin follows from the costs in policy.toml.
On training records scored out of sample: what {found["per_decisions"]:,} decisions would cost more if an outcome began
20 % lower or higher, and at which multiple they would have cost least.

| outcome | from score, at the median amount | -20 % | +20 % | least at |
|---|---|---|---|---|
{rows}
{overrides}"""


def _fairness(details: Mapping[str, Any]) -> str:
    if not (found := details.get("fairness")):
        return ""
    rows = []
    for attribute, one in found["attributes"].items():
        for segment, cell in sorted(one["segments"].items()):
            figures = (
                ["too small", "", "", ""]
                if cell["too_small"]
                else [
                    _share(cell[key])
                    for key in (
                        "approval_rate",
                        "adverse_impact_ratio",
                        "equal_opportunity_difference",
                        "calibration_gap",
                    )
                ]
            )
            rows.append(f"| {attribute} | {segment} | {cell['records']:,} | {' | '.join(figures)} |")
    table = "\n".join(rows)
    return f"""
Protected attributes are never features; on all records scored out of sample (cells of fewer than {found["min_cell"]}
records are too small; `metrics.json` says which rule each figure serves):

| attribute | segment | records | approved | adverse-impact ratio | equal opportunity | observed - predicted |
|---|---|---|---|---|---|---|
{table}
"""


def _approaches(details: Mapping[str, Any]) -> str:
    if not (found := details.get("approaches")):
        return ""
    rows = "\n".join(
        f"| {name} | {' | '.join('' if one[key] is None else _plain(one[key]) for key in ('known', 'new', 'test'))} |"
        for name, one in sorted(found["figures"].items(), key=lambda item: -item[1]["test"]["value"])
    )
    return f"""
Kept is `{found["kept"]}`, because {found["why"]}.
Average precision of each approach, on training records that it had not seen and on the test period, which chose none:

| approach | known kinds | new kinds | test period |
|---|---|---|---|
{rows}
"""


def _alerts(details: Mapping[str, Any]) -> str:
    if not (found := details.get("alerts")):
        return ""
    rows = "\n".join(
        f"| {one['from']} | {one['score']:.4f} | {_plain(one['records_per_day'], 1)} "
        f"| {_plain(one['alerts_per_day'], 1)} |"
        for one in found
    )
    at_least = "; of a sample of the records, so at least so many" if found[0]["at_least"] else ""
    return f"""
What a team sees a day in the test period, where linked records make one alert{at_least}:

| from | score | records a day | alerts a day |
|---|---|---|---|
{rows}
"""


def _begins(one: Mapping[str, Any]) -> str:
    return "never" if one["score"] is None else f"{one['score']:.4f}"


def _major(minor: Mapping[str, float]) -> str:
    value, low, high = (minor[key] / 100 for key in ("value", "low", "high"))
    return f"{value:,.0f} ({low:,.0f} to {high:,.0f})"


def _share(figure: Mapping[str, float] | None) -> str:
    return "too few" if figure is None else _plain(figure)


def _plain(figure: Mapping[str, float], digits: int = 3) -> str:
    value, low, high = (f"{figure[key]:,.{digits}f}" for key in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


def title(metric: str) -> str:
    """Name a metric for people."""
    return TITLES.get(metric, metric.replace("_", " "))
