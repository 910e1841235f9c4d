"""The fraud vector: how a payment differs from what account, device and merchant usually do. Pure; on the hot path."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Final

from scoregate.features import FeatureRow
from scoregate.features.windows import DISTINCT_CAP, GRAIN_S, STRIDE, Windows, party_id, read

from .contract import Request

CHANNELS: Final = ("pos", "ecom", "atm", "transfer")
RISKY: Final = ("digital", "electronics", "travel", "gambling", "cash", "payee")
"""Categories that turn into money easily; the others are told apart well enough by channel and amount."""

PRIOR_RISK: Final = 0.005
PRIOR_EVENTS: Final = 200
"""A merchant's share of known fraud is drawn towards the overall one, as if it had this many payments more."""

FEATURES: Final = (
    "amount_minor",
    "hour",
    *(f"channel_is_{channel}" for channel in CHANNELS),
    *(f"category_is_{category}" for category in RISKY),
    "account_age_days",
    "is_business",
    "is_abroad",
    "is_elsewhere",
    "account_count_10m",
    "account_count_1h",
    "account_count_1d",
    "account_count_7d",
    "account_count_30d",
    "account_sum_minor_1h",
    "account_sum_minor_1d",
    "account_pace_1d",
    "account_merchants_1d",
    "account_merchants_30d",
    "account_since_last_s",
    "amount_to_mean_30d",
    "amount_zscore_30d",
    "merchant_is_usual_30d",
    "device_count_1h",
    "device_count_1d",
    "device_count_30d",
    "device_accounts_1d",
    "device_accounts_30d",
    "device_since_last_s",
    "device_age_days_30d",
    "device_is_usual_30d",
    "merchant_age_days",
    "merchant_count_10m",
    "merchant_pace_1h",
    "merchant_mean_minor_1h",
    "merchant_count_30d",
    "amount_to_merchant_mean_30d",
    "merchant_risk_30d",
)

_DAY_S: Final = GRAIN_S["days"]
_NAN: Final = math.nan
_party = lru_cache(maxsize=10_000)(party_id)
"""The same merchants come all the time."""


def entities(request: Request, hashed: Callable[[str, str], str]) -> dict[str, str]:
    """Return join key → value for every view: keyed hashes of what is personal."""
    return {
        "account_key": hashed("account", request.account_id),
        "device_key": hashed("device", request.device_id),
        "merchant_id": request.merchant_id,
    }


def vector(request: Request, row: FeatureRow, at_s: float) -> list[float]:
    """Return the values of FEATURES in their order; nan where nothing is known. `at_s`: seconds since the epoch."""
    amount, channel = float(request.amount_minor), request.channel
    category = row.get("merchant_profile", "category")
    home, based = row.get("account_profile", "home_country"), row.get("merchant_profile", "country")
    segment = row.get("account_profile", "segment")
    account, device = read(row, "account_tiles", at_s), read(row, "device_tiles", at_s)
    return [
        amount,
        at_s % _DAY_S / 3_600,
        *[1.0 if channel == kind else 0.0 for kind in CHANNELS],
        *([_NAN] * len(RISKY) if category is None else [1.0 if category == kind else 0.0 for kind in RISKY]),
        _days_since(row.get("account_profile", "opened_at"), at_s),
        _NAN if segment is None else float(segment == "business"),
        _NAN if home is None else float(home != request.country),
        _NAN if based is None else float(based != request.country),
        *_account(account, amount),
        _usual(account, row.get("account_tiles", "day_parties"), request.merchant_id, at_s),
        *_device(device),
        _age_days(row.get("device_tiles", "days"), at_s),
        _usual(device, row.get("device_tiles", "day_parties"), row.entities.get("account_key", ""), at_s),
        _days_since(row.get("merchant_profile", "onboarded_at"), at_s),
        *_merchant(read(row, "merchant_tiles", at_s), amount),
    ]


def _account(seen: Windows | None, amount: float) -> list[float]:
    if seen is None:
        return [_NAN] * 13
    count_1d, count_30d = seen.count("1d"), seen.count("30d")
    mean, spread = seen.mean_minor("30d"), seen.std_minor("30d")
    return [
        float(seen.count("10m")),
        float(seen.count("1h")),
        float(count_1d),
        float(seen.count("7d")),
        float(count_30d),
        float(seen.sum_minor("1h")),
        float(seen.sum_minor("1d")),
        30.0 * count_1d / count_30d if count_30d else _NAN,
        float(seen.distinct("1d")),
        float(seen.distinct("30d")),
        seen.since_last_s(),
        amount / mean,
        # One major unit more: an account that always pays the same is not infinitely surprised by a cent.
        (amount - mean) / (spread + 100.0),
    ]


def _device(seen: Windows | None) -> list[float]:
    if seen is None:
        return [_NAN] * 6
    return [
        float(seen.count("1h")),
        float(seen.count("1d")),
        float(seen.count("30d")),
        float(seen.distinct("1d")),
        float(seen.distinct("30d")),
        seen.since_last_s(),
    ]


def _merchant(seen: Windows | None, amount: float) -> list[float]:
    if seen is None:
        return [_NAN] * 6
    count_7d = seen.count("7d")
    fraud, events = seen.risk_30d()
    return [
        float(seen.count("10m")),
        168.0 * seen.count("1h") / count_7d if count_7d else _NAN,
        seen.mean_minor("1h"),
        float(seen.count("30d")),
        amount / seen.mean_minor("30d"),
        (fraud + PRIOR_RISK * PRIOR_EVENTS) / (events + PRIOR_EVENTS),
    ]


def _days_since(since_s: int | None, at_s: float) -> float:
    return _NAN if since_s is None else (at_s - since_s) / _DAY_S


def _usual(seen: Windows | None, pairs: list[int] | None, party: str, at_s: float) -> float:
    """1 if the entity dealt with the party in the running day or the 30 before, else 0; nan if that cannot be told."""
    if seen is None:
        return _NAN
    if not pairs:
        return 0.0
    if _party(party) in seen.parties("30d"):
        return 1.0
    today = int(at_s // _DAY_S)
    # A tile keeps so many parties and no more: where a day's list is full, this one may be what was cut off.
    days = [day for day in pairs[::2] if today - 30 <= day <= today]
    return _NAN if any(first == last for first, last in zip(days, days[DISTINCT_CAP:], strict=False)) else 0.0


def _age_days(days: list[int] | None, at_s: float) -> float:
    """Days since the entity's first day among the running one and the 30 before; nan without any."""
    if not days:
        return _NAN
    today = int(at_s // _DAY_S)
    age = next((today - day for day in days[::STRIDE] if day >= today - 30), -1)
    return float(age) if age >= 0 else _NAN
