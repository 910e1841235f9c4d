"""What is known of a merchant, and what was paid to it. A merchant has too many customers to keep them apart."""

from __future__ import annotations

from datetime import timedelta

from feast.types import Int64, String

from entities import merchant
from sources import facts, tiles

merchant_profile = facts(
    "merchant_profile",
    merchant,
    timedelta(days=30),
    {"category": String, "country": String, "onboarded_at": Int64},
)
merchant_tiles = tiles("merchant_tiles", merchant, "transactions", amount="amount_minor")
