"""Decisions out of a service's embedded ledger, each with the event that it is to others."""

from __future__ import annotations

import json
import sqlite3
import struct
from contextlib import closing
from pathlib import Path
from typing import Final

from scoregate.errors import LedgerUnavailable, ScoregateError
from scoregate.events import Event
from scoregate.ledger.cipher import FieldCipher
from scoregate.ledger.sqlite_file import connect
from scoregate.settings import Settings
from scoregate.values import frozen

_TIMEOUT_S: Final = 5.0

# By id, which begins with the time: newest first without sorting.
_NEWEST: Final = """
    SELECT e.decision_id, e.source, e.vector, e.ages, e.model_digest, e.event_at, e.decided_at, o.payload
    FROM entries e
    LEFT JOIN outbox o ON o.service = e.service AND o.key = 'count:' || e.natural_key
    WHERE e.service = ? AND e.decided_at >= ? ORDER BY e.decision_id DESC LIMIT ?
    """


@frozen
class Decided:
    """A decision as far as features are concerned; times are seconds since the epoch.

    `vector` is empty once it was forgotten. `read`: view → (status, age in seconds, version).
    `own`: its COUNT event; None where none was recorded or its key was forgotten.
    """

    decision_id: str
    source: str
    vector: tuple[float, ...]
    read: dict[str, tuple[str, float | None, str | None]]
    model_digest: str
    event_at: float
    decided_at: float
    own: Event | None


def newest(settings: Settings, service: str, *, since_s: float, limit: int) -> list[Decided]:
    """Return the last decisions of a service since a time, newest first; none without a ledger.

    Raises:
        ScoregateError: the ledger is not an embedded one.
        LedgerUnavailable: it cannot be read.
    """
    scheme, _, path = settings.ledger(service).partition("///")
    if scheme != "sqlite:":
        raise ScoregateError(f"decisions are read from an embedded ledger alone, and that of {service} is {scheme}")
    if not Path(path).exists():
        return []
    cipher = FieldCipher.load(settings.ledger_key_file)
    try:
        with closing(connect(Path(path), mode="rw", timeout_s=_TIMEOUT_S)) as db:
            db.execute("PRAGMA query_only = ON")
            rows = db.execute(_NEWEST, (service, since_s, limit)).fetchall()
    except sqlite3.Error as problem:
        raise LedgerUnavailable(f"The ledger cannot be read: {problem}") from problem
    return [
        Decided(
            decision_id,
            source,
            tuple(value for (value,) in struct.iter_unpack("<d", cipher.decrypt(vector or b"", decision_id, "vector"))),
            # Entries from before rows had versions name none.
            {view: (said[0], said[1], said[2] if len(said) > 2 else None) for view, said in json.loads(ages).items()},
            model,
            event_at,
            decided_at,
            cipher.decrypted_event(Event.decode(payload)) if payload else None,
        )
        for decision_id, source, vector, ages, model, event_at, decided_at, payload in rows
    ]
