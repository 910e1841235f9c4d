"""Which values lie beyond what a model was trained on: of those it knows nothing, whatever it says."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from typing import Self

import numpy as np
import numpy.typing as npt

from scoregate.models import FeatureStats
from scoregate.policy import Policy


class Ranges:
    """The range of each feature in training, and a share `beyond` of it on either side; none for those that grow.

    A feature with one value alone, such as a category that nobody was in, has no room on either side. What is missing
    is nowhere, and so not outside; nor is what no record had: no tree asks for it.
    """

    def __init__(self, features: Sequence[FeatureStats], beyond: float, growing: Collection[str] = ()) -> None:
        self._names = tuple(feature.name for feature in features)
        free = [feature.low is None or feature.name in growing for feature in features]
        low = np.where(free, -math.inf, [feature.low or 0.0 for feature in features])
        high = np.where(free, math.inf, [feature.high or 0.0 for feature in features])
        room = beyond * (high - low)
        self._low, self._high = low - room, high + room
        self._bounds = tuple(zip(self._names, self._low.tolist(), self._high.tolist(), strict=True))

    @classmethod
    def of(cls, policy: Policy, features: Sequence[FeatureStats]) -> Self | None:
        """Return what a policy takes for ordinary; None where it says nothing of that."""
        return None if policy.beyond is None else cls(features, policy.beyond, policy.growing)

    def are_beyond(self, values: npt.NDArray[np.float64]) -> npt.NDArray[np.bool_]:
        """Return of each value whether it lies outside; of one vector, or of a matrix of shape (rows, features)."""
        return np.asarray((values < self._low) | (values > self._high))

    def outside(self, vector: Sequence[float]) -> list[str]:
        """Return the names of the values that lie outside, in matrix order."""
        # One vector is compared faster than it is made an array.
        return [
            name for value, (name, low, high) in zip(vector, self._bounds, strict=True) if value < low or value > high
        ]
