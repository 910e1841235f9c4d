"""The file of API keys: `sg_<id>_<secret>`, stored as sha256 of the whole key, with scopes, expiry and rate.

A key's secret has 256 random bits, so one fast hash is enough: there is nothing to guess.
During a rotation an id has two records, the earlier of which expires when the overlap ends.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from scoregate.errors import KeyRefused
from scoregate.serving.principal import SCOPE

Record = dict[str, Any]

_ID = re.compile(r"^[a-z0-9][a-z0-9.-]{0,39}$")


def digest(raw: str) -> str:
    """Return what is stored of a key."""
    return hashlib.sha256(raw.encode()).hexdigest()


def new_key(
    key_id: str,
    scopes: Iterable[str],
    *,
    expires_at: datetime | None = None,
    rate_per_s: float | None = None,
    now: datetime | None = None,
) -> tuple[str, Record]:
    """Make a key: the raw key, to be shown once, and the record to be stored.

    Raises:
        KeyRefused: the id or a scope is not one.
    """
    scopes = sorted(scopes)
    if not _ID.match(key_id):
        raise KeyRefused(f"{key_id!r} is no id: 1 to 40 lower-case letters, digits, dots and hyphens")
    if wrong := [scope for scope in scopes if not SCOPE.match(scope)]:
        raise KeyRefused(f"{wrong[0]!r} is no scope such as fraud:score, fraud:* or *:read")
    raw = f"sg_{key_id}_{secrets.token_urlsafe(32)}"
    return raw, {
        "id": key_id,
        "sha256": digest(raw),
        "scopes": scopes,
        "created_at": _text(now or datetime.now(UTC)),
        "expires_at": _text(expires_at),
        "rate_per_s": rate_per_s,
    }


class KeyFile:
    """The file as its owner changes it: each change whole or not at all, one writer at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def records(self) -> list[Record]:
        if not self._path.exists():
            return []
        found: list[Record] = json.loads(self._path.read_text())["keys"]
        return found

    def create(self, key_id: str, scopes: Sequence[str], **rest: Any) -> str:
        """Add a key and return it; `rest` as in `new_key`.

        Raises:
            KeyRefused: the id is taken, or see `new_key`.
        """
        with self._changing() as records:
            if any(record["id"] == key_id for record in records):
                raise KeyRefused(f"There is a key {key_id} already: rotate or revoke it")
            raw, record = new_key(key_id, scopes, **rest)
            records.append(record)
        return raw

    def rotate(self, key_id: str, overlap: timedelta, lifetime: timedelta | None = None) -> str:
        """Add a key in the place of those of this id, which stay good for `overlap`; return it.

        Without `lifetime` it is given as long as the newest before it had.

        Raises:
            KeyRefused: there is no such key.
        """
        now = datetime.now(UTC)
        with self._changing() as records:
            earlier = _of(records, key_id)
            newest = earlier[-1]
            lifetime = lifetime or _lifetime(newest)
            raw, record = new_key(
                key_id,
                newest["scopes"],
                expires_at=now + lifetime if lifetime else None,
                rate_per_s=newest.get("rate_per_s"),
                now=now,
            )
            for each in earlier:
                ends = expiry(each)
                each["expires_at"] = _text(now + overlap if ends is None else min(ends, now + overlap))
            records.append(record)
        return raw

    def revoke(self, key_id: str) -> int:
        """Take every key of this id away; return how many there were.

        Raises:
            KeyRefused: there is no such key.
        """
        with self._changing() as records:
            gone = _of(records, key_id)
            records[:] = [record for record in records if record["id"] != key_id]
        return len(gone)

    @contextmanager
    def _changing(self) -> Iterator[list[Record]]:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.with_name(f".{self._path.name}.lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            records = self.records()
            yield records
            write_private(self._path, json.dumps({"keys": records}, indent=2).encode())


def expiry(record: Record) -> datetime | None:
    """Return when a record's key ends; without a zone the time is UTC."""
    said = record.get("expires_at")
    if not said:
        return None
    ends = datetime.fromisoformat(said)
    return ends if ends.tzinfo else ends.replace(tzinfo=UTC)


def write_private(path: Path, content: bytes) -> None:
    """Replace a file by one that is readable by its owner alone from its first moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    temporary.replace(path)


def _of(records: list[Record], key_id: str) -> list[Record]:
    found = [record for record in records if record["id"] == key_id]
    if not found:
        raise KeyRefused(f"There is no key {key_id}")
    return found


def _lifetime(record: Record) -> timedelta | None:
    ends, made = expiry(record), record.get("created_at")
    return ends - datetime.fromisoformat(made) if ends and made else None


def _text(at: datetime | None) -> str | None:
    return at.astimezone(UTC).isoformat(timespec="seconds") if at else None
