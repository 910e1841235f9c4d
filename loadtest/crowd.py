"""Names that come unevenly often, as customers and shops do: shares fall by rank, so that some are very busy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa


def ranked(rng: np.random.Generator, rows: int, many: int) -> Any:
    """Draw one of so many for each row."""
    share = np.arange(1, many + 1) ** -0.6
    return rng.choice(many, rows, p=share / share.sum())


def names(prefix: str, codes: Any) -> pa.Array:
    """Write numbers as names."""
    found, place = np.unique(codes, return_inverse=True)
    return pa.array([f"{prefix}{name}" for name in found]).take(pa.array(place))
