r"""Evidence about two shares that may be looked at as often as one likes: a universal e-value; pure.

    H0: share of b ≤ times · share of a + plus            (or ≥, to show that b is clear of a line)
    e  = mixture likelihood of both arms / largest likelihood under H0

The mixture puts Jeffreys' Beta(½, ½) on each arm's share. For independent observations whose shares obey H0, the
largest e over all looks exceeds 1/α with probability α at most (Ville's inequality; Wasserman, Ramdas and
Balakrishnan, Universal inference, PNAS 2020), so neither the number of looks nor the time of stopping matters.
When requests are given to arms without regard to what they are, it holds for dependent outcomes too (bursts of one
account): for any fixed outcomes, the mixture over assignments is a likelihood of H0's own family.

Everything broadcasts: counts may be single numbers or arrays of them.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt

from scoregate.values import frozen

Floats = npt.NDArray[np.float64]

_HALVINGS = 48
_log_gamma = np.frompyfunc(math.lgamma, 1, 1)


@frozen
class Line:
    """A bound on one arm's share by the other's: `times` it, plus `plus` (a share, 0.01 is one point)."""

    times: float
    plus: float

    def __str__(self) -> str:
        relative = "" if self.times == 1 else f"{self.times:g} ×, "
        return f"{relative}{100 * self.plus:+g} points"


def log_e_above(a: tuple[Any, Any], b: tuple[Any, Any], line: Line) -> Floats:
    """Return log e against "b's share is at most the line of a's"; arms are (events, observations).

    -inf where b's share is not above the line: there is nothing that speaks against it.
    """
    return _log_e(a, b, line, above=True)


def log_e_below(a: tuple[Any, Any], b: tuple[Any, Any], line: Line) -> Floats:
    """Return log e against "b's share is at least the line of a's"; -inf where it is."""
    return _log_e(a, b, line, above=False)


def _log_e(a: tuple[Any, Any], b: tuple[Any, Any], line: Line, *, above: bool) -> Floats:
    x_a, n_a, x_b, n_b = np.broadcast_arrays(*(np.asarray(count, dtype=np.float64) for count in (*a, *b)))
    seen = (n_a > 0) & (n_b > 0)
    gap = x_b * n_a - (line.times * x_a + line.plus * n_a) * n_b
    where = seen & (gap > 0 if above else gap < 0)
    found = np.full(x_a.shape, -np.inf)
    if where.any():
        some = (x_a[where], n_a[where], x_b[where], n_b[where])
        found[where] = _mixture(*some[:2]) + _mixture(*some[2:]) - _largest(*some, line)
    return found


def _mixture(x: Floats, n: Floats) -> Floats:
    """Log of the mean likelihood of `x` events in `n` observations, over Beta(½, ½)."""
    terms = _log_gamma(x + 0.5) + _log_gamma(n - x + 0.5) - _log_gamma(n + 1.0)
    return np.asarray(terms, dtype=np.float64) - math.log(math.pi)


def _largest(x_a: Floats, n_a: Floats, x_b: Floats, n_b: Floats, line: Line) -> Floats:
    """Log of the largest likelihood on the line, where H0 is most like what was seen; concave in a's share."""
    low = np.full(x_a.shape, max(0.0, -line.plus / line.times))
    high = np.full(x_a.shape, min(1.0, (1 - line.plus) / line.times))
    with np.errstate(divide="ignore", invalid="ignore"):
        for _ in range(_HALVINGS):
            p = (low + high) / 2
            q = line.times * p + line.plus
            slope = x_a / p - (n_a - x_a) / (1 - p) + line.times * (x_b / q - (n_b - x_b) / (1 - q))
            low, high = np.where(slope > 0, p, low), np.where(slope > 0, high, p)
    p = (low + high) / 2
    return _likelihood(x_a, n_a, p) + _likelihood(x_b, n_b, np.clip(line.times * p + line.plus, 0.0, 1.0))


def _likelihood(x: Floats, n: Floats, p: Floats) -> Floats:
    return _times_log(x, p) + _times_log(n - x, 1 - p)


def _times_log(count: Floats, share: Floats) -> Floats:
    """count · log(share), 0 where the count is."""
    with np.errstate(divide="ignore"):
        return np.asarray(np.where(count > 0, count * np.log(np.maximum(share, 1e-300)), 0.0))
