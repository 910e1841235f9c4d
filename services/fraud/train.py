"""What fraud trains: the label and when it arrives, the periods, the forest."""

from __future__ import annotations

import pyarrow as pa

from scoregate.settings import Settings
from scoregate.training import ByTime, Problem
from scoregate.training.dataset import read_stream

from .simulate import STREAM


def load(settings: Settings) -> pa.Table:
    return read_stream(settings, STREAM)


PROBLEM = Problem(
    load=load,
    label="is_fraud",
    known_at="label_at",
    # An account's payments are not independent of each other.
    group="account_id",
    split=ByTime(train_days=44, gap_days=7, test_days=14),
    headline="average_precision",
    parameters={"max_depth": 5, "eta": 0.05, "min_child_weight": 10, "subsample": 0.8, "colsample_bytree": 0.5},
    monotone={"merchant_risk_30d": 1},
)
