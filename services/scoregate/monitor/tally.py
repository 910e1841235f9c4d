"""Counts of decisions in the bins of an artefact's reference, and how far they are from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import reduce
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from scoregate.values import frozen

Counts = npt.NDArray[np.float64]

LEAST_SHARE: Final = 1e-3
"""Emptier bins count as this full: the logarithm of nothing would let one decision decide."""

SCORE, OUTCOME, FEATURE = "score", "outcome", "feature:"


@frozen
class Reference:
    """What a model was trained and accepted on: `edges` of the bins of score and features, `counts` of every subject.

    Bins are [edge, next edge), the outermost open-ended; a feature's last count is that of missing values.
    """

    names: tuple[str, ...]
    outcomes: tuple[str, ...]
    edges: Mapping[str, Counts]
    counts: Mapping[str, Counts]

    @classmethod
    def of(cls, said: Mapping[str, Any]) -> Reference:
        """Read an artefact's reference.json."""
        features: Mapping[str, Any] = said["features"]
        edges = {f"{FEATURE}{name}": np.array(feature["edges"]) for name, feature in features.items()}
        counts = {
            f"{FEATURE}{n}": np.array([*feature["counts"], feature["missing"]]) for n, feature in features.items()
        }
        return cls(
            tuple(features),
            tuple(said["outcomes"]),
            {SCORE: np.array(said["score"]["edges"]), **edges},
            {
                SCORE: np.array(said["score"]["counts"]),
                OUTCOME: np.array(list(said["outcomes"].values())),
                **counts,
            },
        )

    def empty(self) -> Tally:
        return Tally(0, {subject: np.zeros(len(counts)) for subject, counts in self.counts.items()})

    def tally(self, vectors: Counts, scores: Sequence[float | None], outcomes: Sequence[str]) -> Tally:
        """Count some decisions; `vectors` has a row for each, in the order of `names`."""
        known = np.array([score for score in scores if score is not None])
        ranks = [self.outcomes.index(outcome) for outcome in outcomes if outcome in self.outcomes]
        counts = {
            SCORE: _binned(known, self.edges[SCORE]),
            OUTCOME: np.bincount(np.array(ranks, int), minlength=len(self.outcomes)).astype(float),
        }
        for name, column in zip(self.names, vectors.T, strict=True):
            there = ~np.isnan(column)
            binned = _binned(column[there], self.edges[f"{FEATURE}{name}"])
            counts[f"{FEATURE}{name}"] = np.append(binned, float((~there).sum()))
        return Tally(len(outcomes), counts)


@frozen
class Tally:
    """Counts of so many decisions, by subject and bin."""

    decisions: int
    counts: Mapping[str, Counts]

    def plus(self, other: Tally) -> Tally:
        both = {subject: counts + other.counts[subject] for subject, counts in self.counts.items()}
        return Tally(self.decisions + other.decisions, both)


def total(reference: Reference, some: Sequence[Tally]) -> Tally:
    return reduce(Tally.plus, some, reference.empty())


def psi(expected: Counts, actual: Counts) -> float:
    """Return the population stability index, sum((a - e) * ln(a / e)); 0 where one of them is empty.

    Below 0.1 reads as stable, above 0.25 as moved (Siddiqi 2006, "Credit Risk Scorecards", chapter 9).
    """
    if not expected.sum() or not actual.sum():
        return 0.0
    e, a = (np.maximum(counts / counts.sum(), LEAST_SHARE) for counts in (expected, actual))
    return float(np.sum((a - e) * np.log(a / e)))


def _binned(values: Counts, edges: Counts) -> Counts:
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return np.bincount(place, minlength=len(edges) - 1).astype(float)
