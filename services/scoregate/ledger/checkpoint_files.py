"""Checkpoints on disk: one folder per service, one file per UTC day, which only ever grows.

<folder>/<service>/<YYYY-MM-DD>.jsonl    its first checkpoint is full, so that a day can be read by itself
<folder>/<key id>.pub                    public keys, PEM
"""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from scoregate.errors import LedgerUnavailable
from scoregate.ledger.archive import open_archive
from scoregate.ledger.checkpoint import (
    Head,
    SigningKey,
    Statement,
    contradicted,
    fault,
    id_of,
    next_statement,
    parse,
    public_key,
    write,
)
from scoregate.values import frozen

log = logging.getLogger(__name__)
ENDING = ".jsonl"


@frozen
class Fault:
    """A checkpoint that cannot be believed."""

    file: str
    line: int
    why: str


@frozen
class Checkpoints:
    """What a folder holds of one service, and what is wrong with it."""

    statements: Sequence[Statement]
    faults: Sequence[Fault]

    def signed(self) -> dict[str, dict[int, tuple[str, int]]]:
        """Return by writer and seq the hash that was signed, and by which checkpoint first."""
        found: dict[str, dict[int, tuple[str, int]]] = {}
        for statement in self.statements:
            for writer, seq, hash_ in statement.heads:
                found.setdefault(writer, {}).setdefault(seq, (hash_, statement.number))
        return found


def take(url: str, service: str, folder: Path, key_path: Path, *, every_s: float = 0.0) -> Statement | None:
    """Write a checkpoint of a service's ledger, unless nothing moved, another process is about to, or the last one is
    younger than `every_s`.

    Raises:
        ArtefactError: the key cannot be read.
        LedgerUnavailable: the ledger cannot be read, or the folder not be written.
    """
    key = SigningKey.create(key_path)
    own = folder / service
    try:
        own.mkdir(parents=True, exist_ok=True)
        _publish(folder, key)
        with _locked(own) as is_mine:
            if not is_mine:
                return None
            last, known = _standing(own)
            if last and datetime.now(UTC).timestamp() - last.at_us / 1e6 < every_s:
                return None
            with closing(open_archive(url)) as archive:
                heads = [(one.writer, one.seq, one.hash.hex()) for one in archive.writers(service) if one.seq]
            if {head[0]: head for head in heads} == known:
                return None
            for writer in contradicted(heads, known):
                log.error("ledger.checkpoint.contradicted", extra={"service": service, "writer": writer})
            today = max(datetime.now(UTC).strftime("%Y-%m-%d"), *(path.stem for path in _days(own)), "")
            path = own / f"{today}{ENDING}"
            statement = next_statement(service, heads, last, known if path.exists() else None, key.key_id)
            _append(path, write(statement, key))
            return statement
    except OSError as error:
        raise LedgerUnavailable(f"The checkpoint cannot be written: {error}") from error


def read(folder: Path, service: str, *, trusted: Sequence[Path] = (), since_s: float | None = None) -> Checkpoints:
    """Read a service's checkpoints, those of the day of `since_s` and later; what cannot be believed is left out.

    `trusted` are public keys to go by in place of those that lie beside.

    Raises:
        ArtefactError: a public key cannot be read.
    """
    keys = {id_of(key): key for path in trusted or sorted(folder.glob("*.pub")) for key in (public_key(path),)}
    since = "" if since_s is None else datetime.fromtimestamp(since_s, UTC).strftime("%Y-%m-%d")
    days = _days(folder / service)
    # The day before the first of them that is wanted says what was known when it began.
    first = max((n for n, path in enumerate(days) if path.stem <= since), default=0)
    return _checked(days[first:], service, keys, starts_at_first=not since)


def _checked(
    days: Sequence[Path], service: str, keys: Mapping[str, Ed25519PublicKey], *, starts_at_first: bool
) -> Checkpoints:
    statements: list[Statement] = []
    faults: list[Fault] = []
    last: Statement | None = None
    for path in days:
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            try:
                statement, signature = parse(line)
            except ValueError:
                # What a killed process left of a line is none; a line that was made unreadable is missed by the next.
                continue
            if why := fault(statement, signature, last, service, keys):
                faults.append(Fault(path.name, number, f"checkpoint {statement.number}: {why}"))
            else:
                statements.append(statement)
            if last is None and starts_at_first and statement.number != 1:
                faults.append(Fault(path.name, number, f"checkpoints 1 to {statement.number - 1} are missing"))
            last = statement
    return Checkpoints(statements, faults)


def _standing(own: Path) -> tuple[Statement | None, dict[str, Head]]:
    """Return the last checkpoint, and the heads that the last day's file states."""
    for path in reversed(_days(own)):
        last: Statement | None = None
        known: dict[str, Head] = {}
        for line in path.read_bytes().splitlines():
            try:
                last, _ = parse(line)
            except ValueError:
                continue
            known.update({head[0]: head for head in last.heads})
        if last:
            return last, known
    return None, {}


def _days(own: Path) -> list[Path]:
    return sorted(own.glob(f"????-??-??{ENDING}"))


def _append(path: Path, line: bytes) -> None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        size = os.fstat(descriptor).st_size
        if size and os.pread(descriptor, 1, size - 1) != b"\n":
            line = b"\n" + line  # A killed process left half a line.
        os.write(descriptor, line)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def _publish(folder: Path, key: SigningKey) -> None:
    path = folder / f"{key.key_id}.pub"
    if not path.exists():
        path.write_bytes(key.public_pem())


@contextmanager
def _locked(own: Path) -> Iterator[bool]:
    """Hold the folder's lock, if nobody else does."""
    with (own / ".lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
