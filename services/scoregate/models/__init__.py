"""The port to models: what a model is to the scoring path, and the signature that ties it to its features.

artefact.py   the immutable folder a model comes in: verified by digest before anything in it is used
forest.py     gradient-boosted trees for one row at a time, with their calibrator
shap.py       what each feature adds to a forest's margin: exact tree SHAP
reasons.py    which groups of features raised a score, and may be named for it
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from scoregate.features.plan import FeaturePlan
from scoregate.values import frozen

Matrix = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]


class Model(Protocol):
    """Whatever turns vectors into scores."""

    def predict(self, matrix: Matrix) -> Scores:
        """Return calibrated probabilities in [0, 1], shape (rows,), for a matrix of shape (rows, features)."""
        ...

    def contributions(self, matrix: Matrix) -> Scores:
        """Return what each feature adds to the log-odds of the score (Shapley values), shape (rows, features)."""
        ...

    def falls(self, vector: Matrix, to: Matrix) -> Scores:
        """Return how far the log-odds fall when each feature alone is set to its value in `to`.

        `vector` has shape (1, features), `to` and what is returned (features,).
        """
        ...


@frozen
class FeatureStats:
    """One feature of the matrix: its range in training, and its median over records that were answered mildest."""

    name: str
    low: float | None
    high: float | None
    median: float | None


@frozen
class Signature:
    """What a model was trained on: plan of its FeatureService, features in matrix order, calibrator (a, b)."""

    service: str
    feature_service: str
    plan: FeaturePlan
    features: tuple[FeatureStats, ...]
    calibrator: tuple[float, float]
    training: Mapping[str, Any]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(f.name for f in self.features)

    @classmethod
    def from_json(cls, raw: Mapping[str, Any]) -> Signature:
        return cls(
            service=raw["service"],
            feature_service=raw["feature_service"],
            plan=FeaturePlan.from_json(raw["plan"]),
            features=tuple(FeatureStats(f["name"], f["low"], f["high"], f["median"]) for f in raw["features"]),
            calibrator=(raw["calibrator"]["a"], raw["calibrator"]["b"]),
            training=raw["training"],
        )
