"""From steps of likeness to the probability that two records are one person, learned from the records themselves.

    odds = matches / other pairs  ×  Π over parts  m(step) / u(step)

`u`, how often strangers are that alike, comes from random pairs. `m`, how often a person is that alike to themselves,
comes from expectation and maximisation over the pairs that share a key, with all others taken for strangers (Fellegi
and Sunter 1969; Winkler 2000). Usual values weigh like FEW pairs, so that a small file cannot learn nonsense.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from scoregate.values import frozen

Floats = NDArray[np.float64]
Steps = NDArray[np.int8]

FEW: Final = 500.0
ROUNDS: Final = 30


@frozen
class Part:
    """One part that is compared; `usual` says how alike a person is to themselves, from step 1 on.

    `least`: how often others are that alike at least, whatever random pairs say: they hold hardly any household.
    """

    name: str
    usual: tuple[float, ...]
    least: float = 0.0


def probabilities(parts: Sequence[Part], steps: Steps, strangers: Steps, all_pairs: float) -> Floats:
    """Return the probability of each pair; `steps` are of the pairs, `strangers` of random ones (pairs × parts)."""
    usual = [np.array(part.usual) / sum(part.usual) for part in parts]
    u = [
        np.maximum(_shares(strangers[:, i], np.ones(len(strangers)), one / len(one)), parts[i].least)
        for i, one in enumerate(usual)
    ]
    m = usual
    # At first one pair in two hundred that share a key; whatever it is, the rounds move it.
    matches = max(len(steps) / 200, 1.0)
    found = np.zeros(len(steps))
    for _ in range(ROUNDS):
        log_odds = np.full(len(steps), np.log(matches / all_pairs))
        for i in range(len(parts)):
            log_odds += np.append(0.0, np.log(m[i] / u[i]))[steps[:, i]]
        found = 1.0 / (1.0 + np.exp(-np.clip(log_odds, -50, 50)))
        matches = max(float(found.sum()), 1.0)
        m = [_shares(steps[:, i], found, FEW * one) for i, one in enumerate(usual)]
    return found


def _shares(steps: Steps, weight: Floats, before: Floats) -> Floats:
    """Return the share of each step, from 1 on, among the pairs that have the part; `before` counts as seen."""
    seen = np.bincount(steps, weight, len(before) + 1)[1:] + before
    return np.asarray(seen / seen.sum())
