"""What fraud is told: payments that were carried out, what became of them, and facts about accounts and merchants."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal

from pydantic import Field

from scoregate.contract import CountEvent, Country, FactsEvent, Identifier, LabelEvent, Moment, ReverseEvent

from .contract import EXAMPLE, Request
from .features import entities

STREAM: Final = "transactions"

Hashed = Callable[[str, str], str]


def row(request: Request, hashed: Hashed) -> dict[str, Any]:
    """Return the columns of STREAM that tiles count by, and those that rebuild the request for training."""
    return {
        **entities(request, hashed),
        "amount_minor": request.amount_minor,
        "currency": request.currency,
        "channel": request.channel,
        "country": request.country,
        "transaction_id": request.transaction_id,
    }


class Settled(CountEvent, Request):
    """A transaction that was carried out. One that was scored here is counted already."""

    type: Literal["settled"]


class Reversed(ReverseEvent):
    """The transaction was undone: it leaves counts and sums."""

    type: Literal["reversed"]
    transaction_id: Identifier


class ChargedBack(LabelEvent):
    """The account's holder disowned the transaction: it happened, and is known fraud until a label says otherwise."""

    type: Literal["charged_back"]
    transaction_id: Identifier

    @property
    def is_bad(self) -> bool:
        return True


class Labelled(LabelEvent):
    """Whether the transaction was fraudulent is known."""

    type: Literal["labelled"]
    transaction_id: Identifier
    is_fraud: bool

    @property
    def is_bad(self) -> bool:
        return self.is_fraud


class Account(FactsEvent):
    """What is known of an account."""

    VIEW: ClassVar[str] = "account_profile"
    ENTITY: ClassVar[str] = "account_id"

    type: Literal["account"]
    account_id: Identifier
    opened_at: Moment
    home_country: Country
    segment: str = Field(pattern=r"^[a-z][a-z_]{0,31}$", description="Such as private or business.")

    def entity(self, hashed: Hashed) -> tuple[str, str]:
        return "account_key", hashed("account", self.account_id)


class Merchant(FactsEvent):
    """What is known of a merchant."""

    VIEW: ClassVar[str] = "merchant_profile"
    ENTITY: ClassVar[str] = "merchant_id"

    type: Literal["merchant"]
    merchant_id: Identifier
    category: str = Field(pattern=r"^[a-z][a-z_]{0,31}$", description="Such as grocery or travel.")
    country: Country
    onboarded_at: Moment

    def entity(self, hashed: Hashed) -> tuple[str, str]:
        return "merchant_id", self.merchant_id


EVENTS: Final = (Settled, Reversed, ChargedBack, Labelled, Account, Merchant)

_AT: Final = "2026-11-20T09:30:00Z"
EXAMPLES: Final[tuple[dict[str, Any], ...]] = (
    {"type": "settled", **EXAMPLE, "event_at": _AT},
    {"type": "reversed", "transaction_id": EXAMPLE["transaction_id"], "event_at": _AT},
    {"type": "charged_back", "transaction_id": EXAMPLE["transaction_id"], "event_at": _AT},
    {"type": "labelled", "transaction_id": EXAMPLE["transaction_id"], "is_fraud": False, "event_at": _AT},
    {
        "type": "account",
        "account_id": EXAMPLE["account_id"],
        "opened_at": "2021-05-03T00:00:00Z",
        "home_country": "DE",
        "segment": "private",
    },
    {
        "type": "merchant",
        "merchant_id": EXAMPLE["merchant_id"],
        "category": "grocery",
        "country": "DE",
        "onboarded_at": 1_546_300_800,
    },
)
"""One of each; `event_at` has to be moved to the last 30 days."""
