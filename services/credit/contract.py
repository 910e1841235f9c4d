"""What credit is asked: the terms of a loan and who wants it; facts about the applicant come from the feature store."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import Field

from scoregate.contract import AmountMinor, Currency, Identifier, ScoreRequest


class Request(ScoreRequest):
    """A loan application."""

    NATURAL_KEY: ClassVar[str] = "application_id"
    PERSONAL: ClassVar[frozenset[str]] = frozenset({"applicant_id"})

    application_id: Identifier
    applicant_id: Identifier
    amount_minor: AmountMinor = Field(description="Amount to be lent, in minor units.")
    price_minor: AmountMinor = Field(description="Price of what the loan pays for, in minor units.")
    term_months: Annotated[int, Field(ge=1, le=120, description="Months of repayment, 1 to 120.")]
    currency: Currency


EXAMPLE: dict[str, Any] = {
    "application_id": "loan_example_1",
    "applicant_id": "app_000001",
    "amount_minor": 100_000,
    "price_minor": 165_800,
    "term_months": 60,
    "currency": "EUR",
}
