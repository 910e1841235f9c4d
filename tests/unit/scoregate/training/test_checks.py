"""Data is checked at the door: every kind of fault fails its own check, and no value of a record is repeated."""

from __future__ import annotations

import datetime as dt
import os
from typing import Any

import numpy as np
import pandas as pd
import pytest

import toy
from scoregate.training import checks
from scoregate.training.checks import Door

ROWS = 200
UNTIL = dt.datetime(2024, 3, 1, tzinfo=dt.UTC)
LABEL_AFTER = "label_at is not before event_at"


def frames() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    at = pd.Series(pd.date_range("2024-01-01", periods=ROWS, freq="h", tz="UTC"))
    bad = pd.Series(rng.random(ROWS) < 0.2)
    ids = [f"secret{i}" for i in range(ROWS)]
    return {
        "records": pd.DataFrame(
            {
                "payment_id": ids,
                "event_at": at,
                "is_bad": bad,
                "label_at": (at + pd.Timedelta(days=1)).where(bad),
            }
        ),
        "requests": pd.DataFrame({"payment_id": ids, "amount_minor": rng.integers(1, 10_000, ROWS)}),
        "features": pd.DataFrame({"count_1d": rng.poisson(2, ROWS).astype(float), "never": np.full(ROWS, np.nan)}),
    }


def door(**changed: Any) -> Door:
    return Door(
        **{**frames(), **changed},
        schema=toy.Request.model_json_schema(),
        key="payment_id",
        label="is_bad",
        known_at="label_at",
        until=UNTIL,
        ranges={"count_1d": (0.0, 12.0)},
        known={"count_1d": 1.0, "never": 0.0},
    )


def failed(**changed: Any) -> list[str]:
    return [one["check"] for one in checks.run(door(**changed)) if not one["ok"]]


def test_sound_data_passes_every_check() -> None:
    """Kinds, keys, times, ranges and nulls are asked of all three tables; a feature nobody has may stay empty."""
    found = checks.run(door())

    assert [] == [one for one in found if not one["ok"]]
    assert {"records", "requests", "features"} == {one["check"].partition(":")[0] for one in found}
    assert len(found) >= 11


def change(table: str, column: str, place: int, value: Any) -> dict[str, pd.DataFrame]:
    frame = frames()[table]
    frame.loc[place, column] = value
    return {table: frame}


@pytest.mark.parametrize(
    ("changed", "check"),
    [
        (change("records", "payment_id", 1, "secret0"), "records: payment_id is unique"),
        (change("records", "payment_id", 1, None), "records: payment_id is never null"),
        (
            change("records", "event_at", 3, pd.Timestamp("2024-03-02", tz="UTC")),
            "records: event_at is not in the future",
        ),
        (change("requests", "amount_minor", 0, -5), "requests: amount_minor is in the range that serving takes"),
    ],
)
def test_a_fault_fails_its_own_check(changed: dict[str, pd.DataFrame], check: str) -> None:
    """One wrong record is enough, and nothing else is blamed for it."""
    assert [check] == failed(**changed)


def test_a_label_from_before_its_event_is_a_fault() -> None:
    """What is known before it happened was not known of this event."""
    records = frames()["records"]
    records["label_at"] = records["event_at"] - pd.Timedelta(seconds=1)

    assert [f"records: {LABEL_AFTER}"] == failed(records=records)


def test_a_missing_label_column_is_a_fault() -> None:
    """Whatever else is asked of the column fails, too, instead of ending the checks."""
    found = failed(records=frames()["records"].drop(columns="is_bad"))

    assert "records: has event_at, is_bad, label_at" in found
    assert all("is_bad" in check for check in found)


def test_features_beyond_training_or_gone_are_faults() -> None:
    """Tested records mostly lie where training was, and have what training had."""
    beyond, gone = frames()["features"], frames()["features"]
    beyond["count_1d"] += 20
    gone.loc[: ROWS // 2, "count_1d"] = np.nan

    assert ["features: count_1d is within its training range, mostly"] == failed(features=beyond)
    assert ["features: count_1d is missing no more often than in training, nearly"] == failed(features=gone)


def test_no_value_of_a_record_is_repeated() -> None:
    """Gates and reports are read by more people than the data may be."""
    found = checks.run(door(**change("records", "payment_id", 1, "secret0")))

    assert "secret" not in str(found)
    assert "2 of 200 records are not" in {one["observed"] for one in found}


def test_great_expectations_reports_to_nobody() -> None:
    """Whoever checks has its analytics switched off."""
    checks.run(door())

    assert os.environ["GX_ANALYTICS_ENABLED"] == "false"
