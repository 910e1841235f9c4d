"""Pairs by keys, likeness in steps, and what it is evidence of."""

from __future__ import annotations

import numpy as np
import pytest

from scoregate.training.linkage import blocking, levels
from scoregate.training.linkage.groups import joined, sharing
from scoregate.training.linkage.weights import Part, probabilities


def test_pairs_share_a_key_and_come_once() -> None:
    """However many keys they share; a key of one record alone, and one that too many have, make none."""
    left, right = blocking.pairs([["a", "b", "all"], ["b", "a", "all"], ["c", "all"], ["c", "c", "all"]], largest=3)

    assert [(0, 1), (2, 3)] == list(zip(left.tolist(), right.tolist(), strict=True))


@pytest.mark.parametrize(
    ("one", "other", "step"),
    [
        ("ana maria lopez", "lopez ana maria", 4),
        ("jonathan miller", "jonathon miller", 3),
        ("anna schmidt", "peter schmidt", 1),
        ("j smith", "john smith", 2),
        ("smith", "john smith", 2),
        ("", "john smith", 0),
    ],
)
def test_names_are_compared_word_by_word(one: str, other: str, step: int) -> None:
    """In any order; one unlike word makes them unlike, so a family is not one person."""
    assert step == levels.name(one.split(), other.split()) == levels.name(other.split(), one.split())


@pytest.mark.parametrize(
    ("other", "step"), [("19900412", 4), ("19901204", 3), ("19900413", 3), ("19910413", 2), ("19751130", 1), (None, 0)]
)
def test_dates_forgive_a_slip_and_a_swap(other: str | None, step: int) -> None:
    """Day and month in the other order is one slip."""
    assert step == levels.date("19900412", other)


def test_numbers_forgive_two_slips() -> None:
    """Three make another number."""
    assert [3, 2, 1, 0] == [levels.number("L898902C36", n) for n in ("L898902C36", "L898920C3", "X898902D45", "")]


def test_evidence_is_learned_without_labels() -> None:
    """Pairs that agree in most parts are one person; a part that strangers often agree in says little."""
    rng = np.random.default_rng(1)
    parts = (Part("name", (0.1, 0.9)), Part("date", (0.1, 0.9)), Part("sex", (0.1, 0.9)))
    strangers = np.column_stack([1 + (rng.random(50_000) < share) for share in (0.001, 0.002, 0.5)]).astype(np.int8)
    truth = rng.random(2_000) < 0.1
    share = np.where(truth[:, None], 0.95, np.array([0.3, 0.001, 0.5]))
    steps = (1 + (rng.random((2_000, 3)) < share)).astype(np.int8)
    found = probabilities(parts, steps, strangers, 1e6)

    both = (steps[:, 0] == 2) & (steps[:, 1] == 2)
    assert found[both].min() > 0.9
    assert found[~both].max() < 0.5
    assert found[both & (steps[:, 2] == 2)].mean() - found[both & (steps[:, 2] == 1)].mean() < 0.1


def test_what_is_absent_says_nothing() -> None:
    """Step 0 neither joins nor parts two records."""
    parts = (Part("name", (0.1, 0.9)), Part("date", (0.1, 0.9)))
    steps = np.array([[2, 2], [2, 0], [2, 1]], np.int8)
    strangers = np.ones((10_000, 2), np.int8)
    there, absent, unlike = probabilities(parts, steps, strangers, 1e4)

    assert there > absent > unlike


def test_groups_hang_together_through_others() -> None:
    """And are numbered by their first records."""
    assert [0, 1, 0, 1, 2] == joined(5, np.array([0, 1]), np.array([2, 3])).tolist()
    left, right = sharing([["x", "y", None, "x", None], [None, "p", "p", None, None]])
    assert [0, 1, 1, 0, 2] == joined(5, left, right).tolist()
