"""What is known of the running stack, as small files under `<home>/run/`: what should run, and what does."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from scoregate.values import frozen


class Stage(IntEnum):
    """Order of starting; stopping goes the other way."""

    STORE = 0
    WORKER = 1
    SERVICE = 2
    GATEWAY = 3


@frozen
class ProcessSpec:
    """One process that should run.

    `env` is what this process gets beyond the supervisor's own environment; None takes a variable away.
    `revision` is anything whose change means that the process must be started anew; `asked` counts the restarts that
    somebody asked for.
    """

    name: str
    argv: tuple[str, ...]
    log: str
    stage: Stage
    port: int
    env: Mapping[str, str | None] = field(default_factory=dict)
    cwd: str | None = None
    health_url: str | None = None
    stop_s: float = 10.0
    revision: str = ""
    asked: int = 0

    @property
    def digest(self) -> str:
        """Tells whether a running process is the one that is wanted now."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]


@frozen
class Desired:
    """What should run. The problem pages live in the supervisor itself; port 0 means none."""

    processes: tuple[ProcessSpec, ...] = ()
    problems_port: int = 0
    max_body_bytes: int = 1_048_576

    def spec(self, name: str) -> ProcessSpec | None:
        return next((spec for spec in self.processes if spec.name == name), None)


@frozen
class Mark:
    """A process that cannot be mistaken: a pid alone may have been given to another one since."""

    pid: int
    birth: str


@frozen
class Running:
    """One child as the supervisor last saw it: `mark` is None between two lives, `spec` the digest of what it runs."""

    name: str
    port: int
    stage: Stage
    log: str
    health_url: str | None
    mark: Mark | None
    restarts: int
    offspring: tuple[Mark, ...] = ()
    spec: str = ""


@frozen
class Status:
    """What the supervisor last wrote; a file whose supervisor is not alive tells what it left behind."""

    supervisor: Mark
    running: tuple[Running, ...] = ()
    problems_port: int = 0


def run_dir(home: Path) -> Path:
    return home / "run"


def write_atomically(path: Path, text: str, *, beside: Path | None = None) -> None:
    """Readers see the old file or the new one, never a part. `beside`: folder of the temporary file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=beside or path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def desired_file(home: Path) -> Path:
    return run_dir(home) / "desired.json"


def status_file(home: Path) -> Path:
    return run_dir(home) / "status.json"


def write_desired(home: Path, desired: Desired) -> None:
    write_atomically(desired_file(home), json.dumps(asdict(desired), indent=2))


def read_desired(home: Path) -> Desired:
    found = _read(desired_file(home))
    if found is None:
        return Desired()
    specs = [spec | {"argv": tuple(spec["argv"]), "stage": Stage(spec["stage"])} for spec in found["processes"]]
    return Desired(tuple(ProcessSpec(**spec) for spec in specs), found["problems_port"], found["max_body_bytes"])


def write_status(home: Path, status: Status) -> None:
    run_dir(home).mkdir(parents=True, exist_ok=True)
    said = {**asdict(status), "folder": _identity(run_dir(home))}
    write_atomically(status_file(home), json.dumps(said, indent=2))


def read_status(home: Path) -> Status | None:
    """Return what the supervisor of this folder wrote: in a copy of it stands what runs for the original."""
    found = _read(status_file(home))
    if found is None or found.get("folder") != _identity(run_dir(home)):
        return None
    return Status(Mark(**found["supervisor"]), tuple(_running(row) for row in found["running"]), found["problems_port"])


def _identity(folder: Path) -> str:
    """Tell a folder from its copies, and not from itself where it was moved to."""
    found = folder.stat()
    return f"{found.st_dev}:{found.st_ino}"


def _running(row: dict[str, Any]) -> Running:
    mark = Mark(**row["mark"]) if row["mark"] else None
    offspring = tuple(Mark(**each) for each in row["offspring"])
    return Running(**row | {"stage": Stage(row["stage"]), "mark": mark, "offspring": offspring})


def _read(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text())
    except (FileNotFoundError, ValueError):
        return None
    return found
