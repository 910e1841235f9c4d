"""Bring your own data: a file and a column map, and what training makes of them.

    files.py      CSV and Parquet as they come, and their digest
    columns.py    the column map and what it promises: checked columns, or one message that names every fault
    events.py     a file of events: the stream in place of the generator's, windows in bulk, splits by time
    tabular.py    a file of records: its own columns become the features, and its own contract
    leak.py       features that alone predict too well
    policy.py     the artefact's copy of a policy, without what the file has no data for

What is special about one service stands in its `imports.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import field
from typing import TYPE_CHECKING, Any

from scoregate.values import frozen

if TYPE_CHECKING:
    from scoregate.training import Problem
    from scoregate.training.dataset import Dataset

Say = Callable[[str], None]


@frozen
class Material:
    """What training works on when the data is somebody's own file; `files` go into the artefact as they are."""

    problem: Problem
    names: tuple[str, ...]
    policy: str
    feature_service: str
    request_type: Any
    data: Dataset
    files: Mapping[str, bytes] = field(default_factory=dict)
