"""What the model sees of an application: whom it is linked to, and how well its own parts agree.

Pure, and the same in training and serving. A link is what an earlier application shares with this one under a keyed
hash. An honest second try shares everything with the first, and a family shares its home, so links count people:

    others      distinct applicants on the same thing, but for those who showed the same document
    strangers   others who never gave this address either

Raw counts and times since the last application are left out: lost sessions dominate them, and an anomaly model loses
half its precision on them. So is the length of a name, which says where a family comes from and little else.

Comparisons are 0 or 1. A feature is nan where its view is missing or there is nothing to compare with.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Final

from scoregate.features import FeatureRow, windows

from . import identities
from .contract import Request
from .links import alert

__all__ = ["FEATURES", "Hashed", "alert", "entities", "party", "vector", "viewed"]

Hashed = Callable[[str, str], str]
"""(kind of value, normalised value) → its keyed hash."""

DEVICES: Final = "applicant_device_tiles"
DOCUMENTS: Final = "document_tiles"
PHONES: Final = "phone_tiles"
EMAILS: Final = "email_tiles"
ADDRESSES: Final = "address_tiles"
"""Views that count applications by what they share; their parties are applicants as `party` hashes them."""

LINKS: Final = (
    "device_others_1d",
    "device_others_30d",
    "device_burst",
    "device_strangers_30d",
    "phone_others_30d",
    "phone_strangers_30d",
    "email_strangers_30d",
    "address_others_1d",
    "address_others_30d",
    "document_count_30d",
    "document_others_30d",
)
REQUEST: Final = (
    "age_years",
    "document_digit_wrong",
    "document_birth_differs",
    "phone_document_differ",
    "ip_document_differ",
    "ip_phone_differ",
    "country_differences",
    "email_name_overlap",
    "email_digits",
    "email_disposable",
    "name_scripts",
    "hour_utc",
)
FEATURES: Final[tuple[str, ...]] = (*LINKS, *REQUEST)
"""Names in matrix order."""

_PARTIES: Final = {"hours": "hour_parties", "days": "day_parties"}
_EPOCH_DAY: Final = 719_163
_DAY_S: Final = 86_400.0


def entities(request: Request, hashed: Hashed) -> dict[str, str]:
    """Return join key → keyed hash of the normalised value, for every view of links."""
    document = identities.document_key(request.document_number, request.document_country)
    return {
        "device_key": hashed("device", request.device_id),
        "document_key": hashed("document", document),
        "phone_key": hashed("phone", identities.phone_key(request.phone)),
        "email_key": hashed("email", identities.email_key(request.email)),
        "address_key": hashed("address", identities.address_key(request.address)),
    }


def party(request: Request, hashed: Hashed) -> str:
    """Return the keyed hash of the applicant as a person, whom the views of links count once."""
    return hashed("applicant", f"{identities.name_key(request.name)}|{request.birth_date.isoformat()}")


def vector(request: Request, row: FeatureRow, at_s: float) -> list[float]:
    """Return the features in matrix order; `at_s` is the time of the application, seconds since the epoch."""
    return _links(row, at_s) + _own(request, at_s)


def viewed(row: FeatureRow, at_s: float) -> dict[str, float]:
    """Return the features that derive from views alone: what can be made again without the person."""
    return dict(zip(LINKS, _links(row, at_s), strict=True))


def _links(row: FeatureRow, at_s: float) -> list[float]:
    same_document = _people(row, DOCUMENTS, "30d", at_s)
    at_home = _people(row, ADDRESSES, "30d", at_s)
    on_device = _people(row, DEVICES, "30d", at_s)
    on_phone = _people(row, PHONES, "30d", at_s)
    document = windows.read(row, DOCUMENTS, at_s)
    device_1d = _besides(_people(row, DEVICES, "1d", at_s), same_document)
    device_30d = _besides(on_device, same_document)
    return [
        device_1d,
        device_30d,
        # A shop's device has some applicants every day, a ring's has them all at once.
        device_1d / (1.0 + max(device_30d - device_1d, 0.0)),
        _besides(on_device, same_document, at_home),
        _besides(on_phone, same_document),
        _besides(on_phone, same_document, at_home),
        _besides(_people(row, EMAILS, "30d", at_s), same_document, at_home),
        _besides(_people(row, ADDRESSES, "1d", at_s), same_document),
        _besides(at_home, same_document),
        math.nan if document is None else float(document.count("30d")),
        math.nan if same_document is None else max(len(same_document) - 1.0, 0.0),
    ]


def _people(row: FeatureRow, view: str, window: str, at_s: float) -> set[int] | None:
    """Return the hashed applicants in a window of a view; None when the view is missing."""
    if not row.usable(view):
        return None
    grain, full = windows.WINDOWS[window]
    pairs = row.get(view, _PARTIES[grain]) or ()
    last = int(at_s // windows.GRAIN_S[grain])
    return {pairs[i + 1] for i in range(0, len(pairs), 2) if last - full <= pairs[i] <= last}


def _besides(people: set[int] | None, *known: set[int] | None) -> float:
    """Count the people who are in no other set, up to what tiles keep exactly; nan without the view itself.

    Where the others are missing nobody is known: an absent fact must not read as a good one.
    """
    if people is None:
        return math.nan
    left = people.difference(*(group for group in known if group))
    return float(min(len(left), windows.DISTINCT_CAP))


def _own(request: Request, at_s: float) -> list[float]:
    country = request.document_country
    local, _, domain = request.email.lower().rpartition("@")
    day, second = divmod(at_s, _DAY_S)
    phone_document = _differs(identities.phone_in(request.phone, country))
    ip_document = float(request.ip_country != country)
    ip_phone = _differs(identities.phone_in(request.phone, request.ip_country))
    return [
        (day + _EPOCH_DAY - request.birth_date.toordinal()) / 365.2425,
        float(not identities.document_holds(request.document_number)),
        _birth_differs(request),
        phone_document,
        ip_document,
        ip_phone,
        float((phone_document == 1.0) + (ip_document == 1.0) + (ip_phone == 1.0)),
        identities.email_overlap(request.name, request.email),
        float(sum(c.isdigit() for c in local)),
        float(domain in identities.DISPOSABLE),
        float(identities.script_count(request.name)),
        second / 3_600.0,
    ]


def _differs(same: bool | None) -> float:
    return math.nan if same is None else float(not same)


def _birth_differs(request: Request) -> float:
    """Whether the number contradicts the birth date; 0 where the country's numbers say nothing about it."""
    held = identities.birth_in_document(request.document_number, request.document_country)
    return float(held is not None and held != f"{request.birth_date:%y%m%d}")
