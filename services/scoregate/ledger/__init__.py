"""The port to the ledger: every decision is in it before its answer leaves.

entry.py      canonical bytes, commitments of personal fields, the hash that chains entries
sqlite.py     embedded default: one file per service, group commit, write-ahead log; sqlite_*.py are its parts
postgres.py   the same in a database that replicas share; postgres_*.py are its parts
memory.py     the same port in memory, for tests
forwarding.py a ledger in front of another: encrypted.py, segment.py
archive.py    the second port: to verify, search, export and forget

An entry holds what re-derives the decision bit for bit: vector, ages, digests of model and policy, the answer's bytes.
The chain is per writer (one process life): each entry's hash covers the one before it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Protocol

from scoregate.errors import ScoregateError
from scoregate.events import Event, Outgoing
from scoregate.values import frozen

TIMEOUT_S: Final = 0.8
"""Longest wait for a transaction, unless it is said otherwise: a caller who waits a second is answered after it."""

GATHER_S: Final = 0.005
"""Longest wait for decisions that are coming, where one transaction could take them all."""


@frozen
class Entry:
    """One decision, as it is recorded. Times are seconds since the epoch, UTC.

    `vector` is float64 little-endian in matrix order; empty when no vector could be made.
    `ages` is canonical JSON: view → [status, age in seconds or null].
    `request_digest` is a keyed hash of the canonical request, so that a low-entropy body cannot be guessed from it.
    `personal` maps a field's name to the keyed hash of its value ("<key id>:<hex>"); the chain covers only a salted
    commitment of each, so that value and salt can be forgotten and the chain still verifies.
    `shadow` is canonical JSON: what another model thought of the same vector, which nobody was told, see
    `scoring/shadow.py`; None where there was no such model.
    """

    decision_id: str
    service: str
    natural_key: str
    idempotency_key: str | None
    request_digest: str
    outcome: str
    score: float | None
    source: str
    rung: str
    vector: bytes
    ages: str
    personal: Mapping[str, str]
    answer: bytes
    model_digest: str
    policy_digest: str
    feature_digest: str
    arm: str
    trace_id: str
    event_at: float
    decided_at: float
    shadow: str | None = None


Decision = tuple[Entry, Event | None]
"""An entry, and the event that it is to others."""


@frozen
class Recorded:
    """An entry as the ledger keeps it: who wrote it, where it stands in that writer's chain.

    `salts` and `commitments` are hex by field: those of `entry.COMMITTED`, and each personal one as `personal.<name>`.
    A field with a commitment and no salt was forgotten; `entry` then holds it empty, None, or not at all.
    `format` says how the bytes under the hash are written, see `entry.FORMATS`.
    """

    entry: Entry
    writer: str
    seq: int
    previous_hash: str
    hash: str
    salts: Mapping[str, str]
    commitments: Mapping[str, str]
    format: int = 1

    @property
    def forgotten(self) -> list[str]:
        """Names of what was forgotten, in order; empty when the entry is whole."""
        return sorted(self.commitments.keys() - self.salts.keys())


@frozen
class Appended:
    """What `append` made durable: this entry's answer, or the earlier answer to the same key."""

    decision_id: str
    answer: bytes
    replayed: bool


@frozen
class Broken:
    """The first entry at which a chain does not verify, and why."""

    writer: str
    seq: int
    decision_id: str | None
    why: str


def nobody() -> int:
    """Say that no decision is coming."""
    return 0


class Ledger(Protocol):
    """Where decisions are recorded.

    Both the natural key and the idempotency key are unique per service, in the same transaction as the entry.
    """

    on_outgoing: Callable[[Sequence[Outgoing]], None] | None
    """Called in the event loop with each group of this writer's events that has become durable, in the order of their
    numbers, before their `append` and `record` return; it must be quick, and must not raise.

    What it is not told (events of another life, or of a commit that took hold although it failed) is in `heads`.
    """

    coming: Callable[[], int]
    """How many decisions are being made that will be appended in a moment: whoever writes may wait `GATHER_S` for them.

    One transaction of four entries costs a process half of what four cost."""

    async def append(self, entry: Entry, event: Event | None = None) -> Appended:
        """Make the entry durable, and with it, in one transaction, the event that it is to others; then return.

        A replayed entry brings no event, and neither does one whose event's key has been recorded before.

        When a key was already used with the same `request_digest`, no entry is written and the earlier answer comes
        back with `replayed` true; a further key of that request then stands for the same answer.

        Raises:
            ValueError: what was given is another service's, or has a number or text that no store keeps.
            KeyReused: the key was used with another request, or its answer has been forgotten.
            LedgerUnavailable: the entry could not be made durable; nothing was acknowledged.
        """
        ...

    async def append_all(self, decisions: Sequence[Decision]) -> list[Appended | ScoregateError]:
        """Append each as `append` would, in their order; return what became of each, what it would raise in its place.

        Raises:
            ValueError: one of them is another service's, or has a number or text that no store keeps.
        """
        ...

    async def record(self, events: Sequence[Event]) -> list[bool]:
        """Make posted events durable, all or none, in their order; return of each whether its key was new.

        Under one key the first event stands, whether it came with an entry or was posted.

        Raises:
            ValueError: one is another service's, or has a number or text that no store keeps.
            LedgerUnavailable: they could not be made durable; nothing was acknowledged.
        """
        ...

    async def recorded(self, keys: Sequence[str]) -> dict[str, Event]:
        """Return the events that were recorded under these keys, by key."""
        ...

    async def heads(self) -> dict[tuple[str, str], int]:
        """Return the number of the last event of each (writer, stream) that may not have reached its stream.

        Writers of earlier lives are among them, and others that live.
        """
        ...

    async def outgoing(self, writer: str, stream: str, after: int, limit: int) -> list[Outgoing]:
        """Return durable events of one writer and stream in the order of their numbers, from `after` + 1 on."""
        ...

    async def sent(self, writer: str, stream: str, number: int) -> None:
        """Note that a writer's events up to this number are on the stream. Losing the note is harmless."""
        ...

    async def get(self, decision_id: str) -> Recorded | None: ...

    async def find(self, natural_key: str) -> Recorded | None:
        """Return the entry that a natural key stands for."""
        ...

    async def verify(self) -> list[Broken]:
        """Walk every writer's chain; return the first broken entry of each, an empty list when all hold."""
        ...

    async def count(self) -> int: ...

    async def close(self) -> None:
        """Write what is queued, then release the store."""
        ...
