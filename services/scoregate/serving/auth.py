"""API keys: `sg_<id>_<secret>`, stored as sha256 of the whole key, with scopes `service:verb` and an expiry.

A key's secret has 256 random bits, so one fast hash is enough: there is nothing to guess.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from scoregate.errors import Forbidden, Unauthenticated

VERBS = ("score", "events", "read")
_NOBODY = hashlib.sha256(b"").hexdigest()


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks: a key's id and its scopes."""

    key_id: str
    scopes: frozenset[str]

    def may(self, service: str, verb: str) -> bool:
        return not self.scopes.isdisjoint((f"{service}:{verb}", f"{service}:*", f"*:{verb}", "*:*"))


@dataclass(frozen=True, slots=True)
class _Key:
    sha256: str
    principal: Principal
    expires_at_s: float | None


def new_key(key_id: str, scopes: Iterable[str], expires_at: str | None = None) -> tuple[str, dict[str, Any]]:
    """Make a key: the raw key, to be shown once, and the record to be stored."""
    raw = f"sg_{key_id}_{secrets.token_urlsafe(32)}"
    record = {
        "id": key_id,
        "sha256": hashlib.sha256(raw.encode()).hexdigest(),
        "scopes": sorted(scopes),
        "expires_at": expires_at,
    }
    return raw, record


class Keys:
    """The keys of a file; read again within a second of its change, so that rotation needs no restart."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._keys: dict[str, _Key] = {}
        self._mtime_ns = 0
        self._look_again_at = 0.0

    def authenticate(self, authorization: str | None) -> Principal:
        """Return who holds the bearer key.

        Raises:
            Unauthenticated: absent, malformed, unknown, wrong or expired; told nothing apart.
        """
        self._reload()
        scheme, _, raw = (authorization or "").partition(" ")
        raw = raw.strip()
        key = self._keys.get(_id_of(raw))
        # The comparison takes place for unknown ids too, so that time does not tell which ids exist.
        same = hmac.compare_digest(hashlib.sha256(raw.encode()).hexdigest(), key.sha256 if key else _NOBODY)
        if key is None or not same or scheme.lower() != "bearer":
            raise Unauthenticated("Send a valid key as 'Authorization: Bearer sg_…'")
        if key.expires_at_s is not None and time.time() >= key.expires_at_s:
            raise Unauthenticated("Send a valid key as 'Authorization: Bearer sg_…'")
        return key.principal

    def authorise(self, authorization: str | None, service: str, verb: str) -> Principal:
        """Authenticate, and check the scope.

        Raises:
            Unauthenticated: see `authenticate`.
            Forbidden: the key lacks `service:verb`.
        """
        principal = self.authenticate(authorization)
        if not principal.may(service, verb):
            raise Forbidden("The key does not allow this; ask its owner for a wider scope")
        return principal

    def _reload(self) -> None:
        now = time.monotonic()
        if now < self._look_again_at:
            return
        self._look_again_at = now + 1.0
        try:
            mtime_ns = self._path.stat().st_mtime_ns
            if mtime_ns == self._mtime_ns:
                return
            records = json.loads(self._path.read_text())["keys"]
            self._keys = {record["id"]: _read(record) for record in records}
            self._mtime_ns = mtime_ns
        except (OSError, ValueError, KeyError, TypeError):
            # A file in the middle of its rewriting must not lock everybody out: the last good one counts.
            return


def _id_of(raw: str) -> str:
    parts = raw.split("_", 2)
    return parts[1] if len(parts) == 3 and parts[0] == "sg" else ""


def _read(record: dict[str, Any]) -> _Key:
    expires = record.get("expires_at")
    return _Key(
        record["sha256"],
        Principal(record["id"], frozenset(record["scopes"])),
        datetime.fromisoformat(expires).timestamp() if expires else None,
    )
