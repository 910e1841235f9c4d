"""The port in memory: the same keys, the same chain, gone with the process; for tests."""

from __future__ import annotations

import uuid

from scoregate.errors import LedgerUnavailable
from scoregate.ledger import Appended, Broken, Entry, Recorded
from scoregate.ledger.entry import FORMAT, GENESIS, Earlier, first_broken, keys, link, replay, seal


class MemoryLedger:
    """One writer's chain in a list. Closed, it is a ledger that is down."""

    def __init__(self, service: str) -> None:
        self.service = service
        self._writer = uuid.uuid4().hex
        self._entries: list[Recorded] = []
        self._keys: dict[tuple[str, str], Earlier] = {}
        self._closed = False

    async def append(self, entry: Entry) -> Appended:
        if self._closed:
            raise LedgerUnavailable("The ledger is closed")
        if entry.service != self.service:
            raise ValueError(f"this is the ledger of {self.service}")
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
            writer=self._writer,
            seq=seq,
            previous_hash=previous.hex(),
            hash=link(previous, sealed.canonical, self._writer, seq).hex(),
            salts={name: salt.hex() for name, salt in sealed.salts.items()},
            commitments={name: digest.hex() for name, digest in sealed.commitments.items()},
        )
        self._entries.append(recorded)
        standing = Earlier(entry.decision_id, entry.request_digest, entry.answer, self._writer, seq)
        self._keys.update(dict.fromkeys(keys(entry), standing))
        return Appended(entry.decision_id, entry.answer, replayed=False)

    async def get(self, decision_id: str) -> Recorded | None:
        return next((recorded for recorded in self._entries if recorded.entry.decision_id == decision_id), None)

    async def find(self, natural_key: str) -> Recorded | None:
        earlier = self._keys.get(("natural", natural_key))
        return self._entries[earlier.seq - 1] if earlier else None

    async def verify(self) -> list[Broken]:
        head = bytes.fromhex(self._entries[-1].hash) if self._entries else GENESIS
        broken = first_broken(
            self._writer, ((recorded, FORMAT) for recorded in self._entries), len(self._entries), head
        )
        return [broken] if broken else []

    async def count(self) -> int:
        return len(self._entries)

    async def close(self) -> None:
        self._closed = True
