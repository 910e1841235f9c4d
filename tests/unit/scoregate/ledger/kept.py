"""A ledger to look into: how it is filled, and how somebody with the rights of its database changes it."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from scoregate.events import Effect, Event
from scoregate.ledger import Entry
from scoregate.ledger.archive import Archive, open_archive
from scoregate.ledger.opening import open_ledger

START_S = 1_700_000_000.0


def entry(number: int, **changes: Any) -> Entry:
    fields: dict[str, Any] = {
        "decision_id": f"decision-{number}",
        "service": "fraud",
        "natural_key": f"txn-{number}",
        "idempotency_key": f"idem-{number}",
        "request_digest": f"digest-{number}",
        "outcome": "approve",
        "score": 0.25,
        "source": "model",
        "rung": "full",
        "vector": bytes(24),
        "ages": "{}",
        "personal": {"account_id": f"k1:{number % 2}", "device_id": f"k1:d{number}"},
        "answer": b'{"outcome":"approve","reasons":[{"code":"r1","text":"why"}]}',
        "model_digest": "m" * 64,
        "policy_digest": "p",
        "feature_digest": "f",
        "arm": "stable",
        "trace_id": "tr",
        "event_at": START_S + number,
        "decided_at": START_S + number,
    }
    return Entry(**{**fields, **changes})


def event(number: int, **changes: Any) -> Event:
    fields: dict[str, Any] = {
        "service": "fraud",
        "stream": "transactions",
        "effect": Effect.COUNT,
        "key": f"count:txn-{number}",
        "subject": f"txn-{number}",
        "at_us": int(START_S + number) * 1_000_000,
        "known_us": int(START_S + number) * 1_000_000,
        "row": {"account_key": f"{number % 2}" * 32},
    }
    return Event(**{**fields, **changes})


@dataclass(frozen=True)
class Kept:
    """One store; every `fill` is one more writer."""

    url: str
    change: Callable[[str], None]

    def fill(self, *numbers: int, entries: Iterable[Entry] = (), events: Iterable[Event] = ()) -> str:
        """Append these entries with their events, and whatever else; return the writer."""

        async def write() -> str:
            ledger = await open_ledger(self.url, "fraud")
            for number in numbers:
                await ledger.append(entry(number), event(number))
            for one in entries:
                await ledger.append(one)
            await ledger.record([*events])
            await ledger.close()
            return str(ledger.writer)  # type: ignore[attr-defined]

        return asyncio.run(write())

    def archive(self) -> closing[Archive]:
        return closing(open_archive(self.url))  # type: ignore[type-var]


def in_sqlite(folder: Path) -> Kept:
    path = folder / "fraud.db"

    def change(sql: str) -> None:
        with closing(sqlite3.connect(path)) as db, db:
            db.executescript(sql)

    return Kept(f"sqlite:///{path}", change)
