"""Windows of many transactions at once against the same definition row by row in pandas: time, memory, equal values.

    python loadtest/windows.py --rows 2000000 --sample 400 --json

The rows by pandas are a sample, and their time is extrapolated to all; splitting the table by entity is not counted.
The definition is written here a second time, from raw events, and shares nothing with what it is compared with.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import time
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
from crowd import names, ranked

from fraud import imports
from fraud.features import FEATURES
from scoregate.training.bulk import EventIndex

DAY_US = 86_400_000_000
DAYS = 120
_KEYS = ("account_key", "device_key", "merchant_id")
VIEWS = {
    "account_tiles": ("account_key", "merchant_id"),
    "device_tiles": ("device_key", "account_key"),
    "merchant_tiles": ("merchant_id", None),
}


def transactions(rows: int, seed: int) -> pa.Table:
    """Return a stream with busy and quiet entities: shares fall by rank, so that some windows are very full."""
    rng = np.random.default_rng(seed)
    at = np.sort(19_700 * DAY_US + (rng.random(rows) * DAYS * DAY_US).astype(np.int64))
    account, merchant = (ranked(rng, rows, max(rows // per, 5)) for per in (60, 150))
    device = account + np.where(rng.random(rows) < 0.1, rng.integers(0, 50, rows), 0)
    is_fraud = rng.random(rows) < 0.008
    label = at + (rng.gamma(2.0, 4.0, rows) * DAY_US).astype(np.int64)
    stamp = pa.timestamp("us", tz="UTC")
    return pa.table(
        {
            "event_at": pa.array(at).cast(stamp),
            "account_key": names("a", account),
            "device_key": names("d", device),
            "merchant_id": names("m", merchant),
            "amount_minor": pa.array((rng.lognormal(8, 1, rows)).astype(np.int64) + 1),
            "channel": pa.array(["ecom"] * rows),
            "is_fraud": is_fraud,
            "label_at": pa.array(label, mask=~is_fraud).cast(stamp),
        }
    )


def bulk(rows: pa.Table) -> Any:
    at_us = rows["event_at"].cast(pa.int64()).to_numpy()
    return imports.matrix(rows, {view: _index(rows, *of).at(rows[of[0]], at_us) for view, of in VIEWS.items()}, at_us)


def _index(rows: pa.Table, key: str, party: str | None) -> EventIndex:
    found = {"key": rows[key], "event_us": rows["event_at"].cast(pa.int64()), "amount_minor": rows["amount_minor"]}
    found["label_us"] = rows["label_at"].cast(pa.int64())
    return EventIndex(pa.table(found | ({"party": rows[party]} if party else {})))


class RowByRow:
    """The definition in pandas, one row after the other, over tables split by entity."""

    def __init__(self, rows: pa.Table) -> None:
        frame = rows.to_pandas()
        frame["at"] = (
            frame["event_at"].astype("int64") // 1_000
            if "ns" in str(frame["event_at"].dtype)
            else frame["event_at"].astype("int64")
        )
        label = rows["label_at"].cast(pa.int64()).fill_null(np.iinfo(np.int64).max)
        frame["label"] = label.to_numpy()
        self.frame = frame
        columns = ["at", "amount_minor", "merchant_id", "account_key", "label"]
        self.by = {key: dict(iter(frame.groupby(key, sort=False)[columns])) for key in _KEYS}

    def row(self, place: int) -> dict[str, float]:
        one = self.frame.iloc[place]
        at, amount = int(one["at"]), float(one["amount_minor"])
        day = at // DAY_US
        account = self._before("account_key", one["account_key"], at)
        device = self._before("device_key", one["device_key"], at)
        merchant = self._before("merchant_id", one["merchant_id"], at)
        found: dict[str, float] = {}
        for window in ("10m", "1h", "1d", "7d", "30d"):
            found[f"account_count_{window}"] = len(_window(account, at, window))
        month = _window(account, at, "30d")
        mean = month["amount_minor"].mean()
        major = month["amount_minor"] // 100
        mean_major = month["amount_minor"].sum() / len(month) / 100 if len(month) else np.nan
        variance = (major * major).sum() / len(month) - mean_major * mean_major if len(month) > 1 else np.nan
        found["account_sum_minor_1h"] = _window(account, at, "1h")["amount_minor"].sum()
        found["account_sum_minor_1d"] = _window(account, at, "1d")["amount_minor"].sum()
        found["account_pace_1d"] = 30.0 * found["account_count_1d"] / len(month) if len(month) else np.nan
        found["account_merchants_1d"] = min(_window(account, at, "1d")["merchant_id"].nunique(), 32)
        found["account_merchants_30d"] = min(month["merchant_id"].nunique(), 32)
        kept = account[account["at"] >= (day - 37) * DAY_US]
        found["account_since_last_s"] = at / 1e6 - kept["at"].max() / 1e6 if len(kept) else np.nan
        found["amount_to_mean_30d"] = amount / mean
        found["amount_zscore_30d"] = (amount - mean) / (100 * np.sqrt(max(variance, 0.0)) + 100.0)
        for window in ("1h", "1d", "30d"):
            found[f"device_count_{window}"] = len(_window(device, at, window))
        for window in ("1d", "30d"):
            found[f"device_accounts_{window}"] = min(_window(device, at, window)["account_key"].nunique(), 32)
        kept = device[device["at"] >= (day - 37) * DAY_US]
        found["device_since_last_s"] = at / 1e6 - kept["at"].max() / 1e6 if len(kept) else np.nan
        lately = _window(device, at, "30d")
        found["device_age_days_30d"] = day - lately["at"].min() // DAY_US if len(lately) else np.nan
        found["merchant_count_10m"] = len(_window(merchant, at, "10m"))
        week = _window(merchant, at, "7d")
        found["merchant_pace_1h"] = 168.0 * len(_window(merchant, at, "1h")) / len(week) if len(week) else np.nan
        found["merchant_mean_minor_1h"] = _window(merchant, at, "1h")["amount_minor"].mean()
        found["merchant_count_30d"] = len(_window(merchant, at, "30d"))
        found["amount_to_merchant_mean_30d"] = amount / _window(merchant, at, "30d")["amount_minor"].mean()
        old = merchant[(merchant["at"] >= (day - 37) * DAY_US) & (merchant["at"] < (day - 7) * DAY_US)]
        found["merchant_risk_30d"] = ((old["label"] < at).sum() + 0.005 * 200) / (len(old) + 200)
        return found

    def _before(self, key: str, value: str, at: int) -> pd.DataFrame:
        events = self.by[key][value]
        return events[events["at"] < at]


def _window(events: pd.DataFrame, at: int, window: str) -> pd.DataFrame:
    tile, full = {"10m": (60, 10), "1h": (60, 60), "1d": (3_600, 24), "7d": (86_400, 7), "30d": (86_400, 30)}[window]
    return events[events["at"] >= (at // (tile * 1_000_000) - full) * tile * 1_000_000]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--sample", type=int, default=400, help="rows that pandas computes")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object on stdout")
    asked = parser.parse_args()

    rows = transactions(asked.rows, asked.seed)
    began = time.perf_counter()
    matrix = bulk(rows)
    bulk_s = time.perf_counter() - began
    peak_gb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6

    reference = RowByRow(rows)
    places = np.sort(np.random.default_rng(asked.seed).choice(asked.rows, asked.sample, replace=False)).tolist()
    began = time.perf_counter()
    expected = [reference.row(place) for place in places]
    row_by_row_s = (time.perf_counter() - began) * asked.rows / len(places)
    unequal: dict[str, int] = {}
    for place, said in zip(places, expected, strict=True):
        for name, value in said.items():
            got = matrix[place, FEATURES.index(name)]
            if not (got == value or (np.isnan(got) and np.isnan(value)) or abs(got - value) <= 1e-9 * abs(value)):
                unequal[name] = unequal.get(name, 0) + 1
    found = {
        "rows": asked.rows,
        "sample": len(places),
        "features": len(expected[0]),
        "bulk_s": round(bulk_s, 2),
        "peak_gb": round(peak_gb, 2),
        "row_by_row_s": round(row_by_row_s, 1),
        "times_faster": round(row_by_row_s / bulk_s, 1),
        "unequal": unequal,
    }
    print(json.dumps(found) if asked.json else "\n".join(f"{name:<14} {value}" for name, value in found.items()))
    return 1 if unequal else 0


if __name__ == "__main__":
    sys.exit(main())
