"""Where each outcome begins, from the policy's costs, and what it would cost to begin it elsewhere.

With calibrated scores the least score from which an outcome is the cheapest follows from the costs and the amount alone
(`lowest_scores`). Whether that is where money is lost least is then asked of records scored out of sample: each
threshold is multiplied by FACTORS, the others stay, and the truth says what the decisions would have cost.

    expected    cost by the scores themselves: least at factor 1, by construction
    observed    cost by what really happened: least near factor 1 if the scores are calibrated where it matters

All figures are in minor units per 1,000 decisions; amounts of all currencies count alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from itertools import pairwise
from typing import Any, Final

import numpy as np

from scoregate.policy import Outcome, Override, Policy
from scoregate.training.resample import Draws, Floats, Ints, Measured, ratio

FACTORS: Final = (0.25, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 4.0)
SHIFTS: Final = {"minus_20_percent": 0.8, "plus_20_percent": 1.2}
BANDS: Final = 4
DECISIONS: Final = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Scored:
    """Records scored out of sample; row i is the same record in every member.

    `amount` is nan where it is not known; `floor` is the rank that rules and absent facts demand in any case; `draws`
    are of these records.
    """

    label: Ints
    score: Floats
    amount: Floats
    weight: Floats
    floor: Ints
    draws: Draws


def expected_costs(policy: Policy, score: Floats, amount: Floats) -> Floats:
    """Return the expected cost of every outcome (records × outcomes), minor units; with a label as score, the real."""
    columns = []
    for cost in policy.costs:
        bad = cost.if_bad_share * amount + cost.if_bad_minor
        good = cost.if_good_share * amount + cost.if_good_minor
        columns.append(cost.fixed_minor + score * bad + (1.0 - score) * good)
    return np.stack(columns, axis=1)


def lowest_scores(policy: Policy, amount: Floats) -> Floats:
    """Return for each amount and outcome the least score from which the outcome is at least this (inf: never)."""
    at_zero = expected_costs(policy, np.zeros_like(amount), amount)
    slope = expected_costs(policy, np.ones_like(amount), amount) - at_zero
    count = len(policy.outcomes)
    out = np.full((len(amount), count), np.inf)
    out[:, 0] = 0.0
    for rank in range(1, count):
        # Costs are straight lines in the score: a change happens at 0 or where two of them cross.
        crossings = [np.zeros_like(amount)]
        for mild in range(rank):
            for harsh in range(rank, count):
                with np.errstate(divide="ignore", invalid="ignore"):
                    gap = at_zero[:, harsh] - at_zero[:, mild]
                    crossings.append(gap / (slope[:, mild] - slope[:, harsh]))
        for at in crossings:
            inside = np.isfinite(at) & (at >= 0) & (at <= 1)
            cost = at_zero + np.where(inside, at, 0.0)[:, None] * slope
            mildest, harshest = cost[:, :rank].min(axis=1), cost[:, rank:].min(axis=1)
            begins = inside & (harshest <= mildest + 1e-9 * (1 + np.abs(mildest)))
            out[:, rank] = np.where(begins, np.minimum(out[:, rank], at), out[:, rank])
    return out


def ranks(policy: Policy, score: Floats, amount: Floats) -> Ints:
    """Return the rank of the outcome that `policy.weigh` gives each record."""
    known = np.nan_to_num(amount)
    found = (score[:, None] >= lowest_scores(policy, known)).sum(axis=1) - 1
    for override in policy.overrides:
        found = _moved(found, override.outcome.rank, score > override.above)
    return np.where(np.isnan(amount), policy.fallback.rank, found).astype(np.int64)


def _moved(found: Ints, rank: int, harsh: Any) -> Ints:
    return np.where(harsh, np.maximum(found, rank), np.minimum(found, rank - 1)).astype(np.int64)


class _Ledger:
    """What decisions cost the same records; those of unknown amount cost nothing that could be known."""

    def __init__(self, policy: Policy, records: Scored) -> None:
        amount = np.nan_to_num(records.amount)
        self._records = records
        self._weight = records.weight * ~np.isnan(records.amount)
        self._real = expected_costs(policy, records.label.astype(np.float64), amount)
        self._expected = expected_costs(policy, records.score, amount)

    def approving_all(self) -> Floats:
        """Approving all means all: no rule stands in the way."""
        return self._real[:, 0]

    def real(self, rank: Ints) -> Floats:
        return self._of(self._real, rank)

    def expected(self, rank: Ints) -> Floats:
        return self._of(self._expected, rank)

    def _of(self, costs: Floats, rank: Ints) -> Floats:
        final = np.maximum(rank, self._records.floor)
        return np.asarray(np.take_along_axis(costs, final[:, None], axis=1)[:, 0])

    def per_1000(self, *costs: Floats) -> list[Measured]:
        """Return the mean of each cost over the records, per 1,000 decisions."""
        columns = np.stack([*(self._weight * cost for cost in costs), self._weight], axis=1)
        total, drawn = self._records.draws.totals(columns)
        value = DECISIONS * ratio(total[:-1], total[-1])
        draws = DECISIONS * ratio(drawn[:, :-1], drawn[:, -1:])
        return [Measured.of(float(one), many) for one, many in zip(value, draws.T, strict=True)]


def money(policy: Policy, records: Scored) -> dict[str, Any]:
    """Return what the policy's decisions cost, what approving all would have, and what was saved.

    `expected_minor` is what the scores said that the decisions would cost: far from `cost_minor`, they mislead.
    """
    book, rank = _Ledger(policy, records), ranks(policy, records.score, records.amount)
    real, everyone = book.real(rank), book.approving_all()
    cost, expected, approving, saved = book.per_1000(real, book.expected(rank), everyone, everyone - real)
    return {
        "per_decisions": DECISIONS,
        "cost_minor": asdict(cost),
        "expected_minor": asdict(expected),
        "approve_all_minor": asdict(approving),
        "saved_minor": asdict(saved),
    }


def thresholds(policy: Policy, records: Scored) -> dict[str, Any]:
    """Return for each outcome but the mildest where it begins, the cost of beginning it elsewhere, and overrides."""
    derived = replace(policy, overrides=())
    book = _Ledger(derived, records)
    known = ~np.isnan(records.amount)
    lowest = lowest_scores(derived, np.nan_to_num(records.amount))
    rank = ranks(derived, records.score, records.amount)
    found: dict[str, Any] = {}
    for outcome in policy.outcomes[1:]:
        column = lowest[:, outcome.rank]

        def moved(factor: float, column: Floats = column, to: int = outcome.rank) -> Ints:
            return np.where(known, _moved(rank, to, records.score >= factor * column), rank)

        found[outcome.name] = _around(derived, records, book, rank, moved) | _bands(derived, records, outcome.rank)
    return {
        "per_decisions": DECISIONS,
        "outcomes": found,
        "overrides": [_overridden(policy, one, records, book) for one in policy.overrides],
    }


def _around(policy: Policy, records: Scored, book: _Ledger, rank: Ints, moved: Any) -> dict[str, Any]:
    base, base_expected = book.real(rank), book.expected(rank)
    shifted = {factor: moved(factor) for factor in FACTORS}
    real = [book.real(one) for one in shifted.values()]
    more_expected = (book.expected(one) - base_expected for one in shifted.values())
    figures = book.per_1000(*real, *(one - base for one in real), *more_expected)
    observed, extra, expected = (figures[i : i + len(FACTORS)] for i in range(0, len(figures), len(FACTORS)))
    curve = [
        {
            "factor": factor,
            "cost_minor": asdict(cost),
            "extra_minor": asdict(more),
            "expected_extra_minor": by_score.value,
        }
        for factor, cost, more, by_score in zip(FACTORS, observed, extra, expected, strict=True)
    ]
    best = min(range(len(FACTORS)), key=lambda i: (extra[i].value, abs(FACTORS[i] - 1)))
    shifts = {name: asdict(extra[FACTORS.index(factor)]) for name, factor in SHIFTS.items()}
    return {"curve": curve, "optimum": {"factor": FACTORS[best], "extra_minor": asdict(extra[best])}, "shift": shifts}


def _bands(policy: Policy, records: Scored, rank: int) -> dict[str, Any]:
    """Return where the outcome begins at the median amount, and at the median of each band of equal mass."""
    if policy.amount_feature is None:
        return {"score": _score(policy, 0.0, rank), "amount_minor": None, "bands": []}
    known = ~np.isnan(records.amount)
    amount, weight = records.amount[known], records.weight[known]
    middle = _quantiles(amount, weight, [0.5])[0]
    edges = np.unique(_quantiles(amount, weight, np.arange(BANDS + 1) / BANDS))
    bands = []
    for low, high in pairwise(edges):
        inside = (amount >= low) & ((amount < high) | (high == edges[-1]))
        median = _quantiles(amount[inside], weight[inside], [0.5])[0]
        bands.append(
            {
                "from_minor": float(low),
                "to_minor": float(high),
                "amount_minor": float(median),
                "score": _score(policy, median, rank),
            }
        )
    return {"score": _score(policy, middle, rank), "amount_minor": float(middle), "bands": bands}


def begins_at(policy: Policy, outcome: Outcome) -> float | None:
    """Return the least score of an outcome of a policy that knows no amounts."""
    return _score(policy, 0.0, outcome.rank)


def _score(policy: Policy, amount: float, rank: int) -> float | None:
    """Return where the outcome begins; None where it never does."""
    least = float(lowest_scores(policy, np.array([amount]))[0, rank])
    return least if np.isfinite(least) else None


def _quantiles(values: Floats, weight: Floats, at: Sequence[float] | Floats) -> Floats:
    order = np.argsort(values, kind="stable")
    mass = np.cumsum(weight[order])
    place = np.searchsorted(mass, np.asarray(at) * mass[-1]).clip(max=len(values) - 1)
    return np.asarray(values[order][place])


def _overridden(policy: Policy, override: Override, records: Scored, book: _Ledger) -> dict[str, Any]:
    """Return what a person put in the place of the costs, why, and what it costs more than without it."""
    others = tuple(one for one in policy.overrides if one is not override)
    with_it = ranks(policy, records.score, records.amount)
    without = ranks(replace(policy, overrides=others), records.score, records.amount)
    (extra,) = book.per_1000(book.real(with_it) - book.real(without))
    return {
        "outcome": override.outcome.name,
        "above": override.above,
        "reason": override.reason,
        "moved": int((with_it != without).sum()),
        "extra_minor": asdict(extra),
    }
