"""Applications in bulk with the keyed hashes that the views of links count by."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Final

import pyarrow as pa

from .features import Hashed, entities, party

KEYS: Final = ("device_key", "document_key", "phone_key", "email_key", "address_key", "applicant_key")

_READ: Final = (
    "name", "birth_date", "document_number", "document_country", "address", "phone", "email", "device_id",
)  # fmt: skip


def keyed(table: pa.Table, hashed: Hashed) -> pa.Table:
    """Return the applications with the columns KEYS added, hashed by the code that serving uses."""
    requests: list[Any] = [SimpleNamespace(**row) for row in table.select(_READ).to_pylist()]
    keys = [{**entities(request, hashed), "applicant_key": party(request, hashed)} for request in requests]
    for name in KEYS:
        table = table.append_column(name, pa.array([row[name] for row in keys], pa.string()))
    return table
