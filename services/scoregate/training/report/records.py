"""What the records are like: checks, stability, drift, and each feature with its meaning."""

from __future__ import annotations

import re
from collections.abc import Mapping
from html import escape
from typing import Final

from scoregate.policy import Policy
from scoregate.training.card import title
from scoregate.training.plots import Bar, bars
from scoregate.training.report.page import Page
from scoregate.training.report.parts import table

_WINDOW: Final = re.compile(r"_(\d+)([mhd])$")
_UNITS: Final = {"m": "minutes", "h": "hours", "d": "days"}


def stability(page: Page) -> str:
    text = ""
    if folds := (page.details.get("stability") or {}).get("folds"):
        metric = title(page.details["stability"]["metric"])
        text += f"<p>{metric} on each fold's unseen records: {', '.join(f'{value:.3f}' for value in folds)}.</p>"
    rows = [(f"the score in {where}", f"{psi:.3f}") for where, psi in page.found.score_psi.items()]
    worst = sorted(page.found.psi.items(), key=lambda one: -one[1])[:10]
    rows += [(f"{name} in the test period", f"{psi:.3f}") for name, psi in worst]
    return text + table(("against the training records", "population stability index"), rows)


def drift(page: Page) -> str:
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


def features(page: Page) -> str:
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
    return note + figure + table(heads, rows)


def checks(page: Page) -> str:
    broken = [one for one in page.found.checks if not one["ok"]]
    rows = [("failed" if one in broken else "passed", one["check"], one["observed"]) for one in page.found.checks]
    rows.sort(key=lambda row: row[0])
    shown = table(("", "check", "observed"), rows, classes=[row[0] for row in rows])
    said = f"{len(page.found.checks)} checks by Great Expectations, {len(broken)} failed"
    return f"<details{' open' if broken else ''}><summary>{said}</summary>{shown}</details>"


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
