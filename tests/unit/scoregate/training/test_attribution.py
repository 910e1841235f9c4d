"""Figures on how far two readings of one forest differ."""

from __future__ import annotations

import numpy as np
import pytest

import toy
from scoregate.models import Matrix
from scoregate.policy import Policy
from scoregate.training.attribution import Differences, compare, differences, interventional

ARTEFACT = toy.artefact()
GROUPS = Policy.from_toml(toy.POLICY).groups


def records(rows: int) -> Matrix:
    rng = np.random.default_rng(1)
    columns = [rng.integers(100, 10_000, rows), rng.integers(1_000, 9_000, rows), rng.poisson(4, rows)]
    return np.column_stack(columns).astype(np.float32)


def test_the_same_reading_does_not_differ() -> None:
    """All differences are zero, and everything named is the same."""
    matrix = records(50)
    ours = ARTEFACT.forest.contributions(matrix)

    expected = Differences(50, 0.0, 0.0, float(np.abs(ours).mean()), 1.0, 1.0, 1.0, 1.0)

    assert expected == differences(ARTEFACT, GROUPS, matrix, ours)


def test_the_opposite_reading_differs_in_all() -> None:
    """A reading with every sign turned shares no largest feature, and gives no record the reasons that it has."""
    matrix = records(300)
    matrix = matrix[ARTEFACT.forest.predict(matrix) > 0.8]
    ours = ARTEFACT.forest.contributions(matrix)
    found = differences(ARTEFACT, GROUPS, matrix, -ours)

    assert (-1.0, 0.0, 0.0) == (round(found.correlation, 9), found.same_first, found.same_reasons)
    np.testing.assert_allclose(found.mean, 2 * found.size)


def test_interventional_contributions_lead_from_the_background_to_the_margin() -> None:
    """They add up to the distance between the record's margin and the background's mean one."""
    pytest.importorskip("shap")
    matrix, background = records(20), records(200)[50:]
    forest = ARTEFACT.forest

    found = interventional(toy.booster(), 1.0, matrix, background)

    expected = forest.margins(matrix) - forest.margins(background).mean()
    np.testing.assert_allclose(found.sum(axis=1), expected, atol=1e-4)
    assert 30 == compare(ARTEFACT, toy.booster(), records(200), seed=1, rows=30).rows
