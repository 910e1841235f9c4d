"""What one feature predicts alone, and what was known before its time: where leaks show."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyarrow as pa

from scoregate.training import ByTime, Problem
from scoregate.training.dataset import Dataset, Ints
from scoregate.training.evaluate import measure
from scoregate.training.imports import leak
from scoregate.training.vectors import Floats

RECALL: Final = "recall_at_fpr_0.001"


def alone(data: Dataset, names: tuple[str, ...]) -> dict[str, tuple[float, float]]:
    """Return each feature's ROC-AUC and recall at 0.1 % false positives by itself, with the labels that are true.

    On the training records, both 0 where too few of them are bad to tell.
    """
    train = data.train
    label, weight = data.label[train], data.weight[train]
    if min(label.sum(), len(label) - label.sum()) < leak.FEWEST_BAD:
        return dict.fromkeys(names, (0.0, 0.0))
    return {
        name: (leak.alone(column, label), recall_alone(column, label, weight))
        for name, column in zip(names, data.matrix[train].T, strict=True)
    }


def recall_alone(column: Floats, label: Ints, weight: Floats) -> float:
    """Return the share of bad records that lie beyond nearly all good ones, at either end.

    That a value is missing may be what tells: absent values count as the least, and as the most.
    """
    found = []
    for sign in (1.0, -1.0):
        for absent in (-np.inf, np.inf) if np.isnan(column).any() else (-np.inf,):
            score = np.where(np.isnan(column), absent, sign * column)
            # Ranks order like the values, and infinite ones can be subtracted.
            ranks = np.unique(score, return_inverse=True)[1].astype(np.float64)
            found.append(measure(label, ranks, weight)[RECALL])
    return max(found)


def known_early(data: Dataset, problem: Problem) -> dict[str, int]:
    """Count the records in which something was known that came at the request's time or later.

    A tile's last event must lie before the request, a learnt label must have arrived before the test period, and by
    time no training record may lie in it.
    """
    at_us = data.at_us
    found = {}
    for view in data.plan.views:
        column = f"{view.name}__last_event_us"
        if data.views is not None and column in data.views.column_names:
            last = _times(data.views[column], np.iinfo(np.int64).min)
            found[f"an event of {view.name}"] = int((last >= at_us).sum())
    starts = at_us[data.test].min()
    if problem.known_at in data.rows.column_names:
        arrived = _times(data.rows[problem.known_at], np.iinfo(np.int64).max)
        found["a label that training learnt"] = int((data.train & (data.learned > 0) & (arrived >= starts)).sum())
    if isinstance(problem.split, ByTime):
        found["a training record of the test period"] = int((data.train & (at_us >= starts)).sum())
    return found


def _times(column: pa.ChunkedArray, absent: int) -> Ints:
    return np.asarray(column.cast(pa.int64()).fill_null(absent).to_numpy(), np.int64)
