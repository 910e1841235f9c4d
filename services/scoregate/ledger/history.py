"""What a service's ledger holds, in the order of time and in pages; and the labels that have come."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Final, Self

from scoregate.errors import LedgerUnavailable
from scoregate.events import Effect, Event
from scoregate.ledger import Recorded
from scoregate.ledger.archive import Place, Wanted, open_archive
from scoregate.ledger.cipher import PLAIN, FieldCipher
from scoregate.ledger.sqlite_file import connect
from scoregate.values import frozen

PAGE_ROWS: Final = 2_000
"""Entries in memory at once."""
_TIMEOUT_S: Final = 5.0


@frozen
class Label:
    """What became of a decision, and when that became known (microseconds since the epoch)."""

    is_bad: bool
    known_us: int


class History:
    """A service's ledger, to read; closed at the end of its `with`.

    Raises:
        ArtefactError: no ledger is kept at such a URL.
        LedgerUnavailable: it cannot be read; so may every method.
    """

    def __init__(self, url: str, service: str, cipher: FieldCipher = PLAIN) -> None:
        self._url, self._service = url, service
        self._cipher = cipher
        self._archive = open_archive(url)

    def pages(self, since_s: float = 0.0, size: int = PAGE_ROWS) -> Iterator[list[Recorded]]:
        """Yield the entries decided at `since_s` (seconds since the epoch) or later."""
        after: Place | None = None
        while page := self._archive.search(self._service, Wanted(since_s=since_s), after=after, limit=size):
            yield [self._cipher.decrypted(one) for one in page]
            after = Place.of(page[-1])

    def one(self, decision_id: str) -> Recorded | None:
        found = self._archive.get(self._service, decision_id)
        return found and self._cipher.decrypted(found)

    def labels(self, subjects: Sequence[str]) -> dict[str, Label]:
        """Return of each natural key that was labelled the label that became known last."""
        is_sqlite = self._url.startswith("sqlite:///")
        read = _sqlite_labels if is_sqlite else _postgres_labels
        with _reading():
            found = read(self._url, self._service, [_keys(subject) for subject in subjects]) if subjects else []
        wanted = set(subjects)
        labels = [e for e in map(Event.decode, found) if e.effect is Effect.LABEL and e.subject in wanted]
        return {e.subject: Label(bool(e.is_bad), e.known_us) for e in sorted(labels, key=lambda e: e.known_us)}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._archive.close()


def _keys(subject: str) -> tuple[str, str]:
    """Return between which keys the labels of a subject lie, `label:<subject>:<microseconds>`, by any collation."""
    return f"label:{subject}:", f"label:{subject}:9999999999999999999"


def _sqlite_labels(url: str, service: str, keys: Sequence[tuple[str, str]]) -> list[bytes]:
    of_one = "SELECT payload FROM outbox WHERE service = ? AND key > ? AND key < ?"
    with closing(connect(Path(url.removeprefix("sqlite:///")), mode="rw", timeout_s=_TIMEOUT_S)) as db:
        db.execute("PRAGMA query_only = ON")
        return [payload for pair in keys for (payload,) in db.execute(of_one, (service, *pair))]


def _postgres_labels(url: str, service: str, keys: Sequence[tuple[str, str]]) -> list[bytes]:
    # Imported here, so that an installation with SQLite needs no driver.
    import asyncpg

    of_all = """
        SELECT found.payload FROM unnest($2::text[], $3::text[]) AS asked (low, high)
        CROSS JOIN LATERAL (
            SELECT payload FROM outbox WHERE service = $1 AND key > asked.low AND key < asked.high
        ) found
        """

    async def read() -> list[bytes]:
        db = await asyncpg.connect(url, timeout=_TIMEOUT_S, server_settings={"default_transaction_read_only": "on"})
        try:
            return [payload for (payload,) in await db.fetch(of_all, service, *map(list, zip(*keys, strict=True)))]
        finally:
            db.terminate()

    return asyncio.run(read())


@contextmanager
def _reading() -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as problem:
        raise LedgerUnavailable(f"The ledger cannot be read: {problem}") from problem
    except Exception as problem:
        if type(problem).__module__.partition(".")[0] != "asyncpg":
            raise
        # Without its message, which may hold values.
        raise LedgerUnavailable(f"The ledger cannot be read: {type(problem).__name__}") from problem
