"""Gradient-boosted trees by treelite's GTIL: one row costs a third of XGBoost's own prediction."""

from __future__ import annotations

import numpy as np
import treelite
from treelite import gtil

from scoregate.models import Matrix, Scores
from scoregate.models.shap import Paths


class Forest:
    """An XGBoost forest and its Platt calibrator: score = 1 / (1 + exp(-(a * margin + b)))."""

    def __init__(self, trees: treelite.Model, a: float, b: float) -> None:
        self._trees = trees
        self._paths = Paths.of(trees)
        self._a = a
        self._b = b

    @classmethod
    def from_bytes(cls, ubj: bytes, a: float, b: float) -> Forest:
        """Read a forest from XGBoost's UBJSON.

        Raises:
            ValueError: it is not one that can be explained.
        """
        return cls(treelite.frontend.from_xgboost_ubjson(ubj), a, b)

    @property
    def width(self) -> int:
        """Number of features."""
        return int(self._trees.num_feature)

    @property
    def base(self) -> float:
        """The margin of a record of which nothing is known."""
        return self._paths.base

    def margins(self, matrix: Matrix) -> Scores:
        """Return raw margins, shape (rows,)."""
        # One thread: more make one row slower, with spikes under CPU limits (xgboost#7734).
        raw = gtil.predict(self._trees, matrix, nthread=1, pred_margin=True)
        return np.asarray(raw, dtype=np.float64).reshape(len(matrix))

    def predict(self, matrix: Matrix) -> Scores:
        return 1.0 / (1.0 + np.exp(-(self._a * self.margins(matrix) + self._b)))

    def contributions(self, matrix: Matrix) -> Scores:
        return self._a * self._paths.contributions(matrix)

    def falls(self, vector: Matrix, to: Matrix) -> Scores:
        return self._a * self._paths.falls(vector[0], to)
