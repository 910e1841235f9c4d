"""Reasons: a group is named only if changing it alone lowers the score."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import toy
from scoregate.models import Matrix, Scores
from scoregate.models.reasons import Explainer
from scoregate.policy import Policy

ARTEFACT = toy.artefact()
GROUPS = Policy.from_toml(toy.POLICY).groups
EXPLAINER = Explainer(ARTEFACT.forest, ARTEFACT.signature, GROUPS)


@given(st.integers(100, 10_000), st.integers(1_000, 9_000), st.integers(0, 12))
def test_a_named_reason_lowers_the_score_when_set_to_the_median(amount: int, limit: int, count: int) -> None:
    """True for every vector, by construction."""
    vector = np.array([[amount, limit, count]], dtype=np.float32)
    score = float(ARTEFACT.forest.predict(vector)[0])
    medians = {f.name: f.median for f in ARTEFACT.signature.features}
    for code in EXPLAINER.reasons(vector, score):
        changed = vector.copy()
        for evidence in GROUPS[code]:
            at = toy.FEATURES.index(evidence.feature)
            if (changed[0, at] - medians[evidence.feature]) * evidence.direction > 0:
                changed[0, at] = medians[evidence.feature]

        assert float(ARTEFACT.forest.predict(changed)[0]) < score


def test_a_reason_is_not_said_of_a_value_on_the_other_side() -> None:
    """Whatever the model made of it, "many payments" is not said of no payment, nor of an unknown number."""
    backwards = Explainer(_Backwards(), ARTEFACT.signature, GROUPS)

    for count in (0, np.nan):
        vector = np.array([[3_000, 6_000, count]], dtype=np.float32)
        assert [] == backwards.reasons(vector, 0.9)
    assert ["velocity"] == backwards.reasons(np.array([[3_000, 6_000, 9]], dtype=np.float32), 0.9)


class _Backwards:
    """Scores the median number of payments low, and everything else high."""

    def predict(self, matrix: Matrix) -> Scores:
        return np.where(matrix[:, 2] == 1.0, 0.1, 0.9)


def test_the_largest_part_comes_first() -> None:
    """Twelve payments a day speak louder than an ordinary amount."""
    vector = np.array([[3_000, 6_000, 12]], dtype=np.float32)

    assert ["velocity"] == EXPLAINER.reasons(vector, float(ARTEFACT.forest.predict(vector)[0]))
