"""What credit is asked: the terms of a loan and who wants it; facts about the applicant come from the feature store."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, Field

from scoregate.contract import STRICT, AmountMinor, Currency, Identifier, ScoreRequest

Money = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False, description="In major units.")]


class ApplicantFacts(BaseModel):
    """What an applicant stated and the bureau knows. Null is "not stated"; kinds are spelled as the source does."""

    model_config = STRICT

    home: Literal["owner", "rent", "parents", "priv", "other", "ignore"] | None = None
    records: bool | None = Field(None, description="Whether there is a negative credit record.")
    job: Literal["fixed", "freelance", "partime", "others"] | None = None
    expenses: Money | None = Field(None, description="A month, in major units.")
    income: Money | None = Field(None, description="A month, in major units.")
    assets: Money | None = None
    debt: Money | None = None


class Request(ScoreRequest):
    """A loan application."""

    NATURAL_KEY: ClassVar[str] = "application_id"
    PERSONAL: ClassVar[frozenset[str]] = frozenset({"applicant_id"})
    RETENTION_MONTHS: ClassVar[int] = 25

    application_id: Identifier
    applicant_id: Identifier
    amount_minor: AmountMinor = Field(description="Amount to be lent, in minor units.")
    price_minor: AmountMinor = Field(description="Price of what the loan pays for, in minor units.")
    term_months: Annotated[int, Field(ge=1, le=120, description="Months of repayment, 1 to 120.")]
    currency: Currency
    applicant_facts: ApplicantFacts | None = Field(
        None,
        description="Facts in place of the stored ones, for this decision alone: they are not kept as facts, "
        "and the answer names them under `features.supplied`.",
    )


EXAMPLE: dict[str, Any] = {
    "application_id": "loan_example_1",
    "applicant_id": "app_000001",
    "amount_minor": 100_000,
    "price_minor": 165_800,
    "term_months": 60,
    "currency": "EUR",
}
