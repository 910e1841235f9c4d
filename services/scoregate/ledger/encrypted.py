"""A ledger that gets vectors and answers encrypted, whatever store and segment are behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scoregate.events import Event, Outgoing
from scoregate.ledger import Appended, Broken, Entry, Ledger, Recorded
from scoregate.ledger.cipher import FieldCipher
from scoregate.ledger.group import Pair


class EncryptedLedger:
    """Wraps a ledger that is open. The chain covers what is stored, so `verify` needs no key."""

    def __init__(self, inner: Ledger, cipher: FieldCipher) -> None:
        self.inner = inner
        self._cipher = cipher

    @property
    def on_outgoing(self) -> Callable[[Sequence[Outgoing]], None] | None:
        return self.inner.on_outgoing

    @on_outgoing.setter
    def on_outgoing(self, told: Callable[[Sequence[Outgoing]], None] | None) -> None:
        self.inner.on_outgoing = told

    async def append(self, entry: Entry, event: Event | None = None) -> Appended:
        appended = await self.inner.append(self._cipher.encrypted(entry), event)
        id_ = appended.decision_id
        return Appended(id_, self._cipher.decrypt(appended.answer, id_, "answer"), appended.replayed)

    async def record(self, events: Sequence[Event]) -> list[bool]:
        return await self.inner.record(events)

    async def recorded(self, keys: Sequence[str]) -> dict[str, Event]:
        return await self.inner.recorded(keys)

    async def heads(self) -> dict[Pair, int]:
        return await self.inner.heads()

    async def outgoing(self, writer: str, stream: str, after: int, limit: int) -> list[Outgoing]:
        return await self.inner.outgoing(writer, stream, after, limit)

    async def sent(self, writer: str, stream: str, number: int) -> None:
        await self.inner.sent(writer, stream, number)

    async def get(self, decision_id: str) -> Recorded | None:
        found = await self.inner.get(decision_id)
        return found and self._cipher.decrypted(found)

    async def find(self, natural_key: str) -> Recorded | None:
        found = await self.inner.find(natural_key)
        return found and self._cipher.decrypted(found)

    async def verify(self) -> list[Broken]:
        return await self.inner.verify()

    async def count(self) -> int:
        return await self.inner.count()

    async def close(self) -> None:
        await self.inner.close()
