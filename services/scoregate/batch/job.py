"""What is being scored by which model, written down before the first row: a killed run goes on with the same."""

from __future__ import annotations

import fcntl
import hashlib
import json
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Final

from scoregate.errors import ScoregateError
from scoregate.values import frozen

CHUNK_ROWS: Final = {"now": 10_000, "row": 20_000}
"""Rows of a part: what is decided again after a kill. What rows share costs less the more of them there are, and a look
into history costs the same for few and many."""

_MANIFEST: Final = "manifest.json"


@frozen
class Job:
    """One file, one model, one way to look features up. `model_digest` stays when another model becomes champion."""

    service: str
    input_sha256: str
    model_digest: str
    as_of: str
    arm: str
    chunk_rows: int
    format: int = 1


@dataclass(slots=True)
class Parts:
    """The folder of a running job, `<out>.parts`; one process at a time has it."""

    folder: Path
    _lock: IO[bytes] | None = None

    @classmethod
    def beside(cls, target: Path) -> Parts:
        return cls(target.with_name(f"{target.name}.parts"))

    def earlier(self) -> Job | None:
        """Return what a run that was not finished was doing.

        Raises:
            ScoregateError: it cannot be read.
        """
        try:
            return Job(**json.loads((self.folder / _MANIFEST).read_text()))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError) as problem:
            raise ScoregateError(f"{self.folder / _MANIFEST} cannot be read: {problem}") from problem

    def take(self) -> None:
        """Take the folder for this process, until it ends.

        Raises:
            ScoregateError: another one has it.
        """
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (self.folder / "lock").open("ab")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise ScoregateError(f"another process is scoring into {self.folder}") from None
        self._lock = lock

    def begin(self, job: Job) -> None:
        unfinished = self.folder / f".{_MANIFEST}"
        unfinished.write_text(json.dumps(asdict(job), indent=1))
        unfinished.replace(self.folder / _MANIFEST)

    def part(self, number: int) -> Path:
        return self.folder / f"part-{number:06d}.parquet"

    def done(self) -> list[Path]:
        """Return the parts that are there, in order."""
        return sorted(self.folder.glob("part-*.parquet"))

    def remove(self) -> None:
        shutil.rmtree(self.folder)
        if self._lock is not None:
            self._lock.close()


def digest_of(path: Path) -> str:
    """Return the sha256 of a file.

    Raises:
        ScoregateError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise ScoregateError(f"{path} cannot be read: {problem.strerror}") from problem
