"""Blocking: of all pairs only those are compared that share a key, for comparing all grows with the square."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

LARGEST: Final = 60
"""A key that more records share than this says nothing about who they are, and its pairs would outnumber all others."""


def pairs(keys: Sequence[Iterable[str]], largest: int = LARGEST) -> tuple[Ints, Ints]:
    """Return the pairs (left < right) of records that share a key; `keys` are those of each record."""
    place, code = _coded(keys)
    order = np.lexsort((place, code))
    place, code = place[order], code[order]
    begin = np.flatnonzero(np.append(True, code[1:] != code[:-1])[: len(code)])
    size = np.diff(np.append(begin, len(code)))
    found = []
    for many in np.unique(size[(size > 1) & (size <= largest)]):
        blocks = place[begin[size == many][:, None] + np.arange(many)]
        one, other = np.triu_indices(many, 1)
        found.append(blocks[:, one].ravel() * len(keys) + blocks[:, other].ravel())
    packed = np.unique(np.concatenate(found)) if found else np.zeros(0, np.int64)
    return packed // max(len(keys), 1), packed % max(len(keys), 1)


def _coded(keys: Sequence[Iterable[str]]) -> tuple[Ints, Ints]:
    """Return record and key, as numbers, of everything that is held, each once."""
    codes: dict[str, int] = {}
    held = [(i, codes.setdefault(key, len(codes))) for i, mine in enumerate(keys) for key in set(mine)]
    both = np.array(held, np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]
