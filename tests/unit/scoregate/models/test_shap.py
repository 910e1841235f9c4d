"""Contributions are exact Shapley values of the forest, by its definition and by XGBoost's own account."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import numpy as np
import pytest
import xgboost as xgb
from numpy.typing import NDArray

from scoregate.models import Matrix
from scoregate.models.forest import Forest


def records(seed: int, rows: int, features: int) -> Matrix:
    """Draw continuous values, counts and gaps."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(size=(rows, features)).astype(np.float32)
    matrix[:, 0] = rng.poisson(2, rows)
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    return matrix


def fitted(seed: int, features: int, trees: int, **parameters: Any) -> xgb.Booster:
    matrix = records(seed, 2_000, features)
    odds = np.nansum(matrix[:, :3], axis=1) + np.isnan(matrix[:, 1]) - 2
    bad = np.random.default_rng(seed).random(len(matrix)) < 1 / (1 + np.exp(-odds))
    return xgb.train(
        {"objective": "binary:logistic", "nthread": 1, "seed": seed, **parameters}, xgb.DMatrix(matrix, bad), trees
    )


def served(booster: xgb.Booster, slope: float = 1.0) -> Forest:
    return Forest.from_bytes(bytes(booster.save_raw("ubj")), slope, 0.0)


def expected_margin(node: dict[str, Any], row: NDArray[np.float32], known: frozenset[int]) -> float:
    """Go down a tree: by the record where the feature is known, else both ways, as the training records went."""
    if "leaf" in node:
        return float(node["leaf"])
    children = {child["nodeid"]: child for child in node["children"]}
    feature = int(node["split"][1:])
    if feature in known:
        value = row[feature]
        way = "missing" if np.isnan(value) else "yes" if value < np.float32(node["split_condition"]) else "no"
        return expected_margin(children[node[way]], row, known)
    return sum(c["cover"] * expected_margin(c, row, known) for c in children.values()) / sum(
        c["cover"] for c in children.values()
    )


def by_definition(trees: list[dict[str, Any]], row: NDArray[np.float32]) -> list[float]:
    """Average what each feature adds, over all subsets of the others and their weights."""
    features = range(len(row))
    margin = {
        frozenset(known): sum(expected_margin(tree, row, frozenset(known)) for tree in trees)
        for size in range(len(row) + 1)
        for known in itertools.combinations(features, size)
    }
    return [
        sum(
            (margin[known | {feature}] - margin[known]) / (len(row) * math.comb(len(row) - 1, len(known)))
            for known in margin
            if feature not in known
        )
        for feature in features
    ]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("depth", [1, 2, 5])
def test_contributions_are_shapley_values_by_definition(seed: int, depth: int) -> None:
    """Summed over every subset of features, missing values and features that a path meets twice included."""
    booster = fitted(seed, features=5, trees=4, max_depth=depth)
    trees = [json.loads(tree) for tree in booster.get_dump(dump_format="json", with_stats=True)]
    rows = records(seed + 100, 10, 5)

    expected = [by_definition(trees, row) for row in rows]

    np.testing.assert_allclose(served(booster).contributions(rows), expected, atol=1e-5)


@pytest.mark.parametrize("monotone", ["(0,0,0)", "(1,-1,1)"])
def test_contributions_agree_with_xgboost(monotone: str) -> None:
    """A forest of the size that is served: contributions, base, and their sum, which is the margin."""
    booster = fitted(1, features=20, trees=150, max_depth=6, eta=0.1, subsample=0.8, monotone_constraints=monotone)
    rows = records(2, 300, 20)
    forest = served(booster)

    theirs = booster.predict(xgb.DMatrix(rows), pred_contribs=True)
    ours = forest.contributions(rows)

    np.testing.assert_allclose(ours, theirs[:, :-1], atol=1e-5)
    np.testing.assert_allclose(forest.base, theirs[:, -1], atol=1e-5)
    np.testing.assert_allclose(forest.base + ours.sum(axis=1), forest.margins(rows), atol=1e-5)


def test_contributions_are_to_the_calibrated_log_odds() -> None:
    """The calibrator's slope stretches what each feature adds."""
    booster, rows = fitted(3, features=4, trees=5), records(4, 20, 4)

    np.testing.assert_allclose(
        served(booster, slope=1.5).contributions(rows), 1.5 * served(booster).contributions(rows)
    )


def test_falls_are_those_of_scoring_anew() -> None:
    """Setting one feature alone, for every feature, to values some of which are missing."""
    forest = served(fitted(5, features=8, trees=40, max_depth=6), slope=1.3)
    to = records(6, 1, 8)[0]
    to[3] = np.nan

    for vector in records(7, 50, 8)[:, None]:
        changed = np.where(np.eye(8, dtype=bool), to, vector)
        expected = 1.3 * (forest.margins(vector) - forest.margins(changed))
        np.testing.assert_allclose(forest.falls(vector, to), expected, atol=1e-5)


def test_a_forest_that_never_splits_owes_nothing_to_any_feature() -> None:
    """All of its margin is its base."""
    forest = served(fitted(8, features=3, trees=2, gamma=1e9))
    rows = records(9, 2, 3)

    assert np.zeros((2, 3)).tolist() == forest.contributions(rows).tolist()
    np.testing.assert_allclose(forest.base, forest.margins(rows), atol=1e-6)
    assert (0, 3) == forest.contributions(rows[:0]).shape


def test_a_forest_that_cannot_be_explained_is_refused() -> None:
    """Better not loaded than scored without reasons."""
    rows = records(10, 500, 3)
    kinds = (np.arange(500) % 3).astype(np.float32)
    several = xgb.train({"objective": "multi:softprob", "num_class": 3}, xgb.DMatrix(rows, kinds), 2)
    rows[:, 0] = kinds
    categories = xgb.train(
        {"objective": "binary:logistic", "max_cat_to_onehot": 1},
        xgb.DMatrix(rows, kinds == 1, feature_types=["c", "q", "q"], enable_categorical=True),
        2,
    )

    with pytest.raises(ValueError, match="several outputs"):
        served(several)
    with pytest.raises(ValueError, match="splits by category"):
        served(categories)
