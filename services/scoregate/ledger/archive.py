"""The second port to a ledger: what auditors, analysts and whoever has to forget do with it, beside those who write.

All of it is synchronous, on connections of its own, and opens no writer: it is for commands and threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, Self

from scoregate.errors import ArtefactError
from scoregate.ledger import Broken, Recorded
from scoregate.ledger.entry import first_broken
from scoregate.values import frozen

BEFORE_ALL = -1 << 63
"""Comes before every seq, those too that no writer gives."""


@frozen
class Writer:
    """A writer's head, and the last entry that it really has; None when it has none."""

    writer: str
    seq: int
    hash: bytes
    end: int | None


@frozen
class Wanted:
    """Which entries to find; what is None or empty leaves all. Times are those of the decision, until exclusive.

    `model` is the beginning of a model's digest. `tags` are a person's tags, of which an entry must have one.
    `whole` leaves out what was forgotten already.
    """

    since_s: float | None = None
    until_s: float | None = None
    outcome: str | None = None
    model: str | None = None
    arm: str | None = None
    source: str | None = None
    tags: Sequence[str] = ()
    whole: bool = False


EVERYTHING = Wanted()


@dataclass(frozen=True, slots=True, order=True)
class Place:
    """Where an entry stands among all of a service, in the order of time; a page begins after one."""

    decided_at: float
    writer: str
    seq: int

    @classmethod
    def of(cls, recorded: Recorded) -> Self:
        return cls(recorded.entry.decided_at, recorded.writer, recorded.seq)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read what `str` wrote.

        Raises:
            ArtefactError: it is something else.
        """
        try:
            at, writer, seq = text.split("/")
            return cls(float(at), writer, int(seq))
        except ValueError as problem:
            raise ArtefactError("a page begins after what the one before gave as `next`") from problem

    def __str__(self) -> str:
        return f"{self.decided_at!r}/{self.writer}/{self.seq}"


class Archive(Protocol):
    """What is in the ledgers of one store. Every method may raise `LedgerUnavailable`."""

    def services(self) -> list[str]: ...

    def count(self, service: str, wanted: Wanted = EVERYTHING) -> int: ...

    def writers(self, service: str) -> list[Writer]:
        """Return every writer, those that have entries and no head too, with a head of nothing."""
        ...

    def hash_of(self, writer: str, seq: int) -> bytes | None: ...

    def first_since(self, writer: str, since_s: float) -> int | None:
        """Return the seq of the writer's first entry that was decided then or later."""
        ...

    def stored(self, writer: str, after: int, end: int) -> Iterator[Recorded | Broken]:
        """Yield a writer's entries from `after` + 1 to `end` in order, in short read transactions.

        One whose natural or idempotency key does not lead to it comes with a `Broken` after it.
        """
        ...

    def stray_keys(self, service: str) -> list[Broken]:
        """Return of each writer the first entry that a key leads to and that is not there, or has another key."""
        ...

    def get(self, service: str, decision_id: str) -> Recorded | None: ...

    def search(
        self, service: str, wanted: Wanted, *, after: Place | None = None, limit: int = 500, newest_first: bool = False
    ) -> list[Recorded]:
        """Return a page of entries in the order of time."""
        ...

    def personal_names(self, service: str) -> list[str]: ...

    def drop_events(
        self, service: str, *, subjects: Sequence[str] = (), hashes: Sequence[str] = (), before_us: int | None = None
    ) -> int:
        """Delete events about these subjects, with one of these hashes in them, or known before then; count them."""
        ...

    def forget(self, service: str, entries: Sequence[Recorded], *, stand: bool) -> None:
        """Drop values and salts of all that is committed to, and the keys that the entries name, in one transaction.

        With `stand` the entries stand under the digests of their requests from then on, so that no retry of one is
        decided anew.
        """
        ...

    def drop_keys(self, service: str, before_s: float | None = None) -> int:
        """Delete the further keys that lead to forgotten entries, and return how many there were; and the digests under
        which entries of before then stand."""
        ...

    def close(self) -> None: ...


def open_archive(url: str) -> Archive:
    """Open what is kept at `sqlite:///<path>` or `postgresql://…`.

    Raises:
        ArtefactError: no ledger is kept at such a URL.
        LedgerUnavailable: it cannot be read.
    """
    scheme, _, rest = url.partition("://")
    if scheme == "sqlite" and rest.startswith("/"):
        from scoregate.ledger.sqlite_archive import SqliteArchive

        return SqliteArchive(Path(rest[1:]))
    if scheme not in {"postgresql", "postgres"}:
        raise ArtefactError(f"no ledger is kept at {scheme}:; use sqlite:///<path> or postgresql://…")
    # Imported here, so that an installation with SQLite needs no driver.
    from scoregate.ledger.postgres_archive import PostgresArchive

    return PostgresArchive(url)


def broken_chains(archive: Archive, service: str) -> list[Broken]:
    """Walk every writer's chain of a service; return the first broken entry of each."""
    found = []
    for writer in archive.writers(service):
        entries = archive.stored(writer.writer, BEFORE_ALL, writer.seq if writer.end is None else writer.end)
        found.append(first_broken(writer.writer, entries, writer.seq, writer.hash))
    return [broken for broken in found if broken]


Values = list[object]


def conditions(service: str, wanted: Wanted, mark: Callable[[int], str], place: str) -> tuple[str, Values]:
    """Return an SQL condition on `entries e` and its values. `mark` writes the n-th placeholder, from 1 on; `place` is
    the columns that join `personal` to it."""
    values: Values = [service]
    terms = [f"e.service = {mark(1)}"]

    def term(text: str, *given: object) -> None:
        marks = [mark(len(values) + n) for n in range(1, len(given) + 1)]
        values.extend(given)
        terms.append(text.format(*marks, all=", ".join(marks)))

    plain: Mapping[str, object] = {"outcome": wanted.outcome, "arm": wanted.arm, "source": wanted.source}
    for column, value in plain.items():
        if value is not None:
            term(f"e.{column} = {{}}", value)
    if wanted.since_s is not None:
        term("e.decided_at >= {}", wanted.since_s)
    if wanted.until_s is not None:
        term("e.decided_at < {}", wanted.until_s)
    if wanted.model is not None:
        term(f"substr(e.model_digest, 1, {len(wanted.model)}) = {{}}", wanted.model)
    if wanted.tags:
        own = ", ".join(f"e.{column.strip()}" for column in place.split(","))
        term(f"({own}) IN (SELECT {place} FROM personal WHERE value IN ({{all}}))", *wanted.tags)  # noqa: S608  names
    if wanted.whole:
        term("e.answer_salt IS NOT NULL")
    return " AND ".join(terms), values
