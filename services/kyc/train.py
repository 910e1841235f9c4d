"""What is trained: what an ordinary application looks like, and what the labels that are known by then add to it."""

from __future__ import annotations

import pyarrow as pa

from scoregate.settings import Settings
from scoregate.training import ByTime, Problem
from scoregate.training.dataset import read_stream

from .features import FEATURES, LINKS
from .linkage import groups
from .simulate import STREAM

CONTRADICTIONS = ("wrong", "differ", "differs", "differences", "disposable", "scripts")


def load(settings: Settings) -> pa.Table:
    return read_stream(settings, STREAM)


PROBLEM = Problem(
    load=load,
    label="is_bad",
    objective="anomaly",
    # The generator's truth arrives as an analyst's would: days later.
    known_at="label_at",
    kind="kind",
    linked=groups,
    split=ByTime(train_days=44, gap_days=7, test_days=14),
    headline="average_precision",
    parameters={"max_depth": 5, "eta": 0.1, "min_child_weight": 10, "subsample": 0.8, "colsample_bytree": 0.7},
    # Few are bad: smaller steps, and leaves that two of them can fill.
    label_parameters={"max_depth": 4, "eta": 0.05, "min_child_weight": 2},
    rounds_at_most=200,
    # Odd in one direction only: nobody is suspect for having fewer links or contradictions than others.
    monotone={
        **dict.fromkeys(LINKS, 1),
        **{name: 1 for name in FEATURES if name.endswith(CONTRADICTIONS)},
        "email_name_overlap": -1,
    },
)
