"""What hangs together: records joined by pairs, and pairs of pairs."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

Ints = NDArray[np.int64]


def joined(records: int, left: Ints, right: Ints) -> Ints:
    """Return the group of each record, numbered from 0 in the order of their first records."""
    graph = coo_array((np.ones(len(left), np.int8), (left, right)), shape=(records, records))
    _, group = connected_components(graph, directed=False)
    first = np.unique(group, return_index=True)[1]
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return np.asarray(rank[group])


def sharing(keys: list[list[str | None]]) -> tuple[Ints, Ints]:
    """Return a chain of pairs for each key of each column: whoever has it hangs together through its first holder."""
    left, right = [], []
    for column in keys:
        first: dict[str, int] = {}
        for place, key in enumerate(column):
            if key is not None and (holder := first.setdefault(key, place)) != place:
                left.append(holder)
                right.append(place)
    return np.array(left, np.int64), np.array(right, np.int64)
