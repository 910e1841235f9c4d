"""Features that alone predict too well: most likely they were written down after the outcome was known.

A feature is cut into bins, missing being one of its own, and each record is scored by the bad share of its bin among
the other half of the records. So any shape of dependence counts, and a feature of many values gains nothing by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from scoregate.errors import ScoregateError

MOST_AUC: Final = 0.98
"""A single honest feature stays far below: 0.75 is much in credit, 0.95 in payments."""

FEWEST_BAD: Final = 20
_BINS: Final = 50
_PRIOR: Final = 5.0

Labels = NDArray[Any]


def check(columns: Mapping[str, Any], label: Labels, file: str) -> None:
    """Stop at features that predict the label too well alone; nothing is told of fewer than FEWEST_BAD bad records.

    `columns`: floats with nan for missing, or codes of categories.

    Raises:
        ScoregateError: names them, and of how many rows that is said.
    """
    found = leaks(columns, label)
    if found:
        named = ", ".join(f"{name} (AUC {auc:.3f})" for name, auc in found)
        raise ScoregateError(
            f"{file}: {named} alone tells bad from good in {len(label):,} rows better than {MOST_AUC:g}: it was most "
            "likely written after the outcome. Name it under ignore, or leave it out"
        )


def leaks(columns: Mapping[str, Any], label: Labels) -> Sequence[tuple[str, float]]:
    """Return the features whose AUC alone is above MOST_AUC, the worst first."""
    if min(label.sum(), len(label) - label.sum()) < FEWEST_BAD:
        return []
    aucs = [(name, alone(column, label)) for name, column in columns.items()]
    return sorted((one for one in aucs if one[1] > MOST_AUC), key=lambda one: -one[1])


def alone(column: Any, label: Labels) -> float:
    """Return the ROC-AUC of one feature, each half of the records scored by the other."""
    label = np.asarray(label, dtype=np.float64)
    bins, many = _binned(np.asarray(column, dtype=np.float64), label)
    half = np.random.default_rng(0).random(len(label)) < 0.5
    score = np.empty(len(label))
    for mine in (half, ~half):
        rate = label[~mine].mean()
        bad = np.bincount(bins[~mine], label[~mine], many) + _PRIOR * rate
        score[mine] = (bad / (np.bincount(bins[~mine], minlength=many) + _PRIOR))[bins[mine]]
    return float(roc_auc_score(label, score))


def _binned(column: Any, label: Labels) -> tuple[Any, int]:
    there = ~np.isnan(column)
    known = column[there]
    values = np.unique(known)
    if len(values) > _BINS:
        # Cuts of both kinds: bad records are few, and what sets them apart may lie beyond every cut of the others.
        cuts = np.linspace(0, 1, _BINS + 1)
        parts = [part for part in (known[label[there] > 0], known[label[there] == 0]) if len(part)]
        values = np.unique(np.concatenate([np.quantile(part, cuts) for part in parts]))
    bins = np.zeros(len(column), np.int64)
    bins[there] = np.searchsorted(values, known, side="right")
    return bins, len(values) + 1
