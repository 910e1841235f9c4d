"""Reasons: ranked by Shapley values, and a feature is named only if changing it alone lowers the score."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

import toy
from scoregate import catalog
from scoregate.models import FeatureStats, Matrix, Scores, Signature
from scoregate.models.forest import Forest
from scoregate.models.reasons import LEAST_FALL, LEAST_PART, MOST_REASONS, Explainer, Reason
from scoregate.policy import Evidence, Policy

ARTEFACT = toy.artefact()
GROUPS = Policy.from_toml(toy.POLICY).groups
EXPLAINER = Explainer(ARTEFACT.forest, ARTEFACT.signature, GROUPS)

# Two evidences each; what speaks both ways is not constrained.
SIGNS = (1, 1, 1, -1, -1, -1, 1, -1, 0, 0, 1, -1)
WIDE = {f"reason_{i}": tuple(Evidence(f"f{j}", SIGNS[j]) for j in (2 * i, 2 * i + 1)) for i in range(6)}
NAMES = tuple(f"f{j}" for j in range(len(SIGNS)))


def drawn(seed: int, rows: int) -> Matrix:
    rng = np.random.default_rng(seed)
    common = rng.normal(size=(rows, 1))
    matrix = np.exp(0.6 * common + rng.normal(size=(rows, len(SIGNS)))).astype(np.float32)
    matrix[rng.random(matrix.shape) < 0.05] = np.nan
    return matrix


def signature(medians: list[float]) -> Signature:
    features = tuple(FeatureStats(n, None, None, m) for n, m in zip(NAMES, medians, strict=True))
    return Signature("wide", "wide_v1", toy.PLAN, features, (1.1, -0.2), {})


@lru_cache(maxsize=1)
def wide() -> tuple[Forest, Explainer, list[float]]:
    """Twelve features that go together, half of them with gaps, most of them constrained like those of credit."""
    import xgboost

    matrix = drawn(1, 4_000)
    odds = np.nansum(np.log(matrix) * (np.array(SIGNS) + 0.3), axis=1) / 2 - 1
    bad = np.random.default_rng(2).random(len(matrix)) < 1 / (1 + np.exp(-odds))
    booster = xgboost.train(
        {"objective": "binary:logistic", "max_depth": 4, "eta": 0.1, "nthread": 1, "monotone_constraints": str(SIGNS)},
        xgboost.DMatrix(matrix, bad),
        100,
    )
    forest = Forest.from_bytes(bytes(booster.save_raw("ubj")), 1.1, -0.2)
    medians = np.nanmedian(matrix[forest.predict(matrix) < 0.3], axis=0).tolist()
    return forest, Explainer(forest, signature(medians), WIDE), medians


def test_a_named_feature_alone_lowers_the_score_when_set_to_the_median() -> None:
    """Without exception, and its value lies on the side that the reason speaks of."""
    forest, explainer, medians = wide()
    matrix = drawn(3, 2_500)
    before, after, reasons = [], [], 0
    for vector, score in zip(matrix[:, None], forest.predict(matrix).tolist(), strict=True):
        for reason in explainer.explain(vector):
            reasons += 1
            assert reason.features
            for name in reason.features:
                at = NAMES.index(name)
                assert SIGNS[at] in (0, np.sign(vector[0, at] - medians[at]))
                changed = vector[0].copy()
                changed[at] = medians[at]
                before.append(score)
                after.append(changed)

    assert reasons > 5_000
    assert 0 == int((forest.predict(np.array(after)) >= np.array(before)).sum())


def test_reasons_are_few_and_ranked_by_what_their_features_add() -> None:
    """At most four, largest part first, none that is noise; a part is never more than its features' contributions."""
    forest, explainer, _ = wide()
    matrix = drawn(4, 300)
    for vector, score, adds in zip(matrix[:, None], forest.predict(matrix), forest.contributions(matrix), strict=True):
        found = explainer.explain(vector)
        parts = [reason.part for reason in found]
        most = [sum(max(adds[NAMES.index(e.feature)], 0) for e in WIDE[reason.code]) for reason in found]

        assert len(found) <= MOST_REASONS
        assert sorted(parts, reverse=True) == parts
        assert all(LEAST_PART < part <= bound + 1e-9 for part, bound in zip(parts, most, strict=True))
        assert [reason.code for reason in found] == explainer.reasons(vector, float(score))


def test_reasons_are_stable_under_noise() -> None:
    """When every value moves by a thousandth, at most one record in twenty gets other reasons."""
    forest, explainer, _ = wide()
    matrix = drawn(5, 1_000)
    noise = 1 + 0.001 * np.random.default_rng(6).choice([-1, 1], matrix.shape)
    moved = (matrix * noise).astype(np.float32)

    def reasons(records: Matrix) -> list[set[str]]:
        scores = forest.predict(records).tolist()
        return [set(explainer.reasons(v, s)) for v, s in zip(records[:, None], scores, strict=True)]

    changed = sum(one != other for one, other in zip(reasons(matrix), reasons(moved), strict=True))
    assert changed <= len(matrix) / 20


def test_the_largest_part_comes_first() -> None:
    """Twelve payments a day speak louder than an ordinary amount."""
    vector = np.array([[3_000, 6_000, 12]], dtype=np.float32)

    assert ["velocity"] == EXPLAINER.reasons(vector, float(ARTEFACT.forest.predict(vector)[0]))


@dataclass(frozen=True, slots=True)
class Told:
    """A model of three features that says of every record what it was told."""

    adds: tuple[float, float, float]
    falling: tuple[float, float, float]

    def predict(self, matrix: Matrix) -> Scores:
        return np.full(len(matrix), 0.9)

    def contributions(self, matrix: Matrix) -> Scores:
        return np.array([self.adds] * len(matrix))

    def falls(self, vector: Matrix, to: Matrix) -> Scores:
        return np.array(self.falling)


def explained(adds: tuple[float, float, float], falling: tuple[float, float, float], *values: float) -> list[Reason]:
    """Explain an amount, a limit and a count, of which 3000, 6000 and 1 are usual."""
    explainer = Explainer(Told(adds, falling), ARTEFACT.signature, GROUPS)
    return explainer.explain(np.array([values], dtype=np.float32))


def told(adds: tuple[float, float, float], falling: tuple[float, float, float], *values: float) -> list[str]:
    return [reason.code for reason in explained(adds, falling, *values)]


def test_a_reason_is_not_said_of_a_value_on_the_other_side() -> None:
    """Whatever the model made of it, "many payments" is not said of no payment, nor of an unknown number."""
    assert ["velocity"] == told((0, 0, 1), (0, 0, 1), 3_000, 6_000, 9)
    assert [] == told((0, 0, 1), (0, 0, 1), 3_000, 6_000, 0)
    assert [] == told((0, 0, 1), (0, 0, 1), 3_000, 6_000, math.nan)


def test_both_measures_must_speak_for_a_feature() -> None:
    """Neither a contribution that nothing can be done about, nor a fall of what had lowered the score, is a reason."""
    assert [] == told((0, 0, 1), (0, 0, LEAST_FALL / 2), 3_000, 6_000, 9)
    assert [] == told((0, 0, 1), (0, 0, -1), 3_000, 6_000, 9)
    assert [] == told((0, 0, -1), (0, 0, 1), 3_000, 6_000, 9)
    assert [] == told((0, 0, LEAST_PART / 2), (0, 0, 1), 3_000, 6_000, 9)


def test_a_reason_names_the_features_that_speak_for_it() -> None:
    """And no other of its group: here a low limit that is either without a fall, or lowered the score."""
    assert [Reason("amount", ("amount_minor", "limit_minor"), 1.5)] == explained(
        (1, 0.5, 0), (1, 1, 0), 5_000, 2_000, 1
    )
    assert [Reason("amount", ("amount_minor",), 1.0)] == explained((1, 0.5, 0), (1, 0, 0), 5_000, 2_000, 1)
    assert [Reason("amount", ("amount_minor",), 0.5)] == explained((1, -0.5, 0), (1, 1, 0), 5_000, 2_000, 1)


def test_what_speaks_against_a_reason_lowers_its_rank() -> None:
    """A high amount weighs less beside a limit that lowered the score; a limit that may not be named adds nothing."""
    falling = (1.0, 1.0, 1.0)

    assert ["amount", "velocity"] == told((0.9, 0, 0.5), falling, 5_000, 6_000, 9)
    assert ["velocity", "amount"] == told((0.9, -0.5, 0.5), falling, 5_000, 9_000, 9)
    assert [] == told((0.9, -0.9, 0), falling, 5_000, 9_000, 9)
    assert ["velocity", "amount"] == told((0.4, 0.9, 0.5), falling, 5_000, 9_000, 9)
    assert ["amount", "velocity"] == told((0.4, 0.9, 0.5), falling, 5_000, 2_000, 9)


@pytest.mark.parametrize("service", catalog.services())
def test_evidence_points_the_way_of_the_constraint(service: str) -> None:
    """Where training may only let a feature raise the score one way, its reason speaks of that way."""
    train = catalog.part(service, "train")
    groups = Policy.from_toml(Path(str(train.__file__)).with_name("policy.toml").read_text()).groups
    evidence = [e for group in groups.values() for e in group if e.feature in train.PROBLEM.monotone]

    assert [train.PROBLEM.monotone[e.feature] for e in evidence] == [e.direction for e in evidence]


@pytest.mark.parametrize("service", catalog.services())
def test_a_feature_belongs_to_one_reason(service: str) -> None:
    """Named twice, it would be counted twice."""
    text = Path(str(catalog.part(service, "train").__file__)).with_name("policy.toml").read_text()
    named = [e.feature for group in Policy.from_toml(text).groups.values() for e in group]

    assert sorted(set(named)) == sorted(named)
