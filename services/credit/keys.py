"""Facts with the keyed hash that their view is keyed by, in the place of the applicant's id."""

from __future__ import annotations

from collections.abc import Callable

import pyarrow as pa

from scoregate.training.hashes import hashed_column


def keyed_facts(table: pa.Table, hashed: Callable[[str, str], str]) -> pa.Table:
    """Return facts keyed as `features.entities` keys them."""
    keys = hashed_column(table["applicant_id"], "applicant", hashed)
    return table.set_column(table.column_names.index("applicant_id"), "applicant_key", keys)
