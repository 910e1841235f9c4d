"""The port to models: what a model is to the scoring path, and the signature that ties it to its features.

artefact.py   the immutable folder a model comes in: verified by digest before anything in it is used
forest.py     gradient-boosted trees for one row at a time, with their calibrator
reasons.py    which groups of features raised a score, by substitution
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from scoregate.features.plan import FeaturePlan

Matrix = npt.NDArray[np.float32]
Scores = npt.NDArray[np.float64]


class Model(Protocol):
    """Whatever turns vectors into scores."""

    def predict(self, matrix: Matrix) -> Scores:
        """Return calibrated probabilities in [0, 1], shape (rows,), for a matrix of shape (rows, features)."""
        ...


@dataclass(frozen=True, slots=True)
class FeatureStats:
    """One feature of the matrix: its range in training, and its median over records that were answered mildest."""

    name: str
    low: float | None
    high: float | None
    median: float | None


@dataclass(frozen=True, slots=True)
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
