"""API keys as the door checks them: by digest alone, from a file that may change while the process runs."""

from __future__ import annotations

import hmac
import json
import os
import time
from pathlib import Path

from scoregate.serving.keyfile import Record, digest, expiry
from scoregate.serving.principal import Principal
from scoregate.telemetry.logs import EventLog
from scoregate.values import frozen

LOOK_S = 1.0
"""Between looks at the file: a change is in force after so long."""

_NOBODY = digest("")


@frozen
class _Key:
    sha256: str
    principal: Principal
    expires_at_s: float | None


class Keys:
    """The keys of a file; read again within a second of its change, so that rotation needs no restart."""

    def __init__(self, path: Path, log: EventLog | None = None) -> None:
        self._path, self._log = path, log
        self._keys: dict[str, _Key] = {}
        self._seen: tuple[int, int, int] | None = None
        self._look_again_at = 0.0

    def find(self, raw: str) -> Principal | None:
        """Return whose key this is; None when it is unknown or expired.

        One hash, one look-up and one comparison, whatever came: time tells nothing. What is looked up is a hash, so
        nobody can feel their way along it.
        """
        self._look()
        hashed = digest(raw)
        key = self._keys.get(hashed)
        same = hmac.compare_digest(hashed, key.sha256 if key else _NOBODY)
        if key is None or not same or (key.expires_at_s is not None and time.time() >= key.expires_at_s):
            return None
        return key.principal

    def _look(self) -> None:
        now = time.monotonic()
        if now < self._look_again_at:
            return
        self._look_again_at = now + LOOK_S
        try:
            # Not of the path: it may be replaced between the two.
            with self._path.open("rb") as file:
                state = os.fstat(file.fileno())
                seen = (state.st_ino, state.st_mtime_ns, state.st_size)
                if seen == self._seen:
                    return
                self._seen = seen
                keys = [_read(record) for record in json.load(file)["keys"]]
            self._keys = {key.sha256: key for key in keys}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as problem:
            # A file in the middle of its rewriting must not lock everybody out: the last good one counts.
            if self._log:
                self._log.event("keys.unreadable", error=type(problem).__name__, known=len(self._keys))


def _read(record: Record) -> _Key:
    ends = expiry(record)
    principal = Principal(record["id"], frozenset(record["scopes"]), record.get("rate_per_s"))
    return _Key(record["sha256"], principal, ends.timestamp() if ends else None)
