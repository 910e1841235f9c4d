"""Boosted trees as all objectives fit them: records in, forest out, stopped by records that it has not seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import numpy as np
import xgboost as xgb
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from scoregate.training import Problem
from scoregate.training.dataset import Dataset, Ints, Mask
from scoregate.training.vectors import Floats
from scoregate.values import frozen

Matrix = NDArray[np.float32]

PATIENCE: Final = 40
"""Rounds without improvement on unseen records before fitting stops."""

_ALWAYS: Final[dict[str, Any]] = {
    "objective": "binary:logistic",
    "eval_metric": "logloss",
    "tree_method": "hist",
    # One thread: more wait for each other by spinning, which on two shared cores took twenty times as long.
    "nthread": 1,
}


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """Records to learn from; `label` is a target in [0, 1], `weight` how many records each stands for."""

    matrix: Matrix
    label: Floats | Ints
    weight: Floats

    @classmethod
    def of(cls, dataset: Dataset, mask: Mask) -> Self:
        return cls(dataset.matrix[mask].astype(np.float32), dataset.learned[mask], dataset.learned_weight[mask])

    def labelled(self, label: Floats) -> Sample:
        return replace(self, label=label)


@frozen
class Boosting:
    """How one problem boosts: `parameters` for everything, `label_parameters` on top where labels are learned."""

    names: tuple[str, ...]
    seed: int
    spread: float
    rounds_at_most: int
    parameters: Mapping[str, Any]
    label_parameters: Mapping[str, Any]

    @classmethod
    def of(cls, problem: Problem, names: tuple[str, ...], seed: int) -> Self:
        parameters = {**_ALWAYS, **problem.parameters, "seed": seed % 2**31}
        if problem.monotone:
            parameters["monotone_constraints"] = {n: problem.monotone[n] for n in names if n in problem.monotone}
        labelled = {**parameters, **problem.label_parameters}
        return cls(names, seed, problem.spread, problem.rounds_at_most, parameters, labelled)

    def fit(self, learn: Sample, watch: Sample | None, rounds: int | None) -> xgb.Booster:
        """Boost for `rounds`, or until `watch` gets no better."""
        return self._boost(self.parameters, learn, watch, rounds)

    def fit_labels(
        self, learn: Sample, watch: Sample | None, rounds: int | None, on: xgb.Booster | None = None
    ) -> xgb.Booster:
        """Boost as `fit` does with the parameters for labels; `on` goes on with a forest, and `rounds` are added."""
        return self._boost(self.label_parameters, learn, watch, rounds, on)

    def margin(self, booster: xgb.Booster, sample: Sample) -> Floats:
        """Return the log-odds that a forest gives."""
        return np.asarray(booster.predict(self._records(sample), output_margin=True), np.float64)

    def _boost(
        self,
        parameters: Mapping[str, Any],
        learn: Sample,
        watch: Sample | None,
        rounds: int | None,
        on: xgb.Booster | None = None,
    ) -> xgb.Booster:
        booster = xgb.train(
            dict(parameters),
            self._records(learn),
            self.rounds_at_most if rounds is None else rounds,
            xgb_model=on,
            **(
                {}
                if watch is None
                else {"evals": [(self._records(watch), "unseen")], "early_stopping_rounds": PATIENCE}
            ),
            verbose_eval=False,
        )
        return booster if watch is None else booster[: booster.best_iteration + 1]

    def _records(self, sample: Sample) -> xgb.DMatrix:
        return xgb.DMatrix(
            sample.matrix,
            np.asarray(sample.label, np.float32),
            weight=sample.weight,
            feature_names=list(self.names),
        )


def platt(margin: Floats, label: Ints | Floats, weight: Floats) -> tuple[float, float]:
    """Return (a, b) of the logistic regression of the label on the margin (Platt 1999), without regularisation."""
    model = LogisticRegression(C=np.inf, tol=1e-8).fit(margin[:, None], label, sample_weight=weight)
    return float(model.coef_[0, 0]), float(model.intercept_[0])
