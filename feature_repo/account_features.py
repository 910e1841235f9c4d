"""What is known of an account, and what it did."""

from __future__ import annotations

from datetime import timedelta

from feast.types import Int64, String

from entities import account
from sources import facts, tiles

account_profile = facts(
    "account_profile",
    account,
    timedelta(days=7),
    {"opened_at": Int64, "home_country": String, "segment": String},
)
account_tiles = tiles("account_tiles", account, "transactions", party="merchant_id", amount="amount_minor")
