"""What a loan applicant stated and the bureau knows, in whole units of money. Age and marital status stay out."""

from __future__ import annotations

from datetime import timedelta

from feast.types import Bool, Float64, String

from entities import applicant
from sources import facts

applicant_facts = facts(
    "applicant_facts",
    applicant,
    timedelta(days=180),
    {
        "home": String,
        "records": Bool,
        "job": String,
        "expenses": Float64,
        "income": Float64,
        "assets": Float64,
        "debt": Float64,
    },
)
