"""Who read which file: a line for each import in `<home>/imports.jsonl`, and its digests in the artefact."""

from __future__ import annotations

import datetime as dt
import json
import os
import pwd
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self

from scoregate.settings import Settings
from scoregate.training.artefact import as_bytes
from scoregate.training.imports import files
from scoregate.training.imports.columns import ColumnMap
from scoregate.values import frozen

LOG = "imports.jsonl"


@frozen
class Read:
    """One file as it was read."""

    service: str
    file_sha256: str
    map_sha256: str
    rows: int
    columns: Mapping[str, Any]

    @classmethod
    def of(cls, service: str, file: Path, column_map: ColumnMap, rows: int) -> Self:
        return cls(service, files.digest(file), column_map.digest, rows, dict(column_map.columns))

    def note(self, settings: Settings) -> None:
        """Add a line to the home's log: what was read, when, and by which user of the machine."""
        line = {"at": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"), "user": _user(), **asdict(self)}
        settings.home.mkdir(parents=True, exist_ok=True)
        handle = os.open(settings.home / LOG, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(handle, "a") as file:
            file.write(json.dumps(line) + "\n")

    def as_bytes(self, split: str) -> bytes:
        """Write what the artefact says of its data: the same file, map and split give the same artefact."""
        return as_bytes({**asdict(self), "split": split})


def _user() -> str:
    try:
        return pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        return str(os.getuid())
