"""What a process of its own does while the forest is fitted: Great Expectations, MLflow and Evidently are slow.

They cost seconds to import and are busy for a few more; fitting takes one core.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from scoregate.models.forest import Forest
from scoregate.settings import Settings, quiet_libraries
from scoregate.training import drift, registry

if TYPE_CHECKING:
    import pandas as pd


def private() -> None:
    """Let only the owner read what this process writes."""
    os.umask(0o077)


def prepare(settings: Settings) -> None:
    """Do beforehand what takes longest: both imports, and MLflow's tables."""
    quiet_libraries()
    import great_expectations  # noqa: F401  imported for the checks to come

    registry.Registry(settings)


def compare(current: pd.DataFrame, previous: Path, html: Path) -> Mapping[str, Any]:
    """Compare records with those of a previous training."""
    import pandas as pd

    return {"previous": previous.stem, **drift.compare(current, pd.read_parquet(previous), html)}


def golden_differences(ubj: bytes, a: float, b: float, golden: Sequence[Mapping[str, Any]]) -> list[float]:
    """Score golden requests again, in a process that did not fit the forest."""
    vectors = [[np.nan if value is None else value for value in one["vector"]] for one in golden]
    if not vectors:
        return []
    again = Forest.from_bytes(ubj, a, b).predict(np.array(vectors, np.float32))
    return [abs(float(score) - one["score"]) for score, one in zip(again, golden, strict=True)]


def record(
    settings: Settings,
    service: str,
    folder: Path,
    params: Mapping[str, Any],
    metrics: Mapping[str, float],
    lineage: Mapping[str, Any],
    crown: str | None,
) -> None:
    """Record a run, and with a reason to `crown` make its version the champion."""
    books = registry.Registry(settings)
    books.record(service, folder, params=params, metrics=metrics, lineage=lineage)
    if crown is not None:
        books.crown(service, folder.name, registry.reader(), crown)
