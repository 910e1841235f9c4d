"""Walks every chain of a ledger in parallel, and holds it against its checkpoints.

A chain is cut into pieces; each begins with the stored hash of the entry before it, which the piece before proves.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from dataclasses import field
from multiprocessing import get_context

from scoregate.ledger import Broken, Recorded
from scoregate.ledger.archive import BEFORE_ALL, Archive, Writer, open_archive
from scoregate.ledger.checkpoint_files import Checkpoints
from scoregate.ledger.entry import GENESIS, NONE_SIGNED, first_broken
from scoregate.values import frozen

PIECE_ENTRIES = 20_000
NO_CHECKPOINTS = Checkpoints((), ())

Signed = Mapping[int, tuple[str, int]]


@frozen
class Piece:
    """A writer's entries after `after` up to `end`; `head` is the hash that the last one must have, if it is known."""

    writer: str
    after: int
    last: int
    end: int
    head: bytes | None
    signed: Signed


@frozen
class Audited:
    """What an audit found. `walked` counts the entries that were looked at, of `entries` in `writers` chains."""

    service: str
    entries: int
    walked: int
    writers: int
    broken: Sequence[Broken]
    checkpoints: Checkpoints = field(default=NO_CHECKPOINTS)

    @property
    def holds(self) -> bool:
        return not (self.broken or self.checkpoints.faults)


def audit(
    url: str,
    service: str,
    checkpoints: Checkpoints = NO_CHECKPOINTS,
    *,
    since_s: float | None = None,
    processes: int | None = None,
    piece_entries: int = PIECE_ENTRIES,
) -> Audited:
    """Verify a service's ledger, or, with `since_s`, what each writer added from its first decision since then on.

    Raises:
        LedgerUnavailable: it cannot be read.
    """
    signed = checkpoints.signed()
    with closing(open_archive(url)) as archive:
        writers = archive.writers(service)
        pieces = [p for w in writers for p in _pieces(archive, w, signed.get(w.writer, {}), since_s, piece_entries)]
        processes = min(processes or os.cpu_count() or 1, len(pieces))
        if processes > 1 and sum(piece.last - piece.after for piece in pieces) > piece_entries:
            # Spawned: a fork would share connections, and the threads that whoever calls may have.
            with ProcessPoolExecutor(processes, get_context("spawn"), _open, (url,)) as pool:
                results = pool.map(_walk_here, pieces)
                broken = [] if since_s is not None else archive.stray_keys(service)
                walks = [*results]
        else:
            broken = [] if since_s is not None else archive.stray_keys(service)
            walks = [_walk(archive, piece) for piece in pieces]
        entries = archive.count(service)
    broken += [found for _, found in walks if found]
    broken += _unsigned(writers, signed)
    return Audited(service, entries, sum(n for n, _ in walks), len(writers), _firsts(broken), checkpoints)


def _pieces(
    archive: Archive, writer: Writer, signed: Signed, since_s: float | None, piece_entries: int
) -> Iterator[Piece]:
    after = 0
    if since_s is not None:
        first = archive.first_since(writer.writer, since_s)
        # At least its last entry: it tells whether the head is the one that the writer left.
        after = max(0, min(writer.seq if first is None else first, writer.seq) - 1)
    end = writer.seq if writer.end is None else max(writer.seq, writer.end)
    while True:
        last = min(after + piece_entries, writer.seq)
        is_last = last == writer.seq
        marks = {seq: mark for seq, mark in signed.items() if after < seq <= last}
        yield Piece(writer.writer, after, last, end if is_last else last, writer.hash if is_last else None, marks)
        if is_last:
            return
        after = last


def _walk(archive: Archive, piece: Piece) -> tuple[int, Broken | None]:
    """Return how many entries were walked, and the first broken one."""
    start = GENESIS if piece.after == 0 else archive.hash_of(piece.writer, piece.after)
    if start is None:
        return 0, Broken(piece.writer, piece.after, None, "it is missing")
    walked = 0

    def counted(entries: Iterable[Recorded | Broken]) -> Iterator[Recorded | Broken]:
        nonlocal walked
        for one in entries:
            walked += isinstance(one, Recorded)
            yield one

    entries = counted(archive.stored(piece.writer, piece.after or BEFORE_ALL, piece.end))
    found = first_broken(
        piece.writer, entries, piece.last, piece.head, start=(piece.after, start), signed=piece.signed or NONE_SIGNED
    )
    return walked, found


def _unsigned(writers: Sequence[Writer], signed: Mapping[str, Signed]) -> Iterator[Broken]:
    """Yield what checkpoints signed of writers that are gone, or of entries after a writer's head."""
    heads = {writer.writer: writer.seq for writer in writers}
    for writer, marks in signed.items():
        seq, number = max((seq, number) for seq, (_, number) in marks.items())
        if writer not in heads:
            yield Broken(writer, 1, None, f"the writer is gone; checkpoint {number} signed {seq} entries of it")
        elif heads[writer] < seq:
            yield Broken(
                writer,
                heads[writer] + 1,
                None,
                f"it is missing, and all after it; checkpoint {number} signed {seq} entries",
            )


def _firsts(broken: Iterable[Broken]) -> list[Broken]:
    """Keep of each writer what stands first; of several about one entry the first that was found."""
    first: dict[str, Broken] = {}
    for one in broken:
        if one.writer not in first or one.seq < first[one.writer].seq:
            first[one.writer] = one
    return [first[writer] for writer in sorted(first)]


# In each process of the pool

_opened: list[Archive] = []


def _open(url: str) -> None:
    _opened.append(open_archive(url))


def _walk_here(piece: Piece) -> tuple[int, Broken | None]:
    return _walk(_opened[0], piece)
