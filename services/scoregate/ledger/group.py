"""What a transaction does about a group, whatever store it is in; pure: decisions, the chain's next links, numbers."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, MutableMapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, NamedTuple, Self, cast

from scoregate.errors import KeyReused, LedgerUnavailable, ScoregateError
from scoregate.events import Event, Outgoing
from scoregate.ledger import Appended, Decision, Entry
from scoregate.ledger.entry import Earlier, Sealed, asked, link, replay
from scoregate.values import frozen

Pair = tuple[str, str]
"""Writer and stream: what numbers count in."""
Key = tuple[str, str]
"""Kind and key."""
Head = tuple[int, bytes]
"""Seq and hash of a writer's last entry."""
Decided = Appended | KeyReused | LedgerUnavailable


@frozen
class Posted:
    """An event as its row will hold it."""

    stream: str
    key: str
    payload: bytes

    @classmethod
    def of(cls, event: Event) -> Self:
        """Encode an event where its caller can still be told.

        Raises:
            ValueError: it is not valid Unicode, or a number in it is not finite.
        """
        return cls(event.stream, event.key, event.encode())


class Places:
    """What becomes of many that are awaited together: one future in place of as many tasks."""

    __slots__ = ("_found", "_left", "future")

    def __init__(self, future: asyncio.Future[list[Any]], count: int) -> None:
        self.future = future
        self._found: list[Any] = [None] * count
        self._left = count

    def take(self, at: int, found: Any) -> None:
        self._found[at] = found
        self._left -= 1
        if not self._left and not self.future.done():
            self.future.set_result(self._found)


@frozen
class Place:
    """One of many: a future, as far as its writer is concerned."""

    places: Places
    at: int

    def done(self) -> bool:
        return self.places.future.done()

    def set_result(self, found: Any) -> None:
        self.places.take(self.at, found)

    def set_exception(self, problem: Exception) -> None:
        self.places.take(self.at, problem)


class Waiting(NamedTuple):
    """What is to be written whole or not at all: an entry with its event, or a list of posted events."""

    sealed: Sealed | None
    posted: Sequence[Posted]
    future: asyncio.Future[Any] | Place

    @property
    def rows(self) -> int:
        return len(self.posted) + (self.sealed is not None)


def taken(queue: deque[Waiting], max_batch: int) -> list[Waiting]:
    """Take from a queue what is to be written together: up to `max_batch` rows, of which the last may have more."""
    group: list[Waiting] = []
    rows = 0
    while queue and rows < max_batch:
        group.append(queue.popleft())
        rows += group[-1].rows
    return group


class Linked(NamedTuple):
    """An entry in its place in the chain."""

    sealed: Sealed
    seq: int
    previous: bytes
    hash: bytes


@dataclass(slots=True)
class Chained:
    """What became of each entry of a group, the new ones, the keys they take, and where the chain ends now."""

    decided: list[Decided]
    entries: list[Linked]
    used: list[tuple[Key, Earlier]]
    head: Head


def chained(
    group: Sequence[Sealed],
    standing: MutableMapping[Key, Earlier],
    writer: str,
    head: Head,
    ids: AbstractSet[str] = frozenset(),
) -> Chained:
    """Decide of each entry whether it is new, and chain the new ones to `head`.

    `standing` is what the group's keys stand for already, and gets what they stand for now.
    `ids` are decision ids that are taken, where the store cannot refuse them by itself.
    """
    seq, last = head
    done = Chained([], [], [], head)
    taken = set(ids)
    for sealed in group:
        entry = sealed.entry
        pairs = asked(entry)
        if earlier := [standing[pair] for pair in pairs if pair in standing]:
            try:
                done.decided.append(replay(entry, earlier))
            except KeyReused as error:
                done.decided.append(error)
                continue
            decision = earlier[0]
        elif entry.decision_id in taken:
            done.decided.append(LedgerUnavailable("The decision id is in the ledger already"))
            continue
        else:
            seq, previous = seq + 1, last
            last = link(previous, sealed.canonical, writer, seq)
            taken.add(entry.decision_id)
            done.entries.append(Linked(sealed, seq, previous, last))
            done.decided.append(Appended(entry.decision_id, entry.answer, replayed=False))
            decision = Earlier(entry.decision_id, entry.request_digest, entry.answer, writer, seq)
        # A new key of an answered request is bound too: with another body it must not be free.
        for pair in pairs[:-1]:
            if pair not in standing:
                standing[pair] = decision
                done.used.append((pair, decision))
    done.head = (seq, last)
    return done


async def each(
    append: Callable[[Entry, Event | None], Awaitable[Appended]], decisions: Sequence[Decision]
) -> list[Appended | ScoregateError]:
    """Append one by one, at once."""
    found = await asyncio.gather(*(append(*decision) for decision in decisions), return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException) and not isinstance(one, ScoregateError):
            raise one
    return cast("list[Appended | ScoregateError]", found)


def due(group: Sequence[Waiting], decided: Sequence[Decided]) -> list[Sequence[Posted]]:
    """Return of each of a group which events it brings: those of an entry that is not written have not happened."""
    of_entries = iter(decided)
    return [waiting.posted if waiting.sealed is None or _is_written(next(of_entries)) else () for waiting in group]


def outcomes(
    group: Sequence[Waiting], decided: Sequence[Decided], are_new: Sequence[list[bool]]
) -> list[Decided | list[bool]]:
    """Return what each of a group is told: of an entry what became of it, of posted events which were new."""
    of_entries = iter(decided)
    return [next(of_entries) if waiting.sealed else is_new for waiting, is_new in zip(group, are_new, strict=True)]


def numbered(
    groups: Sequence[Sequence[Posted]], taken: AbstractSet[str], writer: str, numbers: Mapping[str, int]
) -> tuple[list[list[bool]], list[tuple[str, Outgoing]], dict[str, int]]:
    """Number the events whose keys are not taken; return of each whether it is new, the new ones with their keys, and
    the numbers that the streams are at now."""
    at = dict(numbers)
    known = set(taken)
    new: list[tuple[str, Outgoing]] = []
    are_new: list[list[bool]] = []
    for group in groups:
        are_new.append([])
        for event in group:
            are_new[-1].append(event.key not in known)
            if event.key not in known:
                known.add(event.key)
                at[event.stream] = number = at.get(event.stream, 0) + 1
                new.append((event.key, Outgoing(event.stream, writer, number, event.payload)))
    return are_new, new, at


def _is_written(decision: Decided) -> bool:
    return isinstance(decision, Appended) and not decision.replayed
