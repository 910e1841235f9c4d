"""The e-value of two shares: what it grows by, what it never does, and that it is one."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import betaln, xlog1py, xlogy

from scoregate.rollout.sequential import Line, log_e_above, log_e_below

EQUAL = Line(1, 0)


def by_hand(a: tuple[int, int], b: tuple[int, int], line: Line) -> float:
    """The same e-value by scipy: mixture likelihood over the largest on the line."""

    def likelihood(p: float) -> float:
        q = line.times * p + line.plus
        return float(
            xlogy(a[0], p) + xlog1py(a[1] - a[0], -p) + xlogy(b[0], q) + xlog1py(b[1] - b[0], -min(q, 1 - 1e-15))
        )

    low, high = max(0.0, -line.plus / line.times), min(1.0, (1 - line.plus) / line.times)
    best = minimize_scalar(lambda p: -likelihood(p), bounds=(low, high), method="bounded", options={"xatol": 1e-12})
    mixture = sum(betaln(x + 0.5, n - x + 0.5) - betaln(0.5, 0.5) for x, n in (a, b))
    return float(mixture + best.fun)


@pytest.mark.parametrize("line", [EQUAL, Line(1, 0.03), Line(1.5, 0.003), Line(2, 0.005)])
def test_it_is_what_its_formula_says(line: Line) -> None:
    """Jeffreys' mixture of both arms over the largest likelihood that is tolerated."""

    assert by_hand((90, 9_000), (60, 1_000), line) == pytest.approx(float(log_e_above((90, 9_000), (60, 1_000), line)))


def test_below_is_above_seen_from_the_other_side() -> None:
    """That b is below a line of a is that its complement is above the line's."""
    below = log_e_below((90, 900), (10, 100), Line(1, 0.10))
    above = log_e_above((810, 900), (90, 100), Line(1, -0.10))

    assert float(below) == pytest.approx(float(above))


@pytest.mark.parametrize("b", [(0, 100), (5, 100), (10, 100), (0, 0)])
def test_nothing_speaks_against_what_is_within_the_line(b: tuple[int, int]) -> None:
    """A share that is not above the line, or was never seen, is no evidence."""

    assert -math.inf == float(log_e_above((100, 1_000), b, Line(1, 0.0)))


def test_its_mean_is_one_at_most() -> None:
    """An e-value: whatever the common share, its mean over all that may be seen does not exceed 1."""
    stable, canary = 40, 12
    x, y = np.meshgrid(np.arange(stable + 1), np.arange(canary + 1), indexing="ij")
    e = np.exp(log_e_above((x, stable), (y, canary), EQUAL)) + np.exp(log_e_below((x, stable), (y, canary), EQUAL))

    for share in (0.001, 0.02, 0.1, 0.5, 0.9):
        chance = np.exp(
            betaln_free(x, stable) + xlogy(x, share) + xlog1py(stable - x, -share)
            + betaln_free(y, canary) + xlogy(y, share) + xlog1py(canary - y, -share)
        )  # fmt: skip
        assert chance.sum() == pytest.approx(1)
        assert (chance * e).sum() <= 1


def betaln_free(x: np.ndarray, n: int) -> np.ndarray:
    """Log of n over x."""
    return -betaln(n - x + 1, x + 1) - np.log(n + 1)
