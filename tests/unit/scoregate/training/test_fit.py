"""Fitting: calibrated out of sample, monotone where it must be, and without labels where there are none."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from scoregate.features.plan import FeaturePlan
from scoregate.models.forest import Forest
from scoregate.training import ByTime, Problem
from scoregate.training.boosting import platt
from scoregate.training.contrast import reference_sample
from scoregate.training.dataset import Dataset
from scoregate.training.evaluate import measure
from scoregate.training.fit import fit

NAMES = ("signal", "noise", "count")
PARAMETERS = {"max_depth": 3, "eta": 0.2, "min_child_weight": 5}


def dataset(matrix: np.ndarray, label: np.ndarray, weight: np.ndarray | None = None) -> Dataset:
    """Three folds to train on and a fourth part to test on."""
    rows = len(label)
    return Dataset(
        plan=FeaturePlan("none_v1", "test", ()),
        rows=SimpleNamespace(num_rows=rows),
        views=None,
        matrix=matrix,
        label=label,
        learned=label,
        ripe=np.ones(rows),
        weight=np.ones(rows) if weight is None else weight,
        fold=np.arange(rows) % 4 - 1,
        turns=(0, 1, 2),
    )


def problem(**changes: Any) -> Problem:
    return Problem(
        **{
            "load": lambda _: None,
            "label": "is_bad",
            "split": ByTime(1, 1, 1),
            "headline": "roc_auc",
            "parameters": PARAMETERS,
            "rounds_at_most": 60,
            **changes,
        }
    )


def forest(problem: Problem, data: Dataset) -> Forest:
    fitted = fit(problem, data, NAMES, 1, lambda _: None)
    return Forest.from_bytes(fitted.ubj, fitted.a, fitted.b)


def labelled(rows: int = 6_000) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    matrix = np.column_stack([rng.normal(size=(rows, 2)), rng.poisson(1.0, rows)])
    odds = 1.5 * matrix[:, 0] + 0.4 * matrix[:, 2] - 3.0
    return matrix, (rng.random(rows) < 1 / (1 + np.exp(-odds))).astype(np.int64)


def test_scores_are_probabilities_on_unseen_records() -> None:
    """Within each third of the scores, the mean score is the share of bad records."""
    matrix, label = labelled()
    data = dataset(matrix, label)
    score = forest(problem(), data).predict(matrix[data.test].astype(np.float32))
    truth = label[data.test]

    for part in np.array_split(np.argsort(score), 3):
        assert score[part].mean() == pytest.approx(truth[part].mean(), abs=0.04)


def test_a_sampled_good_record_counts_for_those_it_stands_for() -> None:
    """Leaving out good records, with weights, does not move the probabilities."""
    matrix, label = labelled()
    keep = (label == 1) | (np.arange(len(label)) % 3 == 0)
    weight = np.where(label == 1, 1.0, 3.0)[keep]
    data = dataset(matrix[keep], label[keep], weight)
    score = forest(problem(), data).predict(matrix.astype(np.float32))

    assert score.mean() == pytest.approx(label.mean(), rel=0.1)


def test_a_constraint_holds_everywhere() -> None:
    """With a monotone constraint more of a feature never lowers a score, whatever the other features are."""
    rng = np.random.default_rng(5)
    matrix, label = labelled()
    # Noise that is held the wrong way round by chance must not come through.
    model = forest(problem(monotone={"signal": 1, "noise": -1}), dataset(matrix, label))
    low = rng.normal(size=(2_000, 3)).astype(np.float32)
    more = low.copy()
    more[:, 0] += rng.exponential(size=2_000).astype(np.float32)
    more[:, 1] -= rng.exponential(size=2_000).astype(np.float32)

    assert (model.predict(more) >= model.predict(low)).all()


def test_a_contrast_finds_odd_records_without_labels() -> None:
    """Records whose two features disagree are found, though no label was ever read."""
    rng = np.random.default_rng(9)
    rows = 8_000
    shared = rng.normal(size=rows)
    matrix = np.column_stack([shared, shared + 0.1 * rng.normal(size=rows), rng.poisson(1.0, rows)])
    odd = (rng.random(rows) < 0.02).astype(np.int64)
    matrix[odd == 1, 1] = rng.normal(size=odd.sum())
    data = dataset(matrix, np.zeros_like(odd))
    asked = problem(objective="anomaly", spread=0.0, parameters={**PARAMETERS, "max_depth": 5})
    score = forest(asked, data).predict(matrix[data.test].astype(np.float32))

    assert measure(odd[data.test], score)["average_precision"] > 0.5


def test_a_reference_keeps_each_column_and_forgets_how_they_go_together() -> None:
    """Without spread every column has its own mean and missing values, and no two columns correlate."""
    rng = np.random.default_rng(2)
    shared = rng.normal(size=20_000)
    matrix = np.column_stack([shared, shared, np.where(rng.random(20_000) < 0.3, np.nan, 1.0)]).astype(np.float32)
    reference = reference_sample(matrix, 0.0, rng)

    assert matrix[:, 0].std() == pytest.approx(reference[:, 0].std(), rel=0.03)
    assert abs(np.corrcoef(reference[:, 0], reference[:, 1])[0, 1]) < 0.03
    assert np.isnan(matrix[:, 2]).mean() == pytest.approx(np.isnan(reference[:, 2]).mean(), abs=0.02)


def test_what_almost_nobody_has_is_common_in_a_spread_reference() -> None:
    """Rare links stand out only if the reference has them more often than the records."""
    rng = np.random.default_rng(4)
    counts = np.where(rng.random(20_000) < 0.01, rng.integers(1, 30, 20_000), 0)
    reference = reference_sample(counts[:, None].astype(np.float32), 1.0, rng)[:, 0]

    assert (counts > 0).mean() < 0.02
    assert (reference > 0).mean() > 0.5
    assert (reference >= 0).all()
    assert counts.max() >= reference.max()


def test_platt_finds_the_scale_of_the_margins() -> None:
    """Margins that are half of the log-odds, shifted, are doubled and shifted back."""
    rng = np.random.default_rng(6)
    odds = rng.normal(-1, 2, 40_000)
    label = (rng.random(40_000) < 1 / (1 + np.exp(-odds))).astype(np.int64)

    assert (2.0, -1.0) == pytest.approx(platt(odds / 2 + 0.5, label, np.ones(40_000)), abs=0.06)
