"""How alike two parts of records are, in steps: 0 where there is nothing to compare, 1 for unlike, and so on up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rapidfuzz.distance import DamerauLevenshtein, JaroWinkler

NAME_STEPS: Final = 5
DATE_STEPS: Final = 5
NUMBER_STEPS: Final = 4

_SAME_PART: Final = 0.9
_LIKE_PART: Final = 0.8


def name(one: Sequence[str], other: Sequence[str]) -> int:
    """Compare words of two names, in any order: every part of the shorter wants a counterpart of its own.

    Part by part, because members of a family share a long name and differ in a short one.
    """
    if not one or not other:
        return 0
    if sorted(one) == sorted(other):
        return 4
    fewer, more = sorted((one, other), key=len)
    if len(fewer) == 1 and len(more) > 1:
        # One word alone is a part of many names.
        return 2 if fewer[0] in more else 1
    left, least = list(more), 1.0
    for part in fewer:
        similar, best = max((_part(part, counterpart), counterpart) for counterpart in left)
        least = min(least, similar)
        left.remove(best)
    return 3 if least >= _SAME_PART else 2 if least >= _LIKE_PART else 1


def _part(one: str, other: str) -> float:
    if min(len(one), len(other)) == 1:
        return _LIKE_PART if one[0] == other[0] else 0.0
    return float(JaroWinkler.similarity(one, other))


def date(one: str | None, other: str | None) -> int:
    """Compare two dates written YYYYMMDD: the same, day and month swapped or one slip, two slips, unlike."""
    if not one or not other:
        return 0
    if one == other:
        return 4
    if (one[:4], one[4:6], one[6:]) == (other[:4], other[6:], other[4:6]):
        return 3
    return {1: 3, 2: 2}.get(DamerauLevenshtein.distance(one, other, score_cutoff=2), 1)


def number(one: str | None, other: str | None) -> int:
    """Compare two numbers of documents: the same, up to two slips, unlike."""
    if not one or not other:
        return 0
    if one == other:
        return 3
    return 2 if DamerauLevenshtein.distance(one, other, score_cutoff=2) <= 2 else 1
