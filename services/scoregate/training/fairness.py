"""How a policy's decisions fall on segments of people: evidence only, what is protected is never a feature.

Per segment (one value of one protected attribute), with "approved" the mildest outcome, "good" who repaid:

    approval_rate                 approved among all
    adverse_impact_ratio          approval rate over that of the most approved segment, the reference
    good_approved_rate            approved among the good
    equal_opportunity_difference  good approved rate less that of the segment where it is highest
    good_refused_rate, bad_approved_rate      the two errors
    predicted_bad_rate, observed_bad_rate     mean score and share of bad; calibration_gap is observed less predicted

A segment of fewer than MIN_CELL records is listed as too small, and no comparison rests on it; a rate among fewer than
MIN_CELL good (or bad) records is null. Nothing is compared with a segment that is less than MIN_SHARE of the records
(the bound of 29 CFR 1607.15(A)(2)), nor with people whose attribute is not stated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from scoregate.training.resample import Draws, Floats, Ints, Measured, ratio

MIN_CELL: Final = 30
MIN_SHARE: Final = 0.02
FOUR_FIFTHS: Final = 0.8
BANDS: Final = 4
FEW_VALUES: Final = 10
NOT_STATED: Final = "not stated"

RULES: Final = {
    "approval_rate": "ECOA and Regulation B, 12 CFR 1002.4(a): no less favourable treatment on a prohibited basis",
    "adverse_impact_ratio": (
        "Effects test (12 CFR 1002.6(a), comment 6(a)-2; a proposal of 2025 would strike it: see what is in force), by "
        "the four-fifths rule of thumb of 29 CFR 1607.4(D): below 0.8 asks for a business need that nothing less "
        "disparate would serve"
    ),
    "equal_opportunity_difference": (
        "Effects test as above, among those who repaid (equal opportunity; Hardt, Price and Srebro 2016); "
        "examination for bias, Regulation (EU) 2024/1689, article 10(2)(f)"
    ),
    "calibration_gap": (
        "Empirically derived, demonstrably and statistically sound: Regulation B, 12 CFR 1002.2(p); "
        "outcomes analysis, Federal Reserve SR 11-7"
    ),
    "good_refused_rate": "Accuracy by group: Regulation (EU) 2024/1689, article 13(3)(b)",
    "bad_approved_rate": "Accuracy by group: Regulation (EU) 2024/1689, article 13(3)(b)",
}

Mask = NDArray[np.bool_]
Column = Sequence[Any]

_ALL, _APPROVED, _GOOD, _GOOD_APPROVED, _BAD, _BAD_APPROVED, _SCORE = range(7)


def segments(values: Column) -> list[str]:
    """Name the segment of each value: itself, or the band of equal mass that a number with many values falls into."""
    stated = [value for value in values if _is_stated(value)]
    if len(set(stated)) <= FEW_VALUES or isinstance(stated[0], str):
        return [str(value) if _is_stated(value) else NOT_STATED for value in values]
    ordered = np.sort(stated)
    edges = np.unique(ordered[[len(ordered) * i // BANDS for i in range(BANDS)]])
    names = [f"{low:g} to below {high:g}" for low, high in pairwise(edges)] + [f"{edges[-1]:g} and more"]
    return [
        names[int(np.searchsorted(edges, value, side="right")) - 1] if _is_stated(value) else NOT_STATED
        for value in values
    ]


def _is_stated(value: Any) -> bool:
    return value is not None and not (isinstance(value, float) and math.isnan(value))


def fairness(
    attributes: Mapping[str, Column],
    *,
    approved: Mask,
    bad: Ints,
    score: Floats,
    weight: Floats,
    draws: Draws,
    min_cell: int = MIN_CELL,
) -> dict[str, Any]:
    """Return the evidence for each protected attribute; `attributes` holds each record's value."""
    good = 1 - bad
    base = np.stack(
        [np.ones_like(score), approved, good, good * approved, bad, bad * approved, score], axis=1, dtype=np.float64
    )
    columns = base * weight[:, None]
    found = {
        name: _attribute(np.array(segments(values)), columns, base, draws, min_cell)
        for name, values in attributes.items()
    }
    return {"min_cell": min_cell, "rules": RULES, "attributes": found}


class _Segment:
    """Counts of one segment, and its rates as they are and in each resample."""

    def __init__(self, count: Floats, total: Floats, drawn: Floats, min_cell: int) -> None:
        self.count, self._total, self._drawn, self._min_cell = count, total, drawn, min_cell
        self.enough = bool(count[_ALL] >= min_cell)

    def rate(self, over: int, under: int) -> tuple[float, Floats]:
        """Return nan among too few."""
        if self.count[under] < self._min_cell:
            return float("nan"), np.full(len(self._drawn), np.nan)
        return float(self._total[over] / self._total[under]), ratio(self._drawn[:, over], self._drawn[:, under])


def _cells(segment: NDArray[Any], columns: Floats, base: Floats, draws: Draws, min_cell: int) -> dict[str, _Segment]:
    names, place = np.unique(segment, return_inverse=True)
    apart = np.concatenate([columns * (place == i)[:, None] for i in range(len(names))], axis=1)
    total, drawn = draws.totals(apart)
    width = columns.shape[1]
    return {
        str(name): _Segment(
            base[place == i].sum(axis=0),
            total[i * width : (i + 1) * width],
            drawn[:, i * width : (i + 1) * width],
            min_cell,
        )
        for i, name in enumerate(names)
    }


def _attribute(segment: NDArray[Any], columns: Floats, base: Floats, draws: Draws, min_cell: int) -> dict[str, Any]:
    cells = _cells(segment, columns, base, draws, min_cell)
    approval = {name: cell.rate(_APPROVED, _ALL) for name, cell in cells.items()}
    opportunity = {name: cell.rate(_GOOD_APPROVED, _GOOD) for name, cell in cells.items()}
    large = [n for n, cell in cells.items() if n != NOT_STATED and cell.count[_ALL] >= MIN_SHARE * len(segment)]
    reference, most_open = _highest(approval, large), _highest(opportunity, large)
    nobody = (float("nan"), np.full(len(draws.times), np.nan))
    against = (approval.get(reference, nobody), opportunity.get(most_open, nobody))
    figures = {
        name: _figures(cell, approval[name], opportunity[name], *against) for name, cell in cells.items() if cell.enough
    }
    ratios = {name: found["adverse_impact_ratio"] for name, found in figures.items()}
    gaps = {name: found["equal_opportunity_difference"] for name, found in figures.items()}
    return {
        "reference": reference or None,
        "adverse_impact_ratio": _worst(ratios),
        "below_four_fifths": sorted(n for n, m in ratios.items() if m.value < FOUR_FIFTHS),
        "equal_opportunity_difference": _worst(gaps),
        "segments": {name: _as_json(cell, figures.get(name)) for name, cell in cells.items()},
    }


def _figures(
    cell: _Segment,
    approval: tuple[float, Floats],
    opportunity: tuple[float, Floats],
    reference: tuple[float, Floats],
    most_open: tuple[float, Floats],
) -> dict[str, Measured]:
    predicted, observed = cell.rate(_SCORE, _ALL), cell.rate(_BAD, _ALL)
    bad_approved = cell.rate(_BAD_APPROVED, _BAD)
    return {
        "approval_rate": Measured.of(*approval),
        "adverse_impact_ratio": Measured.of(float(ratio(approval[0], reference[0])), ratio(approval[1], reference[1])),
        "good_approved_rate": Measured.of(*opportunity),
        "equal_opportunity_difference": _difference(opportunity, most_open),
        "good_refused_rate": Measured.of(1 - opportunity[0], 1 - opportunity[1]),
        "bad_approved_rate": Measured.of(*bad_approved),
        "predicted_bad_rate": Measured.of(*predicted),
        "observed_bad_rate": Measured.of(*observed),
        "calibration_gap": _difference(observed, predicted),
    }


def _difference(one: tuple[float, Floats], other: tuple[float, Floats]) -> Measured:
    if not np.isfinite(one[0]) or not np.isfinite(other[0]):
        return Measured.of(float("nan"), [])
    return Measured.of(one[0] - other[0], one[1] - other[1])


def _highest(rates: Mapping[str, tuple[float, Floats]], among: Sequence[str]) -> str:
    known = {name: rates[name][0] for name in among if np.isfinite(rates[name][0])}
    return max(known, key=lambda name: known[name]) if known else ""


def _worst(figures: Mapping[str, Measured]) -> dict[str, Any] | None:
    """Return the lowest figure of all segments, with its segment."""
    known = {name: figure for name, figure in figures.items() if np.isfinite(figure.value)}
    if len(known) < 2:
        return None
    name = min(known, key=lambda one: known[one].value)
    return {"segment": name, **asdict(known[name])}


def _as_json(cell: _Segment, figures: Mapping[str, Measured] | None) -> dict[str, Any]:
    counts = {"records": int(cell.count[_ALL]), "bad": int(cell.count[_BAD]), "too_small": figures is None}
    if figures is None:
        return counts
    return counts | {name: asdict(m) if np.isfinite(m.value) else None for name, m in figures.items()}
