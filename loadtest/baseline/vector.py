"""The vector as a tutorial makes it: what the store holds, and a few comparisons with the request."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

CHANNELS = ("pos", "ecom", "atm", "transfer")
RISKY = ("digital", "electronics", "travel", "gambling", "cash", "payee")
DAY_S = 86_400


def vector(request: Mapping[str, Any], read: Mapping[str, Any], names: tuple[str, ...], now_s: float) -> list[float]:
    """Return the features in the order of `names`; nan where the store has null. `read`: features by name."""
    amount, mean = float(request["amount_minor"]), _number(read["account_mean_minor_30d"])
    spread = _number(read["account_std_minor_30d"])
    made = {
        "amount_minor": amount,
        "hour": now_s % DAY_S / 3_600,
        **{f"channel_is_{one}": float(request["channel"] == one) for one in CHANNELS},
        **{f"category_is_{one}": _same(read["category"], one) for one in RISKY},
        "account_age_days": (now_s - _number(read["opened_at"])) / DAY_S,
        "is_business": _same(read["segment"], "business"),
        "is_abroad": 1.0 - _same(read["home_country"], request["country"]),
        "is_elsewhere": 1.0 - _same(read["country"], request["country"]),
        "account_since_last_s": _since(read["account_last_s"], now_s),
        "amount_to_mean_30d": amount / mean,
        "amount_zscore_30d": (amount - mean) / (spread + 100.0),
        "device_since_last_s": _since(read["device_last_s"], now_s),
        "merchant_age_days": (now_s - _number(read["onboarded_at"])) / DAY_S,
        "amount_to_merchant_mean_30d": amount / _number(read["merchant_mean_minor_30d"]),
    }
    return [made[name] if name in made else _number(read[name]) for name in names]


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _same(value: str | None, other: str) -> float:
    return math.nan if value is None else float(value == other)


def _since(last_s: float | None, now_s: float) -> float:
    return math.nan if last_s is None else max(now_s - last_s, 0.0)
