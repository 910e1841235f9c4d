"""Fitting a forest: rounds and calibration come from records it has not seen, then it is fitted anew on all of them.

supervised   learns the label
anomaly      compares approaches that need labels more or less, and keeps one (anomaly.py)

A Platt calibrator turns out-of-sample margins into probabilities. Where hardly any label is known, p / (1 - p) of a
contrast is the ratio of two densities, and a prior share of anomalies makes it a posterior.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field

import numpy as np

from scoregate.training import Problem, anomaly
from scoregate.training.anomaly import Choice
from scoregate.training.boosting import Boosting, Sample, platt
from scoregate.training.dataset import Dataset, Ints
from scoregate.training.vectors import Floats
from scoregate.values import frozen

Say = Callable[[str], None]
Turns = tuple[tuple[Ints, Floats], ...]


@frozen
class Fitted:
    """A forest in XGBoost's UBJSON, and its calibrator: score = 1 / (1 + exp(-(a * margin + b))).

    `turns` holds, for each split, the positions of the records that its forest had not seen, and their margins.
    `is_probability`: whether labels calibrated it. `choice` and `others`, name → forest, are there where approaches
    were compared.
    """

    ubj: bytes
    a: float
    b: float
    rounds: int
    turns: Turns = ()
    is_probability: bool = True
    choice: Choice | None = None
    others: Mapping[str, bytes] = field(default_factory=dict)

    def calibrated(self, margin: Floats) -> Floats:
        return np.asarray(1.0 / (1.0 + np.exp(-(self.a * margin + self.b))))

    def unseen(self, rows: int) -> Floats:
        """Return the score of each training record by forests that had not seen it; nan where there is none."""
        return self.calibrated(mean_margin(self.turns, rows))


def fit(problem: Problem, dataset: Dataset, names: tuple[str, ...], seed: int, say: Say) -> Fitted:
    """Fit on the training records."""
    boosting = Boosting.of(problem, names, seed)
    if problem.objective == "anomaly":
        return _anomaly(problem, dataset, boosting, say)
    turns, stops = [], []
    for learn, validate in dataset.splits():
        watch = Sample.of(dataset, validate)
        booster = boosting.fit(Sample.of(dataset, learn), watch, None)
        turns.append((np.flatnonzero(validate), boosting.margin(booster, watch)))
        stops.append(booster.num_boosted_rounds())
        say(f"fold {len(stops)} stopped after {stops[-1]} rounds")
    rounds = _mean(stops)
    final = boosting.fit(Sample.of(dataset, dataset.train), None, rounds)
    a, b, _ = _calibrator(problem, dataset, turns)
    return Fitted(bytes(final.save_raw("ubj")), a, b, rounds, tuple(turns))


def _anomaly(problem: Problem, dataset: Dataset, boosting: Boosting, say: Say) -> Fitted:
    """Fit every approach in every fold, choose by what they had not seen, and fit them all anew."""
    rng = np.random.default_rng([boosting.seed, 3])
    folds = [anomaly.Fold.fit(problem, dataset, boosting, turn, rng, say) for turn in range(len(dataset.turns))]
    shared = [name for name in folds[0].margins if all(name in fold.margins for fold in folds)]
    choice = anomaly.choose(*anomaly.unseen(problem, dataset, folds, shared), boosting.seed)
    rounds = {name: _mean([fold.rounds[name] for fold in folds]) for name in shared if name in folds[0].rounds}
    final = anomaly.forests(boosting, Sample.of(dataset, dataset.train), None, rounds, rng)
    turns = [(fold.place, fold.margins[choice.kept]) for fold in folds]
    a, b, known = _calibrator(problem, dataset, turns)
    raw = {name: bytes(booster.save_raw("ubj")) for name, booster in final.items() if name in shared}
    kept = final[choice.kept].num_boosted_rounds()
    return Fitted(raw[choice.kept], a, b, kept, tuple(turns), known, choice, raw)


def _mean(rounds: Sequence[int]) -> int:
    return max(round(sum(rounds) / len(rounds)), 1)


def mean_margin(turns: Sequence[tuple[Ints, Floats]], rows: int) -> Floats:
    """Return the mean of each record's margins over the splits that had it unseen; nan where none had."""
    total, count = np.zeros(rows), np.zeros(rows)
    for place, margin in turns:
        total[place] += margin
        count[place] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _calibrator(problem: Problem, dataset: Dataset, turns: Sequence[tuple[Ints, Floats]]) -> tuple[float, float, bool]:
    """Return (a, b), and whether labels say so."""
    # Each margin for itself and not their mean over splits: one forest, which is what serves, is less sure than many.
    place = np.concatenate([one for one, _ in turns])
    margin, label = np.concatenate([margin for _, margin in turns]), dataset.learned[place]
    if problem.objective == "supervised":
        return *platt(margin, label, dataset.learned_weight[place]), True
    if min(label.sum(), len(label) - label.sum()) >= anomaly.FEWEST_BAD:
        a, b = platt(margin, label, dataset.learned_weight[place])
        # A negative slope would turn the ranking round.
        if a > 0:
            return a, b, True
    return 1.0, math.log(problem.prior / (1 - problem.prior)), False
