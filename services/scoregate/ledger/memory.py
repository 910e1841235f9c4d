"""The port in memory: the same keys, the same chain, gone with the process; for tests."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence

from scoregate.errors import LedgerUnavailable, ScoregateError
from scoregate.events import Event, Outgoing
from scoregate.ledger import Appended, Broken, Decision, Entry, Recorded, nobody
from scoregate.ledger.entry import GENESIS, Earlier, first_broken, format_of, keys, link, replay, seal
from scoregate.ledger.group import each


class MemoryOutbox:
    """Events by key, and those of each writer and stream in order; ledgers that share one are lives on one file."""

    def __init__(self) -> None:
        self.payloads: dict[str, bytes] = {}
        self.streams: dict[tuple[str, str], list[Outgoing]] = {}
        self.sent: dict[tuple[str, str], int] = {}

    def add(self, writer: str, event: Event, payload: bytes) -> Outgoing | None:
        """Number an event; None when its key is known."""
        if event.key in self.payloads:
            return None
        self.payloads[event.key] = payload
        stream = self.streams.setdefault((writer, event.stream), [])
        stream.append(Outgoing(event.stream, writer, len(stream) + 1, payload))
        return stream[-1]


class MemoryLedger:
    """One writer's chain in a list. Closed, it is a ledger that is down."""

    on_outgoing: Callable[[Sequence[Outgoing]], None] | None = None
    coming: Callable[[], int] = staticmethod(nobody)

    def __init__(self, service: str, outbox: MemoryOutbox | None = None) -> None:
        self.service = service
        self.writer = uuid.uuid4().hex
        self._outbox = outbox or MemoryOutbox()
        self._entries: list[Recorded] = []
        self._keys: dict[tuple[str, str], Earlier] = {}
        self._closed = False

    async def append(self, entry: Entry, event: Event | None = None) -> Appended:
        events = [event] if event else []
        self._check(entry, *events)
        payloads = [one.encode() for one in events]
        appended = self._add(entry)
        if not appended.replayed:
            self._post(events, payloads)
        return appended

    async def append_all(self, decisions: Sequence[Decision]) -> list[Appended | ScoregateError]:
        return await each(self.append, decisions)

    async def record(self, events: Sequence[Event]) -> list[bool]:
        self._check(*events)
        return self._post(events, [event.encode() for event in events])

    async def recorded(self, keys: Sequence[str]) -> dict[str, Event]:
        payloads = self._outbox.payloads
        return {key: Event.decode(payloads[key]) for key in keys if key in payloads}

    async def heads(self) -> dict[tuple[str, str], int]:
        sent = self._outbox.sent
        return {pair: len(stream) for pair, stream in self._outbox.streams.items() if len(stream) > sent.get(pair, 0)}

    async def outgoing(self, writer: str, stream: str, after: int, limit: int) -> list[Outgoing]:
        return self._outbox.streams.get((writer, stream), [])[after : after + limit]

    async def sent(self, writer: str, stream: str, number: int) -> None:
        self._outbox.sent[writer, stream] = max(number, self._outbox.sent.get((writer, stream), 0))

    def _check(self, *written: Entry | Event) -> None:
        if self._closed:
            raise LedgerUnavailable("The ledger is closed")
        if any(one.service != self.service for one in written):
            raise ValueError(f"this is the ledger of {self.service}")

    def _post(self, events: Sequence[Event], payloads: Sequence[bytes]) -> list[bool]:
        added = [self._outbox.add(self.writer, *one) for one in zip(events, payloads, strict=True)]
        if self.on_outgoing and (outgoing := [one for one in added if one]):
            self.on_outgoing(outgoing)
        return [one is not None for one in added]

    def _add(self, entry: Entry) -> Appended:
        sealed = seal(entry)
        if earlier := [self._keys[key] for key in keys(entry) if key in self._keys]:
            appended = replay(entry, earlier)
            for key in keys(entry):
                self._keys.setdefault(key, earlier[0])
            return appended
        if any(entry.decision_id == recorded.entry.decision_id for recorded in self._entries):
            raise LedgerUnavailable("The decision id is in the ledger already")
        previous = bytes.fromhex(self._entries[-1].hash) if self._entries else GENESIS
        seq = len(self._entries) + 1
        recorded = Recorded(
            entry=entry,
            writer=self.writer,
            seq=seq,
            previous_hash=previous.hex(),
            hash=link(previous, sealed.canonical, self.writer, seq).hex(),
            salts={name: salt.hex() for name, salt in sealed.salts.items()},
            commitments={name: digest.hex() for name, digest in sealed.commitments.items()},
            format=format_of(entry),
        )
        self._entries.append(recorded)
        standing = Earlier(entry.decision_id, entry.request_digest, entry.answer, self.writer, seq)
        self._keys.update(dict.fromkeys(keys(entry), standing))
        return Appended(entry.decision_id, entry.answer, replayed=False)

    async def get(self, decision_id: str) -> Recorded | None:
        return next((recorded for recorded in self._entries if recorded.entry.decision_id == decision_id), None)

    async def find(self, natural_key: str) -> Recorded | None:
        earlier = self._keys.get(("natural", natural_key))
        return self._entries[earlier.seq - 1] if earlier else None

    async def verify(self) -> list[Broken]:
        head = bytes.fromhex(self._entries[-1].hash) if self._entries else GENESIS
        broken = first_broken(self.writer, self._entries, len(self._entries), head)
        return [broken] if broken else []

    async def count(self) -> int:
        return len(self._entries)

    async def close(self) -> None:
        self._closed = True
