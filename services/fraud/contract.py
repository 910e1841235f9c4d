"""What fraud is asked: one transaction, before it is carried out."""

from __future__ import annotations

from typing import Any, ClassVar, Literal

from scoregate.contract import AmountMinor, Country, Currency, Identifier, ScoreRequest


class Request(ScoreRequest):
    """A transaction."""

    NATURAL_KEY: ClassVar[str] = "transaction_id"
    PERSONAL: ClassVar[frozenset[str]] = frozenset({"account_id", "device_id"})

    transaction_id: Identifier
    account_id: Identifier
    device_id: Identifier
    merchant_id: Identifier
    amount_minor: AmountMinor
    currency: Currency
    channel: Literal["pos", "ecom", "atm", "transfer", "other"]
    country: Country


EXAMPLE: dict[str, Any] = {
    "transaction_id": "txn_example_1",
    "account_id": "acc_000712",
    "device_id": "dev_e705952bf04551b0",
    "merchant_id": "mer_000178",
    "amount_minor": 2_480,
    "currency": "EUR",
    "channel": "pos",
    "country": "DE",
}
"""Somebody pays by card where they often do."""
