"""Exact tree SHAP of a forest: how much each feature moved one record's margin, without xgboost or shap.

A leaf is reached when every feature on its path passes: feature j either does for this record (1) or does not (0), and
does for a share s_j of the training records that came to its splits. With the leaf's value v, the Shapley value of
feature i, over orders in which the unknown features go the way of the training records (Lundberg et al. 2020), is

    v * (pass_i - s_i) * ∫₀¹ ∏_{j≠i} (s_j + t * (pass_j - s_j)) dt

because a feature that joins at a time t, uniform in [0, 1], finds each other one there with probability t. What is
integrated is a polynomial of a degree below the number of features on the path, so Gauss-Legendre gives it exactly, by
a few points and for all leaves at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
import treelite

from scoregate.models import Matrix, Scores

LEAF, NUMERIC, BELOW = 0, 1, 2
"""Treelite's codes: two kinds of nodes, and the comparison `value < threshold`, which is XGBoost's only one."""

TINY = 1e-12
"""Stands for no record at all, which nothing can be divided by."""


class Pass(NamedTuple):
    """What one path asks of one feature: low <= value < high, or to be missing; and the share of records that do."""

    low: float = -np.inf
    high: float = np.inf
    missing: bool = True
    share: float = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class Paths:
    """Every leaf's path of a forest. Arrays have the shape (features on the longest path, leaves).

    Where a path is shorter the rest of its column always passes, which contributes nothing.
    """

    base: float
    """The margin of which nothing is known: base + contributions = margin."""

    _width: int
    _value: Scores
    _feature: npt.NDArray[np.intp]
    _low: Matrix
    _high: Matrix
    _missing: npt.NDArray[np.bool_]
    _share: Scores
    _points: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, trees: treelite.Model) -> Paths:
        """Lay out a forest.

        Raises:
            ValueError: it has several outputs, splits by category, or does not say how many records came to a node.
        """
        header = trees.get_header_accessor()
        scores = header.get_field("base_scores")
        if len(scores) != 1:
            raise ValueError("a forest with several outputs cannot be explained")
        leaves = [leaf for i in range(trees.num_tree) for leaf in _leaves(trees.get_tree_accessor(i))]
        shape = max((len(path) for _, path in leaves), default=0), len(leaves)
        feature, value = np.zeros(shape, np.intp), np.array([v for v, _ in leaves], np.float64)
        low, high = np.full(shape, -np.inf, np.float32), np.full(shape, np.inf, np.float32)
        missing, share = np.ones(shape, np.bool_), np.ones(shape)
        for column, (_, path) in enumerate(leaves):
            for row, (index, asked) in enumerate(path.items()):
                feature[row, column] = index
                low[row, column], high[row, column], missing[row, column], share[row, column] = asked
        base = float(scores[0] + (value * share.prod(axis=0)).sum())
        return cls(base, int(trees.num_feature), value, feature, low, high, missing, share, _gauss_legendre(shape[0]))

    def contributions(self, matrix: Matrix) -> Scores:
        """Return what each feature adds to the margin, shape (rows, features); no value may be infinite."""
        # Row by row: the arrays of one row stay in the processor's cache, those of many would not.
        return np.stack([self._one(row) for row in matrix]) if len(matrix) else np.zeros((0, self._width))

    def falls(self, row: Matrix, to: Matrix) -> Scores:
        """Return how far the margin falls when each feature alone takes its value in `to`; all of shape (features,)."""
        passes, would = self._passes(row), self._passes(to)
        fails = ~passes
        # Every other feature on the path passes, so this one alone decides about the leaf.
        alone = fails.sum(axis=0) == fails
        return self._by_feature(self._value * alone * (passes.astype(np.int8) - would))

    def _one(self, row: Matrix) -> Scores:
        gap = self._passes(row) - self._share
        rest = np.zeros(gap.shape)
        for t, weight in self._points:
            factor = self._share + t * gap
            rest += weight * self._value * factor.prod(axis=0) / factor
        return self._by_feature(gap * rest)

    def _passes(self, row: Matrix) -> npt.NDArray[np.bool_]:
        value = row[self._feature]
        return ((value >= self._low) & (value < self._high)) | (np.isnan(value) & self._missing)

    def _by_feature(self, part: Scores) -> Scores:
        return np.bincount(self._feature.ravel(), part.ravel(), self._width).astype(np.float64, copy=False)


def _gauss_legendre(degree: int) -> tuple[tuple[float, float], ...]:
    """Return points with their weights on [0, 1] that integrate polynomials below this degree exactly."""
    points = np.polynomial.legendre.leggauss(max((degree + 1) // 2, 1))
    return tuple((float(at + 1) / 2, float(weight) / 2) for at, weight in zip(*points, strict=True))


def _leaves(tree: Any) -> Iterator[tuple[float, dict[int, Pass]]]:
    """Yield each leaf's value, and what its path asks of each feature on it."""
    kind, compare = tree.get_field("node_type"), tree.get_field("cmp")
    if not (np.isin(kind, (LEAF, NUMERIC)).all() and (compare[kind == NUMERIC] == BELOW).all()):
        raise ValueError("a forest that splits by category cannot be explained")
    if not tree.get_field("sum_hess_present").all():
        raise ValueError("the forest does not say how many records came to a node")
    # Plain lists: reading an array one element at a time is slow.
    feature, threshold = tree.get_field("split_index").tolist(), tree.get_field("threshold").tolist()
    left, right = tree.get_field("cleft").tolist(), tree.get_field("cright").tolist()
    missing_left, leaf = tree.get_field("default_left").tolist(), tree.get_field("leaf_value").tolist()
    records = np.maximum(tree.get_field("sum_hess"), TINY).tolist()
    ahead: list[tuple[int, dict[int, Pass]]] = [(0, {})]
    while ahead:
        node, path = ahead.pop()
        if left[node] < 0:
            yield leaf[node], path
            continue
        split, cut, default = feature[node], threshold[node], bool(missing_left[node])
        low, high, missing, share = path.get(split, Pass())
        below = Pass(low, min(high, cut), missing and default, share * records[left[node]] / records[node])
        above = Pass(max(low, cut), high, missing and not default, share * records[right[node]] / records[node])
        ahead.append((left[node], {**path, split: below}))
        ahead.append((right[node], {**path, split: above}))
