"""How good a score is on records that training has not seen: metrics from one sweep, with bootstrap intervals.

All rank metrics come from the two cumulative counts at each distinct score, harshest first:

    tpr, fpr            share of bad, of good, at or above the score
    AUC                 area under tpr over fpr (ties count half);  Gini = 2 AUC - 1
    KS                  largest |tpr - fpr|
    average precision   sum of precision × step in tpr
    recall at FPR       largest tpr with fpr at most FPR_LIMIT
    Brier               mean squared distance of score and label
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FPR_LIMIT: Final = 0.005
RESAMPLES: Final = 500
METRICS: Final = ("auc", "gini", "ks", "brier", "average_precision", "recall_at_fpr")
TITLES: Final = {
    "auc": "AUC",
    "gini": "Gini",
    "ks": "KS",
    "brier": "Brier",
    "average_precision": "average precision",
    "recall_at_fpr": "recall at 0.5 % false positives",
}


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric and its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}]"


class _Sweep:
    """Scores sorted once, so that each resample is a reweighting of the same order."""

    def __init__(self, label: Ints, score: Floats, weight: Floats | None) -> None:
        order = np.argsort(-score, kind="stable")
        self.order = order
        self.weight = np.ones(len(label)) if weight is None else weight[order]
        self.bad = label[order].astype(np.float64)
        self.squares = (score[order] - self.bad) ** 2
        # A threshold cannot part equal scores: only the last of each run counts.
        self.last = np.flatnonzero(np.append(np.diff(score[order]) != 0, True))

    def measure(self, times: Floats | float = 1.0) -> dict[str, float]:
        """Return every metric with row i (in sorted order) drawn `times[i]` times; nan when a class is empty."""
        weight = self.weight * times
        tp = np.cumsum(weight * self.bad)[self.last]
        fp = np.cumsum(weight * (1 - self.bad))[self.last]
        total = float(weight.sum())
        if tp[-1] == 0 or fp[-1] == 0:
            return dict.fromkeys(METRICS, float("nan"))
        tpr, fpr = tp / tp[-1], fp / fp[-1]
        step = np.diff(tpr, prepend=0.0)
        auc = 1.0 - float(np.sum(step * (fpr + np.concatenate(([0.0], fpr[:-1]))) / 2))
        # Scores whose every row got weight 0 come before the first counted one.
        precision = tp / np.maximum(tp + fp, 1e-300)
        within = int(np.searchsorted(fpr, FPR_LIMIT, side="right"))
        return {
            "auc": auc,
            "gini": 2 * auc - 1,
            "ks": float(np.abs(tpr - fpr).max()),
            "brier": float(np.sum(weight * self.squares) / total),
            "average_precision": float(np.sum(step * precision)),
            "recall_at_fpr": float(tpr[within - 1]) if within else 0.0,
        }


def measure(label: Ints, score: Floats, weight: Floats | None = None) -> dict[str, float]:
    """Return every metric of METRICS; nan when only one class is there.

    `label` is 1 for bad; `weight` is how many records a sampled one stands for.
    """
    return _Sweep(label, score, weight).measure()


def measure_with_intervals(
    label: Ints,
    score: Floats,
    *,
    seed: int,
    weight: Floats | None = None,
    groups: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Measured]:
    """Return every metric with its 95 % percentile bootstrap interval.

    `groups` names what is drawn together (such as the account), because its records are not independent: without it
    an interval would be too narrow.
    """
    sweep = _Sweep(label, score, weight)
    rng = np.random.default_rng(seed)
    _, group = np.unique(np.arange(len(label)) if groups is None else np.asarray(groups), return_inverse=True)
    group = group[sweep.order]
    count = int(group.max()) + 1
    draws: dict[str, list[float]] = {name: [] for name in METRICS}
    for _ in range(resamples):
        times = np.bincount(rng.integers(0, count, count), minlength=count).astype(np.float64)
        for name, value in sweep.measure(times[group]).items():
            draws[name].append(value)
    return {
        name: Measured(value, *(float(q) for q in np.nanpercentile(draws[name], [2.5, 97.5])))
        for name, value in sweep.measure().items()
    }
