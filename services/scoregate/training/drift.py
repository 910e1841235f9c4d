"""How far two samples of records are from each other: population stability index, and Evidently's account of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from scoregate.settings import quiet_libraries
from scoregate.training.dataset import Dataset, Mask
from scoregate.training.vectors import Floats

if TYPE_CHECKING:
    import pandas as pd

BINS: Final = 10
LEAST_SHARE: Final = 1e-3
"""Emptier bins count as this full: the logarithm of nothing would let one record decide."""


def psi(expected: Floats, actual: Floats, expected_weight: Floats, actual_weight: Floats) -> float:
    """Return the population stability index, sum((a - e) * ln(a / e)) over BINS bins of equal mass of the expected.

    Missing values are a bin of their own. Below 0.1 reads as stable, above 0.25 as moved (Siddiqi 2006, "Credit Risk
    Scorecards", chapter 9).
    """
    edges = _edges(expected, expected_weight)
    e, a = _shares(expected, expected_weight, edges), _shares(actual, actual_weight, edges)
    return float(np.sum((a - e) * np.log(a / e)))


def _edges(values: Floats, weight: Floats) -> Floats:
    there = ~np.isnan(values)
    known, mass = values[there], weight[there]
    if not len(known):
        return np.array([])
    order = np.argsort(known, kind="stable")
    place = np.searchsorted(np.cumsum(mass[order]), mass.sum() * np.arange(1, BINS) / BINS).clip(max=len(known) - 1)
    # Without the least value, bins that nothing can fall into: values below it.
    return np.setdiff1d(np.unique(known[order][place]), [known.min()])


def _shares(values: Floats, weight: Floats, edges: Floats) -> Floats:
    place = np.where(np.isnan(values), len(edges) + 1, np.searchsorted(edges, values, side="right"))
    mass = np.bincount(place, weight, minlength=len(edges) + 2)
    return np.maximum(mass / max(float(mass.sum()), 1e-300), LEAST_SHARE)


def of_features(data: Dataset, names: tuple[str, ...]) -> dict[str, float]:
    """Return the PSI of each feature in the test records against the training records."""
    train, test = data.train, data.test
    return {
        name: psi(column[train], column[test], data.weight[train], data.weight[test])
        for name, column in zip(names, data.matrix.T, strict=True)
    }


def of_score(data: Dataset, score: Floats) -> dict[str, float]:
    """Return the PSI of one forest's score in the test period, and in each fold, against all training records.

    One forest for all: others, of other records, spread the many low scores otherwise, and that is no drift.
    """
    if not data.train.any():
        return {}

    def against(some: Mask) -> float:
        return psi(score[data.train], score[some], data.weight[data.train], data.weight[some])

    found = {"the test period": against(data.test)}
    for turn in data.turns:
        here = data.train & (data.fold == turn)
        if here.any():
            found[f"fold {turn + 1}"] = against(here)
    return found


def compare(current: pd.DataFrame, previous: pd.DataFrame, html: Path) -> Mapping[str, Any]:
    """Let Evidently compare two samples column by column (PSI), and write its own page; importing it takes seconds.

    Returns `share` of columns that drifted, and `columns`: name → PSI.
    """
    quiet_libraries()
    from evidently import Report
    from evidently.presets import DataDriftPreset

    shared = [name for name in current.columns if name in previous.columns]
    # A column without any value, or with one alone, has no distribution to compare.
    usable = [n for n in shared if current[n].nunique() > 1 and previous[n].nunique() > 1]
    if not usable:
        return {"share": 0.0, "columns": {}}
    result = Report([DataDriftPreset(method="psi", threshold=0.25)]).run(current[usable], previous[usable])
    html.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    result.save_html(str(html))
    html.chmod(0o600)
    columns: dict[str, float] = {}
    share = 0.0
    for metric in result.dict()["metrics"]:
        config, value = metric.get("config", {}), metric["value"]
        if isinstance(value, dict):
            share = float(value.get("share", 0.0))
        elif config.get("column"):
            columns[config["column"]] = float(value)
    return {"share": share, "columns": columns}
