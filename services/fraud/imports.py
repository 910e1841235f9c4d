"""Transactions from elsewhere: which columns they need, how they become our stream, and the vector of many at once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoregate.training.bulk import BulkWindows, Floats, Ints
from scoregate.training.hashes import hashed_column
from scoregate.training.imports.columns import Checked, Key

from .features import CHANNELS, FEATURES, PRIOR_EVENTS, PRIOR_RISK, RISKY
from .keys import KEYS as HASHED
from .simulate import STREAM

__all__ = ["KEYS", "OPTION", "STREAM", "bounds", "matrix", "rows", "windowed"]

OPTION: Final = "transactions"
KEYS: Final = (
    Key("transaction_id", "id"),
    Key("event_at", "time"),
    Key("account_id", "name"),
    Key("counterparty_id", "name"),
    Key("amount", "amount"),
    Key("is_fraud", "flag"),
    Key("device_id", "name", required=False),
    Key("country", "text", required=False),
    Key("channel", "text", required=False),
    Key("label_at", "time", required=False),
)

OTHER: Final = "other"
_SPOKEN: Final = {
    "pos": ("pos", "chip", "swipe", "contactless", "card_present", "cp", "in_store", "instore", "terminal", "nfc"),
    "ecom": (
        "ecom",
        "ecommerce",
        "e_commerce",
        "online",
        "web",
        "internet",
        "card_not_present",
        "cnp",
        "mobile",
        "app",
    ),
    "atm": ("atm", "cash", "withdrawal", "cash_withdrawal", "cash_out"),
    "transfer": ("transfer", "wire", "sepa", "payment", "credit_transfer", "p2p"),
}
"""What others call our channels, in lower case with underscores; anything else is `other`."""

_NO_COUNTRY: Final = "ZZ"
_NO_CURRENCY: Final = "XXX"
"""Codes that the standards keep for "not known" (ISO 3166-1, user-assigned) and "no currency" (ISO 4217)."""

NO_DEVICE: Final = "unknown"

MOST_MINOR: Final = 1_000_000_000


def bounds(found: Checked) -> tuple[str, Any]:
    """Return which rows serving would take, and a sentence about the others."""
    minor = _minor(found)
    fits = pc.and_(pc.greater(minor, 0), pc.less_equal(minor, MOST_MINOR))
    return "amounts of less than a hundredth or more than 10,000,000, which no request may have", fits


def rows(found: Checked, hashed: Callable[[str, str], str], delay_us: int) -> pa.Table:
    """Return the stream's columns. Ids of persons and payments are keyed hashes; a counterparty keeps its name, by
    which requests ask for it, unless no request could carry it."""
    event_at = found["event_at"]
    account = hashed_column(found["account_id"], *_kind("account_id", hashed))
    has_device = "device_id" in found
    device = hashed_column(found["device_id"], *_kind("device_id", hashed)) if has_device else None
    is_fraud = found["is_fraud"]
    nothing = pa.nulls(len(event_at), pa.string())
    columns = {
        "transaction_id": hashed_column(found["transaction_id"], "transaction", hashed),
        "event_at": event_at,
        "account_id": account,
        "device_id": nothing.fill_null(NO_DEVICE) if device is None else pc.fill_null(device, NO_DEVICE),
        "merchant_id": found.as_identifier("counterparty_id", "merchant", hashed),
        "amount_minor": _minor(found),
        "currency": nothing.fill_null(_NO_CURRENCY),
        "channel": _channel(found["channel"]) if "channel" in found else nothing.fill_null(OTHER),
        "country": _country(found["country"]) if "country" in found else nothing.fill_null(_NO_COUNTRY),
        "is_fraud": is_fraud,
        "label_at": found.label_at(is_fraud, delay_us),
        "account_key": account,
        "device_key": nothing if device is None else device,
    }
    return pa.table(columns)


def windowed(found: Checked) -> tuple[str, ...]:
    """Return the views of which the file says something."""
    return ("account_tiles", "merchant_tiles", *(("device_tiles",) if "device_id" in found else ()))


def matrix(rows: pa.Table, windows: Mapping[str, BulkWindows], at_us: Ints) -> Floats:
    """Return FEATURES of each row as `features.vector` computes them, without profiles of accounts and merchants."""
    amount = rows["amount_minor"].to_numpy().astype(np.float64)
    account, merchant = windows["account_tiles"], windows["merchant_tiles"]
    device = windows.get("device_tiles")
    out: dict[str, Any] = {"amount_minor": amount, "hour": at_us / 1e6 % 86_400 / 3_600}
    for channel in CHANNELS:
        out[f"channel_is_{channel}"] = pc.equal(rows["channel"], channel).to_numpy(zero_copy_only=False)
    profiles = ("account_age_days", "is_business", "is_abroad", "is_elsewhere", "merchant_age_days")
    out |= dict.fromkeys((*(f"category_is_{category}" for category in RISKY), *profiles), np.nan)

    for window in ("10m", "1h", "1d", "7d", "30d"):
        out[f"account_count_{window}"] = account.count(window)
    mean, spread = account.mean_minor("30d"), account.std_minor("30d")
    out |= {
        "account_sum_minor_1h": account.sum_minor("1h"),
        "account_sum_minor_1d": account.sum_minor("1d"),
        "account_pace_1d": _per(30.0 * out["account_count_1d"], out["account_count_30d"]),
        "account_merchants_1d": account.distinct("1d"),
        "account_merchants_30d": account.distinct("30d"),
        "account_since_last_s": account.since_last_s(),
        "amount_to_mean_30d": amount / mean,
        "amount_zscore_30d": (amount - mean) / (spread + 100.0),
        "merchant_is_usual_30d": account.met_30d(rows["merchant_id"]),
    }
    if device is None:
        out |= dict.fromkeys((name for name in FEATURES if name.startswith("device_")), np.nan)
    else:
        no_device = pc.is_null(rows["device_key"]).to_numpy(zero_copy_only=False)
        said = {
            **{f"device_count_{window}": device.count(window) for window in ("1h", "1d", "30d")},
            **{f"device_accounts_{window}": device.distinct(window) for window in ("1d", "30d")},
            "device_since_last_s": device.since_last_s(),
            "device_age_days_30d": device.age_days_30d(),
            "device_is_usual_30d": device.met_30d(rows["account_key"]),
        }
        out |= {name: np.where(no_device, np.nan, values) for name, values in said.items()}
    count_30d = merchant.count("30d")
    fraud, events = merchant.risk_30d()
    out |= {
        "merchant_count_10m": merchant.count("10m"),
        "merchant_pace_1h": _per(168.0 * merchant.count("1h"), merchant.count("7d")),
        "merchant_mean_minor_1h": merchant.mean_minor("1h"),
        "merchant_count_30d": count_30d,
        "amount_to_merchant_mean_30d": amount / merchant.mean_minor("30d"),
        "merchant_risk_30d": (fraud + PRIOR_RISK * PRIOR_EVENTS) / (events + PRIOR_EVENTS),
    }
    found = np.empty((rows.num_rows, len(FEATURES)))
    for place, name in enumerate(FEATURES):
        found[:, place] = out.pop(name)
    return found


def _kind(column: str, hashed: Callable[[str, str], str]) -> tuple[str, Callable[[str, str], str]]:
    return HASHED[column][1], hashed


def _minor(found: Checked) -> Any:
    return pc.cast(pc.round(pc.multiply(found["amount"], 100.0)), pa.int64())


def _channel(column: Any) -> Any:
    words = pc.replace_substring_regex(pc.utf8_lower(pc.utf8_trim_whitespace(column)), r"[\s\-]+", "_")
    ours = {said: channel for channel, spoken in _SPOKEN.items() for said in spoken}
    place = pc.index_in(words, value_set=pa.array(list(ours)))
    return pc.fill_null(pa.array(list(ours.values())).take(place), OTHER)


def _country(column: Any) -> Any:
    code = pc.utf8_upper(pc.utf8_trim_whitespace(column))
    is_code = pc.fill_null(pc.match_substring_regex(code, "^[A-Z]{2}$"), False)
    return pc.if_else(is_code, code, _NO_COUNTRY)


def _per(part: Floats, whole: Floats) -> Floats:
    return np.where(whole > 0, part / np.maximum(whole, 1.0), np.nan)
