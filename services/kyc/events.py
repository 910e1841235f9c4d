"""What kyc is told: applications that were not scored here, and what an analyst found."""

from __future__ import annotations

from typing import Any, Final, Literal

from scoregate.contract import CountEvent, Identifier, LabelEvent

from . import links
from .contract import EXAMPLE, Request
from .features import Hashed, entities, party

STREAM: Final = "applications"


def row(request: Request, hashed: Hashed) -> dict[str, Any]:
    """Return the columns of STREAM: keyed hashes alone, the columns of `keys.KEYS` and those that link applications."""
    return {**entities(request, hashed), "applicant_key": party(request, hashed), **links.columns(request, hashed)}


class Applied(CountEvent, Request):
    """An application that somebody else decided. One that was scored here is counted already."""

    type: Literal["applied"]


class Labelled(LabelEvent):
    """Whether the application was anomalous is known."""

    type: Literal["labelled"]
    application_id: Identifier
    is_anomalous: bool

    @property
    def is_bad(self) -> bool:
        return self.is_anomalous


EVENTS: Final = (Applied, Labelled)

_AT: Final = "2026-11-20T09:30:00Z"
EXAMPLES: Final[tuple[dict[str, Any], ...]] = (
    {"type": "applied", **EXAMPLE, "event_at": _AT},
    {"type": "labelled", "application_id": EXAMPLE["application_id"], "is_anomalous": False, "event_at": _AT},
)
"""One of each; `event_at` has to be moved to the last 30 days."""
