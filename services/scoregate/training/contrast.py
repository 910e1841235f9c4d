"""Records against a reference sample in which every feature is drawn by itself, and an isolation forest beside it.

What tells the two apart is how features go together: broken combinations are found without any label. p / (1 - p) is
the ratio of the two densities (Hastie, Tibshirani, Friedman 2009, section 14.2.4).
"""

from __future__ import annotations

import math
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import IsolationForest

from scoregate.training.vectors import Floats

Matrix = NDArray[np.float32]

FEW_VALUES: Final = 4


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


def isolation(train: Matrix, seed: int, *others: Matrix) -> list[Floats]:
    """Return scikit-learn's isolation forest's scores of some matrices, the more the odder, fitted on `train`."""
    with np.errstate(all="ignore"):
        usual = np.array([np.nanmedian(column) if not np.isnan(column).all() else 0.0 for column in train.T])
    # It cuts uniformly between extremes: on a linear scale the largest counts would be all it sees.
    counts = np.array([_counts(column[~np.isnan(column)]) for column in train.T])

    def plain(matrix: Matrix) -> Matrix:
        filled = np.where(np.isnan(matrix), usual, matrix)
        return np.asarray(np.where(counts, np.log1p(np.maximum(filled, 0)), filled), np.float32)

    forest = IsolationForest(n_estimators=200, max_samples=min(4_096, len(train)), random_state=seed % 2**31)
    forest.fit(plain(train))
    return [np.asarray(-forest.score_samples(plain(matrix)), np.float64) for matrix in others]


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
