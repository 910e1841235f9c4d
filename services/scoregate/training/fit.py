"""Fitting a forest: rounds and calibration come from records it has not seen, then it is fitted anew on all of them.

supervised   learns the label; a Platt calibrator turns out-of-sample margins into probabilities
contrast     learns records against a reference sample in which every feature is drawn by itself; p / (1 - p) is then
             the ratio of the two densities, and a prior share of anomalies makes it a posterior (Hastie, Tibshirani,
             Friedman 2009, section 14.2.4)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest
from sklearn.linear_model import LogisticRegression

from scoregate.training import Problem
from scoregate.training.dataset import Dataset, Ints, Mask
from scoregate.training.vectors import Floats

Matrix = NDArray[np.float32]

PATIENCE: Final = 40
"""Rounds without improvement on unseen records before fitting stops."""

FEW_VALUES: Final = 4

_ALWAYS: Final[dict[str, Any]] = {
    "objective": "binary:logistic",
    "eval_metric": "logloss",
    "tree_method": "hist",
    # One thread: more wait for each other by spinning, which on two shared cores took twenty times as long.
    "nthread": 1,
}


@dataclass(frozen=True, slots=True)
class Fitted:
    """A forest in XGBoost's UBJSON, and its calibrator: score = 1 / (1 + exp(-(a * margin + b))).

    `turns` holds, for each split, the positions of the records that its forest had not seen, and their margins.
    """

    ubj: bytes
    a: float
    b: float
    rounds: int
    turns: tuple[tuple[Ints, Floats], ...] = ()

    def calibrated(self, margin: Floats) -> Floats:
        return np.asarray(1.0 / (1.0 + np.exp(-(self.a * margin + self.b))))

    def unseen(self, rows: int) -> Floats:
        """Return the score of each training record by forests that had not seen it; nan where there is none."""
        return self.calibrated(mean_margin(self.turns, rows))


def fit(problem: Problem, dataset: Dataset, names: tuple[str, ...], seed: int, say: Callable[[str], None]) -> Fitted:
    """Fit on the training records."""
    rng = np.random.default_rng([seed, 3])
    parameters = {**_ALWAYS, **problem.parameters, "seed": seed % 2**31}
    if problem.monotone:
        parameters["monotone_constraints"] = {n: problem.monotone[n] for n in names if n in problem.monotone}
    turns: list[tuple[Ints, Floats]] = []
    stops: list[int] = []
    for learn, validate in dataset.splits():
        watched = _records(problem, dataset, names, validate, rng)
        booster = xgb.train(
            parameters,
            _records(problem, dataset, names, learn, rng),
            problem.rounds_at_most,
            evals=[(watched, "unseen")],
            early_stopping_rounds=PATIENCE,
            verbose_eval=False,
        )
        stops.append(booster.best_iteration + 1)
        margin = booster.predict(
            xgb.DMatrix(dataset.matrix[validate].astype(np.float32), feature_names=list(names)),
            output_margin=True,
            iteration_range=(0, booster.best_iteration + 1),
        )
        turns.append((np.flatnonzero(validate), margin.astype(np.float64)))
        say(f"fold {len(stops)} stopped after {stops[-1]} rounds")
    rounds = round(sum(stops) / len(stops))
    final = xgb.train(parameters, _records(problem, dataset, names, dataset.train, rng), rounds)
    a, b = _calibrator(problem, dataset, turns)
    return Fitted(bytes(final.save_raw("ubj")), a, b, rounds, tuple(turns))


def mean_margin(turns: Sequence[tuple[Ints, Floats]], rows: int) -> Floats:
    """Return the mean of each record's margins over the splits that had it unseen; nan where none had."""
    total, count = np.zeros(rows), np.zeros(rows)
    for place, margin in turns:
        total[place] += margin
        count[place] += 1
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _records(
    problem: Problem, dataset: Dataset, names: tuple[str, ...], mask: Mask, rng: np.random.Generator
) -> xgb.DMatrix:
    matrix = dataset.matrix[mask].astype(np.float32)
    label, weight = dataset.learned[mask].astype(np.float32), dataset.weight[mask]
    if problem.objective == "contrast":
        reference = reference_sample(matrix, problem.spread, rng)
        label = np.repeat(np.array([0, 1], np.float32), len(matrix))
        matrix, weight = np.concatenate([matrix, reference]), np.concatenate([weight, weight])
    return xgb.DMatrix(matrix, label, weight=weight, feature_names=list(names))


def reference_sample(matrix: Matrix, spread: float, rng: np.random.Generator) -> Matrix:
    """Return as many records as `matrix` has, every feature drawn by itself.

    Mostly from its own column; a share of `spread` evenly over its range: what almost nobody has would be as rare in
    the reference as in the records, and then could not stand out.
    """
    rows = len(matrix)
    columns = []
    for column in matrix.T:
        usual, even = column[rng.integers(0, rows, rows)], _evenly(column, rows, rng)
        columns.append(np.where(rng.random(rows) < spread, even, usual))
    return np.stack(columns, axis=1).astype(np.float32)


def _evenly(column: Matrix, rows: int, rng: np.random.Generator) -> Floats:
    """Draw few values alike, counts log-uniformly, anything else uniformly."""
    values = np.unique(column[~np.isnan(column)]).astype(np.float64)
    if len(values) <= FEW_VALUES:
        return rng.choice(values, rows) if len(values) else np.full(rows, np.nan)
    if _counts(values):
        return np.floor(np.expm1(rng.random(rows) * math.log1p(values[-1] + 1)))
    return rng.uniform(values[0], values[-1], rows)


def _counts(values: NDArray[Any]) -> bool:
    return bool((values >= 0).all() and (values == np.floor(values)).all())


def _calibrator(problem: Problem, dataset: Dataset, turns: Sequence[tuple[Ints, Floats]]) -> tuple[float, float]:
    if problem.objective == "contrast":
        return 1.0, math.log(problem.prior / (1 - problem.prior))
    # Each margin for itself and not their mean over splits: one forest, which is what serves, is less sure than many.
    place = np.concatenate([one for one, _ in turns])
    return platt(np.concatenate([margin for _, margin in turns]), dataset.learned[place], dataset.weight[place])


def platt(margin: Floats, label: Ints, weight: Floats) -> tuple[float, float]:
    """Return (a, b) of the logistic regression of the label on the margin (Platt 1999), without regularisation."""
    model = LogisticRegression(C=np.inf, tol=1e-8).fit(margin[:, None], label, sample_weight=weight)
    return float(model.coef_[0, 0]), float(model.intercept_[0])


def isolation_forest(dataset: Dataset, seed: int) -> Floats:
    """Score the test records by scikit-learn's isolation forest, higher for odder: what a contrast has to beat."""
    train, test = dataset.matrix[dataset.train], dataset.matrix[dataset.test]
    usual = np.nan_to_num(np.nanmedian(train, axis=0))
    train, test = (np.where(np.isnan(part), usual, part) for part in (train, test))
    # It cuts uniformly between extremes: on a linear scale the largest counts would be all it sees.
    counts = np.array([_counts(column) for column in train.T])
    train, test = (np.where(counts, np.log1p(np.maximum(part, 0)), part) for part in (train, test))
    forest = IsolationForest(n_estimators=200, max_samples=min(4_096, len(train)), random_state=seed % 2**31).fit(train)
    return np.asarray(-forest.score_samples(test), dtype=np.float64)
