"""Why a score is what it is: which groups of features raised it, largest part first.

Two measures must agree before a feature is named. Its Shapley value says how much of the log-odds is its own, beside
all others; it ranks. But it compares with an average record, and with monotone constraints the worse of two values
may still have the lower one. So the feature alone is also set to the median of records that were answered mildest, and
the score must fall: what is named can be acted on, by construction.

A feature that speaks in one direction takes part only when its value lies there: nobody reads "income is low" of an
income above the usual, even where that income raised the score. A feature that is missing takes no part either.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from scoregate.models import Matrix, Model, Scores, Signature
from scoregate.policy import Evidence
from scoregate.values import frozen

Mask = npt.NDArray[np.bool_]

MOST_REASONS = 4
"""Regulation B's commentary: more than four principal reasons are not likely to be helpful to the applicant."""

LEAST_PART = 0.05
"""A group that adds less to the log-odds than this, so raises the odds by less than a twentieth, is noise."""

LEAST_FALL = 1e-3
"""A feature names a reason only if it alone lowers the log-odds by more than this: far above what rounding may do."""


@frozen
class Reason:
    """A code, the features it names (each alone lowers the score), and what its group adds to the log-odds."""

    code: str
    features: tuple[str, ...]
    part: float


class Explainer:
    """Ranks reason codes for one vector. `groups` maps a code to what speaks for it."""

    def __init__(self, model: Model, signature: Signature, groups: Mapping[str, Sequence[Evidence]]) -> None:
        position = {name: i for i, name in enumerate(signature.names)}
        medians = np.array([np.nan if f.median is None else f.median for f in signature.features], dtype=np.float32)
        self._model = model
        self._names = signature.names
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
        return [reason.code for reason in self.explain(vector)]

    def explain(self, vector: Matrix) -> list[Reason]:
        """Return the same with what each names."""
        if not self._codes:
            return []
        adds = self._model.contributions(vector)[0]
        named = self._named(vector, adds)
        # What is not named may not raise a group's part, but may lower it: a high income answers high expenses.
        parts = self._mask @ np.where(named, adds, np.minimum(adds, 0.0))
        largest = np.argsort(-parts, kind="stable")[:MOST_REASONS].tolist()
        return [self._reason(i, named, float(parts[i])) for i in largest if parts[i] > LEAST_PART]

    def _named(self, vector: Matrix, adds: Scores) -> Mask:
        # A missing value lies nowhere: what is not known about somebody must not be said of them.
        above, below = vector[0] > self._medians, vector[0] < self._medians
        speaks = (above & (self._direction >= 0)) | (below & (self._direction <= 0))
        falls = self._model.falls(vector, self._medians) > LEAST_FALL
        named: Mask = speaks & (adds > 0.0) & falls
        return named

    def _reason(self, group: int, named: Mask, part: float) -> Reason:
        features = np.flatnonzero(self._mask[group] & named).tolist()
        return Reason(self._codes[group], tuple(self._names[i] for i in features), part)
