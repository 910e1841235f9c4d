"""What an onboarding application looks like on the wire."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any, ClassVar, Final

from pydantic import BeforeValidator, Field

from scoregate.contract import Country, Identifier, ScoreRequest


def _calendar_date(value: Any) -> Any:
    """Refuse numbers, which lax parsing would take for seconds since the epoch."""
    if isinstance(value, date) or (isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value)):
        return value
    # The value stays out of the message: it is personal.
    raise ValueError("must be a date written YYYY-MM-DD")


_CONTROLS, _SPACES = r"\x00-\x1f\x7f-\x9f\u2028\u2029", r"\x20\xa0\u1680\u2000-\u200a\u202f\u205f\u3000\ufeff"
ONE_LINE = rf"^[^{_CONTROLS}{_SPACES}][^{_CONTROLS}]*$"
"""Text in one line that does not begin with a space; without `\\s`, which JSON Schema reads otherwise than we do."""


class Request(ScoreRequest):
    """One application to open an account."""

    NATURAL_KEY: ClassVar[str] = "application_id"
    PERSONAL: ClassVar[frozenset[str]] = frozenset(
        {"name", "birth_date", "document_number", "address", "phone", "email", "device_id"}
    )

    application_id: Identifier = Field(description="The caller's id of this application.")
    name: str = Field(
        min_length=1,
        max_length=120,
        pattern=ONE_LINE,
        description="Full name as the applicant writes it, in any script.",
    )
    birth_date: Annotated[date, BeforeValidator(_calendar_date)] = Field(
        strict=False, ge=date(1900, 1, 1), description="Date of birth, YYYY-MM-DD, from 1900 on. Not in the future."
    )
    document_number: str = Field(
        min_length=1,
        max_length=32,
        pattern=r"^[A-Z0-9]+$",
        description="Number of the identity document as in its machine-readable zone, check digit last, no fillers.",
    )
    document_country: Country = Field(description="Country that issued the document, ISO 3166-1 alpha-2.")
    address: str = Field(
        min_length=1,
        max_length=200,
        pattern=ONE_LINE,
        description="Postal address in one line: street and number, postcode, city.",
    )
    phone: str = Field(pattern=r"^\+[1-9][0-9]{6,14}$", description="Telephone number, E.164.")
    email: str = Field(
        max_length=120,
        pattern=r"^[A-Za-z0-9._%+'\-]{1,64}@[A-Za-z0-9\-]+(\.[A-Za-z0-9\-]+)+$",
        description="E-mail address.",
    )
    device_id: Identifier = Field(description="Fingerprint of the device that the application came from.")
    ip_country: Country = Field(description="Country of the IP address that it came from, ISO 3166-1 alpha-2.")


EXAMPLE: Final[dict[str, Any]] = {
    "application_id": "app-2024-000117",
    "name": "Ana Example",
    "birth_date": "1989-04-23",
    "document_number": "L898902C36",
    "document_country": "DE",
    "address": "Lindenweg 12, 10115 Berlin",
    "phone": "+4915112345678",
    "email": "ana.example@example.com",
    "device_id": "dev-5f2b9c0a71d4",
    "ip_country": "DE",
}
"""An ordinary honest applicant."""
