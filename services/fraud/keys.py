"""Transactions and facts with the keyed hashes that views are keyed by, hashed as `features.entities` does."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import pyarrow as pa

from scoregate.training.hashes import hashed_column

KEYS: Final = {"account_id": ("account_key", "account"), "device_id": ("device_key", "device")}
"""Id → the column of its hash, and the kind of value that it is."""


def keyed(table: pa.Table, hashed: Callable[[str, str], str]) -> pa.Table:
    """Return the transactions of a day with the hashed columns added."""
    for raw, (name, kind) in KEYS.items():
        table = table.append_column(name, hashed_column(table[raw], kind, hashed))
    return table


def keyed_facts(table: pa.Table, hashed: Callable[[str, str], str]) -> pa.Table:
    """Return facts with hashed columns in the place of the ids that are personal; a merchant's id is not."""
    for raw, (name, kind) in KEYS.items():
        if raw in table.column_names:
            place = table.column_names.index(raw)
            table = table.set_column(place, name, hashed_column(table[raw], kind, hashed))
    return table
