r"""A segment on disk: decisions that were acknowledged while the ledger's store was down.

    file  = "scoregate-segment-1\n" | frame | frame | …
    frame = length, u32 | crc32 of the payload, u32 | payload: one decision as JSON

Integers are little-endian. A file belongs to whoever holds its lock, and to nobody once that process is gone.
What follows the first frame that is not whole was never acknowledged: writing it was not finished.
"""

from __future__ import annotations

import fcntl
import json
import os
import struct
import uuid
from base64 import b64decode, b64encode
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Self
from zlib import crc32

from scoregate.events import Event
from scoregate.ledger import Entry
from scoregate.values import frozen

MAGIC = b"scoregate-segment-1\n"
ENDING = ".segment"
_frame = struct.Struct("<II")


@frozen
class Held:
    """A decision and its event. A `further` one is no decision: it binds its keys to what one of them stands for."""

    entry: Entry
    event: Event | None
    further: bool = False

    def encode(self) -> bytes:
        """Write as one frame.

        Raises:
            ValueError: a number is not finite, or a text is not valid Unicode.
        """
        fields: dict[str, Any] = asdict(self.entry)
        fields |= {name: b64encode(fields[name]).decode() for name in ("vector", "answer")}
        event = self.event.encode().decode() if self.event else None
        said = {"entry": fields, "event": event, "further": self.further}
        payload = json.dumps(said, ensure_ascii=False, allow_nan=False).encode()
        return _frame.pack(len(payload), crc32(payload)) + payload

    @classmethod
    def decode(cls, payload: bytes) -> Self:
        said = json.loads(payload)
        fields = said["entry"]
        fields |= {name: b64decode(fields[name]) for name in ("vector", "answer")}
        return cls(Entry(**fields), Event.decode(said["event"].encode()) if said["event"] else None, said["further"])


class SegmentFile:
    """One file, locked for as long as this process has it."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self.size = os.fstat(descriptor).st_size
        self.is_whole = True

    @classmethod
    def create(cls, folder: Path, service: str) -> Self:
        """Make an empty segment; it gets its name when it is locked, so that nobody takes it for a dead one."""
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / f"{service}-{uuid.uuid4().hex}{ENDING}"
        unnamed = path.with_suffix(".new")
        descriptor = os.open(unnamed, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_APPEND, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        os.write(descriptor, MAGIC)
        os.fsync(descriptor)
        unnamed.rename(path)
        _sync_folder(folder)
        return cls(path, descriptor)

    @classmethod
    def adopt(cls, path: Path) -> Self | None:
        """Take over a dead process's segment; None when its process lives, or somebody else has taken it over."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_APPEND)
        except FileNotFoundError:
            return None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        if not path.exists() or not os.path.samestat(path.stat(), os.fstat(descriptor)):
            os.close(descriptor)  # Somebody drained it meanwhile.
            return None
        return cls(path, descriptor)

    def append(self, frames: Sequence[bytes]) -> None:
        """Make frames durable, all or none.

        Raises:
            OSError: they are not, and are taken off the file again.
        """
        try:
            written = memoryview(b"".join(frames))
            while written:
                written = written[os.write(self._descriptor, written) :]
            os.fdatasync(self._descriptor)
        except OSError:
            os.ftruncate(self._descriptor, self.size)
            raise
        self.size += sum(map(len, frames))

    def read(self) -> list[Held]:
        """Return what is held, up to the first frame that is not whole; `is_whole` says whether there was none.

        Raises:
            ValueError: the file is of another version.
        """
        raw = self.path.read_bytes()
        if not raw.startswith(MAGIC):
            raise ValueError("the segment is of another version")
        payloads = [*_payloads(raw)]
        self.is_whole = len(MAGIC) + sum(_frame.size + len(payload) for payload in payloads) == len(raw)
        return [Held.decode(payload) for payload in payloads]

    def remove(self) -> None:
        """Give the file up, drained. One that had to be cut is kept beside, for who wants to know why."""
        if self.is_whole:
            self.path.unlink()
        else:
            self.path.rename(self.path.with_suffix(".cut"))
        _sync_folder(self.path.parent)
        self.close()

    def close(self) -> None:
        """Let go of the lock: what is in the file is the next one's to drain."""
        os.close(self._descriptor)


def adopted(folder: Path, service: str) -> list[SegmentFile]:
    """Take over every segment of the service that no living process has, oldest first."""
    paths = [path for path in folder.glob(f"{service}-*{ENDING}") if len(path.stem) == len(service) + 33]
    ages = sorted((path.stat().st_mtime, path) for path in paths if path.exists())
    return [file for _, path in ages if (file := SegmentFile.adopt(path))]


def _payloads(raw: bytes) -> Iterator[bytes]:
    at = len(MAGIC)
    while at + _frame.size <= len(raw):
        length, checksum = _frame.unpack_from(raw, at)
        payload = raw[at + _frame.size : at + _frame.size + length]
        if not length or len(payload) < length or crc32(payload) != checksum:
            return
        yield payload
        at += _frame.size + length


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
