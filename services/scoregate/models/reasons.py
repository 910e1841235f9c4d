"""Why a score is what it is: which groups of features raised it, each by how much.

A group's part is the fall of the score when its features alone are set to the median of records that were answered
mildest. So a reason is named only if changing just that lowers the score: true by construction, whatever the model.
A feature that speaks in one direction takes part only when its value lies there: nobody reads "income is low" of an
income above the usual, even where that income raised the score. A feature that is missing takes no part either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from scoregate.models import Matrix, Model, Signature
from scoregate.policy import Evidence

MOST_REASONS = 4
"""Regulation B's commentary: more than four principal reasons are not likely to be helpful to the applicant."""

LEAST_FALL = 0.05
"""A group whose fall is below this share of the score is noise, not a reason."""


class Explainer:
    """Ranks reason codes for one vector. `groups` maps a code to what speaks for it."""

    def __init__(self, model: Model, signature: Signature, groups: Mapping[str, Sequence[Evidence]]) -> None:
        position = {name: i for i, name in enumerate(signature.names)}
        medians = np.array([np.nan if f.median is None else f.median for f in signature.features], dtype=np.float32)
        self._model = model
        self._codes = tuple(groups)
        self._mask = np.zeros((len(groups), len(medians)), dtype=bool)
        self._direction = np.zeros(len(medians), dtype=np.int8)
        for row, group in enumerate(groups.values()):
            for evidence in group:
                self._mask[row, position[evidence.feature]] = True
                self._direction[position[evidence.feature]] = evidence.direction
        self._medians = medians

    def reasons(self, vector: Matrix, score: float) -> list[str]:
        """Return up to MOST_REASONS codes, largest part first. `vector` has shape (1, features)."""
        if not self._codes:
            return []
        # A missing value lies nowhere: what is not known about somebody must not be said of them.
        above, below = vector[0] > self._medians, vector[0] < self._medians
        speaks = (above & (self._direction >= 0)) | (below & (self._direction <= 0))
        substituted = np.where(self._mask & speaks, self._medians, vector).astype(np.float32)
        falls = score - self._model.predict(substituted)
        order = np.argsort(-falls, kind="stable")
        return [self._codes[i] for i in order[:MOST_REASONS] if falls[i] > LEAST_FALL * score]
