"""How the approaches to anomalies measure: on unseen records of training, by which one is kept, and on the test."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from scoregate.models.forest import Forest
from scoregate.training import Problem, evidence
from scoregate.training.anomaly import YARDSTICK
from scoregate.training.contrast import isolation
from scoregate.training.dataset import Dataset
from scoregate.training.evaluate import measure_drawn
from scoregate.training.fit import Fitted
from scoregate.training.resample import Floats, Measured

METRIC: Final = "average_precision"


def approaches(problem: Problem, data: Dataset, fitted: Fitted, seed: int) -> dict[str, Any]:
    """Return what was kept and why, and each approach's average precision.

    The yardstick is never kept: it is what the one that is kept should beat.
    """
    assert fitted.choice is not None
    test = data.test
    matrix = data.matrix[test]
    scores = {name: Forest.from_bytes(raw, 1.0, 0.0).predict(_exact(matrix)) for name, raw in fitted.others.items()}
    (scores[YARDSTICK],) = isolation(_exact(data.matrix[data.train]), seed, _exact(matrix))
    drawn = evidence.draws(problem, data, test, seed)

    def tested(score: Floats) -> Measured:
        return measure_drawn(data.label[test], score, data.weight[test], drawn)[METRIC]

    choice = fitted.choice

    def of(some: Mapping[str, Measured], name: str) -> dict[str, float] | None:
        return asdict(some[name]) if name in some else None

    return {
        "kept": choice.kept,
        "why": choice.why,
        "figures": {
            name: {"known": of(choice.known, name), "new": of(choice.new, name), "test": asdict(tested(score))}
            for name, score in scores.items()
        },
    }


def _exact(matrix: Floats) -> Any:
    return matrix.astype(np.float32)
