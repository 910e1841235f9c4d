"""Reasons: a group is named only if changing it alone lowers the score."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

import toy
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
        for name in GROUPS[code]:
            changed[0, toy.FEATURES.index(name)] = medians[name]

        assert float(ARTEFACT.forest.predict(changed)[0]) < score


def test_the_largest_part_comes_first() -> None:
    """Twelve payments a day speak louder than an ordinary amount."""
    vector = np.array([[3_000, 6_000, 12]], dtype=np.float32)

    assert ["velocity"] == EXPLAINER.reasons(vector, float(ARTEFACT.forest.predict(vector)[0]))
