"""How good a score is on records that training has not seen: metrics from one sweep, with bootstrap intervals.

All rank metrics come from the two cumulative counts at each distinct score, harshest first:

    tpr, fpr            share of bad, of good, at or above the score
    ROC-AUC             area under tpr over fpr (ties count half);  Gini = 2 AUC - 1
    KS                  largest |tpr - fpr|
    average precision   sum of precision × step in tpr
    recall at FPR       largest tpr with fpr at most one of FPR_LIMITS
    Brier               mean squared distance of score and label
    ECE                 mean distance of mean score and bad share over BINS bins of equal mass, weighed by mass
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from scoregate.training.resample import RESAMPLES, Draws, Floats, Ints, Measured, ratio

FPR_LIMITS: Final = (0.001, 0.005, 0.01, 0.05)
BINS: Final = 10
RECALLS: Final = {limit: f"recall_at_fpr_{limit}" for limit in FPR_LIMITS}
METRICS: Final = ("roc_auc", "average_precision", *RECALLS.values(), "ks", "gini", "brier", "ece")
TITLES: Final = {
    "roc_auc": "ROC-AUC",
    "average_precision": "average precision",
    **{name: f"recall at {limit * 100:.3g} % false positives" for limit, name in RECALLS.items()},
    "card_precision_at_100": "card precision at 100 a day",
    "ks": "KS",
    "gini": "Gini",
    "brier": "Brier",
    "ece": "expected calibration error",
}


class _Sweep:
    """Scores sorted once, so that each resample is a reweighting of the same order."""

    def __init__(self, label: Ints, score: Floats, weight: Floats | None) -> None:
        order = np.argsort(-score, kind="stable")
        self.order = order
        self.weight = np.ones(len(label)) if weight is None else weight[order]
        self.score = score[order]
        self.bad = label[order].astype(np.float64)
        self.squares = (self.score - self.bad) ** 2
        # A threshold cannot part equal scores: only the last of each run counts.
        self.last = np.flatnonzero(np.append(np.diff(self.score) != 0, True))
        self.bins = self._bins()

    def _bins(self) -> Ints:
        """Return where each bin begins in the order; equal scores stay together."""
        mass = np.cumsum(self.weight)[self.last]
        ends = np.searchsorted(mass, mass[-1] * np.arange(1, BINS) / BINS)
        begins = np.concatenate(([0], self.last[ends] + 1))
        return np.unique(begins[begins < len(self.score)])

    def measure(self, times: Floats | float = 1.0) -> dict[str, float]:
        """Return every metric with row i (in sorted order) drawn `times[i]` times; nan when a class is empty."""
        weight = self.weight * times
        weighed = weight * self.bad
        at_or_above, bad_above = np.cumsum(weight)[self.last], np.cumsum(weighed)[self.last]
        good_above = at_or_above - bad_above
        if bad_above[-1] <= 0 or good_above[-1] <= 0:
            return dict.fromkeys(METRICS, float("nan"))
        tpr, fpr = bad_above / bad_above[-1], good_above / good_above[-1]
        step = np.diff(tpr, prepend=0.0)
        auc = 1.0 - float(np.sum(step * (fpr + np.concatenate(([0.0], fpr[:-1]))) / 2))
        # Scores whose every row got weight 0 come before the first counted one.
        precision = bad_above / np.maximum(at_or_above, 1e-300)
        within = {limit: int(np.searchsorted(fpr, limit, side="right")) for limit in FPR_LIMITS}
        away = np.abs(np.add.reduceat(weight * self.score - weighed, self.bins))
        return {
            "roc_auc": auc,
            "average_precision": float(np.sum(step * precision)),
            **{RECALLS[limit]: float(tpr[n - 1]) if n else 0.0 for limit, n in within.items()},
            "ks": float(np.abs(tpr - fpr).max()),
            "gini": 2 * auc - 1,
            "brier": float(np.sum(weight * self.squares) / at_or_above[-1]),
            "ece": float(away.sum() / at_or_above[-1]),
        }


def measure(label: Ints, score: Floats, weight: Floats | None = None) -> dict[str, float]:
    """Return every metric of METRICS; nan when only one class is there.

    `label` is 1 for bad; `weight` is how many records a sampled one stands for.
    """
    return _Sweep(label, score, weight).measure()


def measure_drawn(label: Ints, score: Floats, weight: Floats | None, draws: Draws) -> dict[str, Measured]:
    """Return every metric of METRICS with the 95 % interval that the draws give."""
    sweep = _Sweep(label, score, weight)
    drawn: dict[str, list[float]] = {name: [] for name in METRICS}
    for times in draws.each():
        for name, value in sweep.measure(times[sweep.order]).items():
            drawn[name].append(value)
    return {name: Measured.of(value, drawn[name]) for name, value in sweep.measure().items()}


def measure_with_intervals(
    label: Ints,
    score: Floats,
    *,
    seed: int,
    weight: Floats | None = None,
    groups: Sequence[str] | None = None,
    resamples: int = RESAMPLES,
) -> dict[str, Measured]:
    """Return every metric with its 95 % percentile bootstrap interval; `groups` as in Draws."""
    return measure_drawn(label, score, weight, Draws.of(len(label), seed, groups, resamples))


def reliability(label: Ints, score: Floats, weight: Floats, draws: Draws) -> list[dict[str, Any]]:
    """Return the points of the reliability curve, lowest scores first: mean score and bad share of each bin."""
    sweep = _Sweep(label, score, weight)
    place = np.empty(len(label), np.int64)
    place[sweep.order] = np.searchsorted(sweep.bins, np.arange(len(label)), side="right") - 1
    inside = np.stack([weight * (place == one) for one in range(len(sweep.bins))], axis=1)
    total, drawn = draws.totals(np.concatenate([inside, inside * label[:, None]], axis=1))
    predicted = (inside * score[:, None]).sum(axis=0) / inside.sum(axis=0)
    points = []
    for one in reversed(range(len(sweep.bins))):
        bad = len(sweep.bins) + one
        observed = Measured.of(total[bad] / total[one], ratio(drawn[:, bad], drawn[:, one]))
        records = int((place == one).sum())
        points.append({"predicted": float(predicted[one]), "observed": asdict(observed), "records": records})
    return points


def stability(folds: Sequence[Mapping[str, float]], headline: str) -> dict[str, Any]:
    """Return the headline on each fold's unseen records, with mean and standard deviation over folds."""
    values = [fold[headline] for fold in folds if np.isfinite(fold[headline])]
    if not values:
        return {"metric": headline, "folds": []}
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else None
    return {"metric": headline, "folds": values, "mean": float(np.mean(values)), "sd": deviation}
