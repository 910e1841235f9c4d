"""Applications from elsewhere: which columns they need, how they become our stream, and the vector of each.

Nothing personal is written: the stream's days hold keyed hashes alone, and what the model sees of an application by
itself is computed as the file is read. What a row does not have is nan, whatever serving asks of requests.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoregate.features import FeatureRow
from scoregate.training.hashes import hashed_column
from scoregate.training.imports.columns import Checked, Key
from scoregate.training.vectors import Floats

from . import identities
from .contract import EXAMPLE, Request
from .features import FEATURES, REQUEST, entities, party, vector, viewed
from .simulate import STREAM

__all__ = ["KEYS", "OPTION", "PRIVATE", "STREAM", "bounds", "rows", "stand_in", "vectors", "windowed"]

OPTION: Final = "applications"
KEYS: Final = (
    Key("application_id", "id"),
    Key("name", "words"),
    Key("birth_date", "date"),
    Key("event_at", "time", required=False),
    Key("document", "text", required=False),
    Key("document_country", "text", required=False),
    Key("address", "words", required=False),
    Key("phone", "text", required=False),
    Key("email", "text", required=False),
    Key("device", "text", required=False),
    Key("ip_country", "text", required=False),
    Key("is_fraud", "flag", required=False),
    Key("label_at", "time", required=False),
    Key("ignore", "ignored", required=False),
)

PRIVATE: Final = (*REQUEST, "name")
"""Columns that are needed while training runs and never written."""

_FIELDS: Final = {
    "document": "document_number",
    "document_country": "document_country",
    "address": "address",
    "phone": "phone",
    "email": "email",
    "device": "device_id",
    "ip_country": "ip_country",
}
"""Optional keys of the map → fields of a request."""

_VIEWS: Final = {
    "document_tiles": "document",
    "phone_tiles": "phone",
    "email_tiles": "email",
    "address_tiles": "address",
    "applicant_device_tiles": "device",
}
_JOINED: Final = {
    "document_key": "document",
    "phone_key": "phone",
    "email_key": "email",
    "address_key": "address",
    "device_key": "device",
}
ABROAD: Final = "phone with its country"
_NEEDS: Final[Mapping[str, tuple[str, ...]]] = {
    "document_digit_wrong": ("document",),
    "document_birth_differs": ("document", "document_country"),
    "phone_document_differ": (ABROAD, "document_country"),
    "ip_document_differ": ("ip_country", "document_country"),
    "ip_phone_differ": ("ip_country", ABROAD),
    "country_differences": (ABROAD, "ip_country", "document_country"),
    "email_name_overlap": ("email",),
    "email_digits": ("email",),
    "email_disposable": ("email",),
    "hour_utc": ("event_at",),
}
"""What the model sees of a request → what the row must have for it."""


def bounds(found: Checked) -> tuple[str, Any]:
    """Return which rows serving would take, and a sentence about the others."""
    fits = pc.and_(pc.is_valid(found["name"]), pc.is_valid(found["birth_date"]))
    return "without a name or a date of birth, which every request has", fits


def rows(found: Checked, hashed: Callable[[str, str], str], delay_us: int) -> pa.Table:
    """Return the stream's columns, with those of PRIVATE beside them."""
    bad = found["is_fraud"] if "is_fraud" in found else pa.array(np.zeros(found.rows, bool))
    keys, own = [], []
    for request, has in _requests(found):
        joined = entities(request, hashed)
        mine = {key: joined[key] if has[name] else None for key, name in _JOINED.items()}
        keys.append({**mine, "applicant_key": party(request, hashed)})
        own.append(_own(request, has))
    columns = {name: pa.array([one[name] for one in keys], pa.string()) for name in keys[0]}
    columns |= dict(zip(REQUEST, map(pa.array, np.array(own).T), strict=True))
    return pa.table(
        {
            "application_id": hashed_column(found["application_id"], "application", hashed),
            "event_at": found["event_at"],
            "name": found["name"],
            "is_bad": bad,
            "label_at": found.label_at(bad, delay_us),
            **columns,
        }
    )


def windowed(found: Checked) -> tuple[str, ...]:
    """Return the views of which the file says something."""
    return tuple(view for view, name in _VIEWS.items() if name in found)


def vectors(rows: pa.Table, views: Iterator[FeatureRow]) -> Floats:
    """Return FEATURES of each row; `views` are as serving would have read them."""
    at_s = (np.asarray(rows["event_at"].cast(pa.int64())) / 1e6).tolist()
    own = [rows[name].to_numpy() for name in REQUEST]
    linked = [list(viewed(view, at).values()) for view, at in zip(views, at_s, strict=True)]
    return np.column_stack([np.array(linked).reshape(len(at_s), -1), *own])


def stand_in(row: Mapping[str, Any]) -> Request:
    """Return a request in the place of a row's: its hashed id and its time, and nobody's name.

    Golden requests go into the artefact, and nobody of the file is to be found there.
    """
    return Request.model_validate({**EXAMPLE, "application_id": row["application_id"], "event_at": row["event_at"]})


def _requests(found: Checked) -> Iterator[tuple[Request, dict[str, bool]]]:
    """Yield each row as a request, and which keys of the map it has; what it has not is the example's."""
    names = [key.name for key in KEYS if key.name in found]
    columns = [found[name].to_pylist() for name in names]
    for values in zip(*columns, strict=True):
        row = dict(zip(names, values, strict=True))
        has = {key.name: row.get(key.name) is not None for key in KEYS}
        has["event_at"] &= not found.is_made("event_at")
        has[ABROAD] = has["phone"] and row["phone"].startswith(("+", "00"))
        said = {_FIELDS[name]: _spelt(name, row[name]) for name in _FIELDS if has[name]}
        known = {"name": row["name"], "birth_date": row["birth_date"], "event_at": row["event_at"]}
        yield Request.model_construct(**{**_PLAIN, **known, **said}), has


def _own(request: Request, has: Mapping[str, bool]) -> list[float]:
    assert isinstance(request.event_at, dt.datetime)
    values = dict(zip(FEATURES, vector(request, FeatureRow(), request.event_at.timestamp()), strict=True))
    return [values[n] if all(has[need] for need in _NEEDS.get(n, ())) else np.nan for n in REQUEST]


def _spelt(name: str, value: str) -> str:
    """Spell a value as requests do; one that cannot be keeps its own spelling, which still compares."""
    if name == "document":
        return "".join(c for c in value.upper() if c.isalnum())
    if name in ("document_country", "ip_country"):
        return value.upper()
    if name == "phone":
        digits = identities.phone_key(value)
        return f"+{digits.removeprefix('00')}" if value.startswith(("+", "00")) else digits
    return value


_PLAIN: Final = {**EXAMPLE, "birth_date": dt.date.fromisoformat(str(EXAMPLE["birth_date"]))}
