"""The SQLite ledger's one writer: a thread that puts everything that waits into one transaction and one fsync."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from scoregate.errors import LedgerUnavailable
from scoregate.events import Outgoing
from scoregate.ledger.group import Decided, Pair, Waiting, due, outcomes
from scoregate.ledger.sqlite_chain import Chain
from scoregate.ledger.sqlite_file import begin, open_file
from scoregate.ledger.sqlite_outbox import Outbox

CHECKPOINT_ROWS: Final = 400
"""Rows after which the log is copied into the database: between commits, since a whole group would wait for what SQLite
does within one. They fill a few hundred pages of the log in large groups, and close to three thousand one by one."""
LOG_PAGES: Final = 4000
"""Where a few rows fill many pages, it does so all the same."""

Outcome = Decided | LedgerUnavailable | list[bool]

Settle = Callable[[Sequence[Waiting], Sequence[Outcome], Sequence[Outgoing]], None]
"""Takes a group that was written, its outcomes, and those of its events that are new."""


class WriterThread:
    """Writes groups in the order they came, and hands each over to `settle`."""

    def __init__(self, service: str, writer: str, lock_timeout_s: float, settle: Settle) -> None:
        self._lock_timeout_s = lock_timeout_s
        self._settle = settle
        self._queue: SimpleQueue[Sequence[Waiting] | None] = SimpleQueue()
        self._chain = Chain(service, writer)
        self._outbox = Outbox(service, writer)
        self._sent: dict[Pair, int] = {}
        self._thread = threading.Thread(target=self._write_groups, name=f"ledger-{service}", daemon=True)

    def start(self, path: Path) -> None:
        """Open the file and start to write.

        Raises:
            LedgerUnavailable: the file cannot be opened, or a later version has written it.
        """
        self._db, self._turn = open_file(path, self._lock_timeout_s)
        self._db.execute(f"PRAGMA wal_autocheckpoint = {LOG_PAGES}")
        self._thread.start()

    def put(self, group: Sequence[Waiting]) -> None:
        self._queue.put(group)

    def note(self, pair: Pair, number: int) -> None:
        """Write with the next transaction, or at the end, how far events have been sent: no sync is worth it alone."""
        self._sent[pair] = number

    def stop(self) -> None:
        """Write what was put, and close the file."""
        self._queue.put(None)
        self._thread.join()

    def _write_groups(self) -> None:
        rows = 0
        while (group := self._queue.get()) is not None:
            outcomes, outgoing = self._commit(group)
            with suppress(RuntimeError):  # The loop is gone, and with it everyone who waited.
                self._settle(group, outcomes, outgoing)
            rows += sum(waiting.rows for waiting in group)
            if rows >= CHECKPOINT_ROWS:
                rows = 0
                # What could not be copied is copied another time.
                with suppress(sqlite3.Error):
                    self._db.execute("PRAGMA wal_checkpoint(PASSIVE)")
        if self._outbox.news(self._sent):
            self._commit([])
        self._db.close()
        self._turn.close()

    def _commit(self, group: Sequence[Waiting]) -> tuple[list[Outcome], list[Outgoing]]:
        try:
            return self._transaction(group)
        except sqlite3.IntegrityError as error:
            if len(group) == 1:
                return [LedgerUnavailable(f"The ledger refused it: {error}")], []
            # What the schema refuses must not take the others with it.
            alone = [self._commit([waiting]) for waiting in group]
            return [one for outcomes, _ in alone for one in outcomes], [one for _, new in alone for one in new]
        except Exception as error:
            # The door of this thread: were it to end, every later append would wait for ever.
            return [LedgerUnavailable(f"The ledger cannot be written: {error}") for _ in group], []

    def _transaction(self, group: Sequence[Waiting]) -> tuple[list[Outcome], list[Outgoing]]:
        db = self._db
        try:
            begin(db, self._turn, self._lock_timeout_s)
            decided = self._chain.add(db, [waiting.sealed for waiting in group if waiting.sealed])
            are_new, outgoing = self._outbox.add(db, due(group, decided))
            self._outbox.note(db, self._sent)
            db.execute("COMMIT")
        except BaseException:
            # Whether a failed commit took hold, only the file can say: the next transaction reads heads from it.
            self._chain.forget()
            self._outbox.forget()
            with suppress(sqlite3.Error):
                db.rollback()
            raise
        return [*outcomes(group, decided, are_new)], outgoing
