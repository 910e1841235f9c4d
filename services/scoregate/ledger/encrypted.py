"""A ledger that gets vectors, answers and events' columns encrypted, whatever store and segment are behind it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from scoregate.errors import ScoregateError
from scoregate.events import Event, Outgoing
from scoregate.ledger import Appended, Decision, Entry, Ledger, Recorded
from scoregate.ledger.cipher import ENCRYPTED_ROW, FieldCipher
from scoregate.ledger.forwarding import ForwardingLedger


class EncryptedLedger(ForwardingLedger):
    """Wraps a ledger that is open. The chain covers what is stored, so `verify` needs no key.

    Whoever listens to outgoing events gets them as they were posted: the stream is not at rest.
    """

    def __init__(self, inner: Ledger, cipher: FieldCipher) -> None:
        self.inner = inner
        self._cipher = cipher
        self._told: Callable[[Sequence[Outgoing]], None] | None = None

    @property
    def on_outgoing(self) -> Callable[[Sequence[Outgoing]], None] | None:
        return self._told

    @on_outgoing.setter
    def on_outgoing(self, told: Callable[[Sequence[Outgoing]], None] | None) -> None:
        self._told = told
        self.inner.on_outgoing = told and (lambda outgoing: told([self._readable(one) for one in outgoing]))

    async def append(self, entry: Entry, event: Event | None = None) -> Appended:
        return self._answered(await self.inner.append(*self._sealed((entry, event))))

    async def append_all(self, decisions: Sequence[Decision]) -> list[Appended | ScoregateError]:
        found = await self.inner.append_all([self._sealed(decision) for decision in decisions])
        return [self._answered(one) if isinstance(one, Appended) else one for one in found]

    async def record(self, events: Sequence[Event]) -> list[bool]:
        return await self.inner.record([self._cipher.encrypted_event(event) for event in events])

    async def recorded(self, keys: Sequence[str]) -> dict[str, Event]:
        found = await self.inner.recorded(keys)
        return {key: self._cipher.decrypted_event(event) for key, event in found.items()}

    async def outgoing(self, writer: str, stream: str, after: int, limit: int) -> list[Outgoing]:
        return [self._readable(one) for one in await self.inner.outgoing(writer, stream, after, limit)]

    async def get(self, decision_id: str) -> Recorded | None:
        found = await self.inner.get(decision_id)
        return found and self._cipher.decrypted(found)

    async def find(self, natural_key: str) -> Recorded | None:
        found = await self.inner.find(natural_key)
        return found and self._cipher.decrypted(found)

    def _sealed(self, decision: Decision) -> Decision:
        entry, event = decision
        return self._cipher.encrypted(entry), event and self._cipher.encrypted_event(event)

    def _answered(self, appended: Appended) -> Appended:
        answer = self._cipher.decrypt(appended.answer, appended.decision_id, "answer")
        return appended if answer is appended.answer else replace(appended, answer=answer)

    def _readable(self, outgoing: Outgoing) -> Outgoing:
        if ENCRYPTED_ROW.encode() not in outgoing.payload:
            return outgoing
        event = self._cipher.decrypted_event(Event.decode(outgoing.payload))
        return replace(outgoing, payload=event.encode())
