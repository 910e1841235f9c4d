"""A forest at serving gives XGBoost's margins, by whatever shape and order of rows it is asked."""

from __future__ import annotations

import numpy as np
import pytest
import xgboost as xgb

from scoregate.models import Matrix
from scoregate.models.forest import AT_ONCE, Forest


def records(rows: int) -> Matrix:
    rng = np.random.default_rng(3)
    matrix = rng.normal(size=(rows, 6)).astype(np.float32)
    matrix[rng.random(matrix.shape) < 0.1] = np.nan
    return matrix


@pytest.fixture(scope="module")
def booster() -> xgb.Booster:
    matrix = records(2_000)
    return xgb.train({"objective": "binary:logistic", "nthread": 1}, xgb.DMatrix(matrix, matrix[:, 0] > 0), 40)


@pytest.fixture(scope="module")
def forest(booster: xgb.Booster) -> Forest:
    return Forest.from_bytes(bytes(booster.save_raw("ubj")), 1.0, 0.0)


@pytest.mark.parametrize("rows", [0, 1, AT_ONCE, AT_ONCE + 1, 500])
def test_few_rows_and_many_are_scored_alike(booster: xgb.Booster, forest: Forest, rows: int) -> None:
    """Few rows are scored in another way than many, and both give XGBoost's margins."""
    matrix = records(500)[:rows]

    expected = booster.predict(xgb.DMatrix(matrix), output_margin=True)

    assert (rows,) == forest.margins(matrix).shape
    np.testing.assert_allclose(forest.margins(matrix), expected, atol=1e-6)


def test_one_row_is_scored_as_among_many(forest: Forest) -> None:
    """To the last bit, what is missing and what is beyond 32 bits among it: a decision is replayed among others."""
    rows = records(200).astype(np.float64)
    rows[:, 0] *= 1e300

    with np.errstate(over="ignore"):
        expected = forest.predict(rows.astype(np.float32)).tolist()

    assert expected == [forest.score(row) for row in rows.tolist()]


def test_a_row_of_another_width_is_refused(forest: Forest) -> None:
    """It would be read beyond its end."""
    with pytest.raises(ValueError, match="each feature"):
        forest.score([0.0] * 5)


def test_rows_may_lie_anywhere_in_memory(forest: Forest) -> None:
    """A slice or a transposed matrix is read as what it is, not as what lies behind its first number."""
    matrix = records(40)

    np.testing.assert_array_equal(forest.margins(matrix)[::2], forest.margins(matrix[::2]))
    np.testing.assert_array_equal(forest.margins(matrix), forest.margins(np.asfortranarray(matrix)))


@pytest.mark.parametrize("shape", [(6,), (1, 5), (1, 7)])
def test_a_vector_of_another_width_is_refused(forest: Forest, shape: tuple[int, ...]) -> None:
    """Memory beyond a short vector is nobody's feature."""
    with pytest.raises(ValueError, match="a column for each feature"):
        forest.margins(np.zeros(shape, dtype=np.float32))
