"""Keyed hashes of whole columns: each distinct value is hashed once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pyarrow as pa


def hashed_column(column: Any, kind: str, hashed: Callable[[str, str], str]) -> pa.Array:
    """Return the keyed hash of each string of a column; null stays null."""
    encoded = column.dictionary_encode()
    encoded = encoded.combine_chunks() if isinstance(encoded, pa.ChunkedArray) else encoded
    keys = pa.array([hashed(kind, value) for value in encoded.dictionary.to_pylist()], pa.string())
    return keys.take(encoded.indices)
