"""What a canary is judged by: of each gate which shares are compared, what is tolerated, and what would be harm.

A gate has categories, and asks questions about them: does the canary's share of these categories lie above the stable
arm's by more than is tolerated (or, turned round, the stable arm's above the canary's)?

    rises     all categories but the first are bad, and only more of any of them is
    shifts    categories have an order; the share at or above each cut, both ways
    mixes     categories have none; the share of each, both ways
    slows     buckets of time; the canary above a bound against the stable arm above the bound before it, so that
              up to twice as slow is not slower: bounds are about a factor of two apart
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt

from scoregate.rollout.sequential import Floats, Line, log_e_above, log_e_below
from scoregate.values import frozen

Mask = npt.NDArray[np.float64]


@frozen
class Questions:
    """Rows are questions, columns categories: which of them count for the canary, and which for the stable arm.

    After the first `straight` ones they are turned round: is the stable arm's share above the canary's?
    """

    canary: Mask
    stable: Mask
    straight: int


def rises(size: int) -> Questions:
    mask = np.eye(size)[1:]
    return Questions(mask, mask, size - 1)


def shifts(size: int) -> Questions:
    return _both_ways(np.triu(np.ones((size, size)))[1:])


def mixes(size: int) -> Questions:
    return _both_ways(np.eye(size))


def slows(size: int) -> Questions:
    cuts = np.triu(np.ones((size, size)))
    return Questions(cuts[2:], cuts[1:-1], size - 2)


def _both_ways(mask: Mask) -> Questions:
    twice = np.concatenate((mask, mask))
    return Questions(twice, twice, len(mask))


@frozen
class Gate:
    """`tolerated`: beyond any of these lines a question is answered yes. `harmful`: a canary below this line, by every
    question, is clear. `is_about_traffic`: it says that the arms cannot be compared, not that the canary is worse."""

    name: str
    asks: Callable[[int], Questions]
    tolerated: tuple[Line, ...]
    harmful: Line
    is_about_traffic: bool = False

    def against(self, stable: npt.ArrayLike, canary: npt.ArrayLike) -> Floats:
        """Return the log e-value against "all is within what is tolerated"; counts by category, shape (…, categories).

        The mean of e-values is one, whatever they have to do with each other.
        """
        questions = [self.asked(log_e_above, stable, canary, line) for line in self.tolerated]
        return _log_mean_exp(np.concatenate(questions, axis=-1))

    def clear(self, stable: npt.ArrayLike, canary: npt.ArrayLike) -> Floats:
        """Return the log e-value against "there is harm": the least of all questions, which must all be answered."""
        return np.asarray(self.asked(log_e_below, stable, canary, self.harmful).min(axis=-1))

    def asked(
        self,
        evidence: Callable[[tuple[Floats, Floats], tuple[Floats, Floats], Line], Floats],
        stable: npt.ArrayLike,
        canary: npt.ArrayLike,
        line: Line,
    ) -> Floats:
        """Return the evidence on every question, shape (…, questions)."""
        s, c = np.asarray(stable, dtype=np.float64), np.asarray(canary, dtype=np.float64)
        questions = self.asks(s.shape[-1])
        in_s, in_c = s @ questions.stable.T, c @ questions.canary.T
        all_s, all_c = s.sum(-1, keepdims=True), c.sum(-1, keepdims=True)
        first, turned = slice(None, questions.straight), slice(questions.straight, None)
        straight = evidence((in_s[..., first], all_s), (in_c[..., first], all_c), line)
        around = evidence((in_c[..., turned], all_c), (in_s[..., turned], all_s), line)
        return np.concatenate((straight, around), axis=-1)


def _log_mean_exp(logs: Floats) -> Floats:
    top = np.maximum(logs.max(axis=-1), -1e3)
    with np.errstate(divide="ignore"):
        return np.asarray(top + np.log(np.exp(logs - top[..., None]).mean(axis=-1)))


ERRORS: Final = Gate("errors", rises, (Line(1.5, 0.003),), Line(1, 0.01))
LATENCY: Final = Gate("latency", slows, (Line(1, 0.03),), Line(1, 0.10))
FALLBACKS: Final = Gate("fallbacks", rises, (Line(1.5, 0.005),), Line(1, 0.03))
MISSING: Final = Gate("missing", rises, (Line(1.25, 0.02),), Line(1, 0.10))
OUTCOMES: Final = Gate("outcomes", shifts, (Line(1, 0.03), Line(2, 0.005)), Line(1, 0.10))
SCORES: Final = Gate("scores", shifts, (Line(1, 0.05),), Line(1, 0.15))
REASONS: Final = Gate("reasons", mixes, (Line(1, 0.10),), Line(1, 0.30))
MIXING: Final = Gate("mixing", rises, (Line(1, 0.25),), Line(1, 0.50), is_about_traffic=True)

GATES: Final = (ERRORS, LATENCY, FALLBACKS, MISSING, OUTCOMES, SCORES, REASONS, MIXING)

FAILURES: Final = Gate("failures", rises, (Line(1, 0.003),), Line(1, 0.01))
DISAGREEMENT: Final = Gate("disagreement", rises, (Line(1, 0.05),), Line(1, 0.10))
DISTANCE: Final = Gate("distance", rises, (Line(1, 0.10),), Line(1, 0.20))

SHADOW_GATES: Final = (FAILURES, DISAGREEMENT, DISTANCE)
"""Of a shadow against the champion on the same requests, see `pairs.py`."""
