"""Gradient-boosted trees by treelite's GTIL: one row costs a third of XGBoost's own prediction."""

from __future__ import annotations

import numpy as np
import treelite
from treelite import gtil

from scoregate.models import Matrix, Scores


class Forest:
    """An XGBoost forest and its Platt calibrator: score = 1 / (1 + exp(-(a * margin + b)))."""

    def __init__(self, trees: treelite.Model, a: float, b: float) -> None:
        self._trees = trees
        self._a = a
        self._b = b

    @classmethod
    def from_bytes(cls, ubj: bytes, a: float, b: float) -> Forest:
        """Read a forest from XGBoost's UBJSON."""
        return cls(treelite.frontend.from_xgboost_ubjson(ubj), a, b)

    @property
    def width(self) -> int:
        """Number of features."""
        return int(self._trees.num_feature)

    def margins(self, matrix: Matrix) -> Scores:
        """Return raw margins, shape (rows,)."""
        # One thread: more make one row slower, with spikes under CPU limits (xgboost#7734).
        raw = gtil.predict(self._trees, matrix, nthread=1, pred_margin=True)
        return np.asarray(raw, dtype=np.float64).reshape(len(matrix))

    def predict(self, matrix: Matrix) -> Scores:
        return 1.0 / (1.0 + np.exp(-(self._a * self.margins(matrix) + self._b)))
