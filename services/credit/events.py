"""What credit is told: facts about applicants, and which loans went bad."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Final, Literal

from scoregate.contract import FactsEvent, Identifier, LabelEvent

from .contract import EXAMPLE, ApplicantFacts, Request
from .features import FACTS_VIEW, entities

STREAM: Final = "loans"
"""No view counts it: it is kept beside the decisions, for training and for the comparison with what was served."""

Hashed = Callable[[str, str], str]


def row(request: Request, hashed: Hashed) -> dict[str, Any]:
    """Return what was asked for, and the keyed hash of who asked."""
    return {
        **entities(request, hashed),
        "application_id": request.application_id,
        "amount_minor": request.amount_minor,
        "price_minor": request.price_minor,
        "term_months": request.term_months,
        "currency": request.currency,
    }


class Facts(FactsEvent, ApplicantFacts):
    """What an applicant stated and the bureau knows; what is not named is not stated."""

    VIEW: ClassVar[str] = FACTS_VIEW
    ENTITY: ClassVar[str] = "applicant_id"

    type: Literal["facts"]
    applicant_id: Identifier

    def entity(self, hashed: Hashed) -> tuple[str, str]:
        return "applicant_key", hashed("applicant", self.applicant_id)


class Labelled(LabelEvent):
    """Whether the loan went bad is known."""

    type: Literal["labelled"]
    application_id: Identifier
    is_default: bool

    @property
    def is_bad(self) -> bool:
        return self.is_default


EVENTS: Final = (Facts, Labelled)

EXAMPLES: Final[tuple[dict[str, Any], ...]] = (
    {
        "type": "facts",
        "applicant_id": EXAMPLE["applicant_id"],
        "home": "rent",
        "records": False,
        "job": "fixed",
        "expenses": 73,
        "income": 129,
        "assets": 0,
        "debt": 0,
    },
    {
        "type": "labelled",
        "application_id": EXAMPLE["application_id"],
        "is_default": False,
        "event_at": "2026-11-20T09:30:00Z",
    },
)
"""One of each; `event_at` has to be moved to the last 30 days."""
