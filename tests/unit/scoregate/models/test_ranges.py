"""Values beyond those of training: found, and not what is merely at the edge, missing, or never known."""

from __future__ import annotations

import math

import numpy as np
import pytest

import toy
from scoregate.models import FeatureStats
from scoregate.models.ranges import Ranges
from scoregate.policy import Policy

RANGES = Ranges(
    [
        FeatureStats("amount", 100.0, 300.0, 150.0),
        FeatureStats("kind_is_rare", 0.0, 0.0, 0.0),
        FeatureStats("never_known", None, None, None),
    ],
    beyond=0.5,
)


@pytest.mark.parametrize(
    ("vector", "outside"),
    [
        ([400.0, 0.0, 1.0], []),
        ([0.0, 0.0, -1e9], []),
        ([400.1, 0.0, 0.0], ["amount"]),
        ([-0.1, 0.0, 0.0], ["amount"]),
        ([200.0, 1.0, 0.0], ["kind_is_rare"]),
        ([math.inf, 1.0, 0.0], ["amount", "kind_is_rare"]),
        ([math.nan, math.nan, math.nan], []),
    ],
)
def test_what_is_further_out_than_the_margin_is_outside(vector: list[float], outside: list[str]) -> None:
    """Half of the range on either side is free, one value alone has no margin, and missing is not outside."""

    assert outside == RANGES.outside(vector)


def test_what_grows_has_no_range() -> None:
    """A policy may name features of which any value is taken; it says nothing of any where it gives no margin."""
    looking = Policy.from_toml(toy.LOOKING.replace("beyond = 1.0", 'beyond = 1.0\ngrowing = ["count_1d"]'))
    features = toy.artefact().signature.features
    ranges = Ranges.of(looking, features)

    assert ranges is not None
    assert ["amount_minor"] == ranges.outside([1e9, 5_000.0, 1e9])
    assert Ranges.of(Policy.from_toml(toy.POLICY), features) is None


def test_a_matrix_is_told_as_its_rows_are() -> None:
    """Training counts by the very comparison that serving makes."""
    rows = [[500.0, 0.0, 1.0], [200.0, 1.0, math.nan]]

    assert [[True, False, False], [False, True, False]] == RANGES.are_beyond(np.array(rows)).tolist()
