"""A ledger in front of another one; what a kind of it does not say otherwise goes through."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from scoregate.errors import ScoregateError
from scoregate.events import Event, Outgoing
from scoregate.ledger import Appended, Broken, Decision, Entry, Ledger, Recorded
from scoregate.ledger.group import Pair


class ForwardingLedger:
    """Wraps a ledger."""

    inner: Ledger

    @property
    def on_outgoing(self) -> Callable[[Sequence[Outgoing]], None] | None:
        return self.inner.on_outgoing

    @on_outgoing.setter
    def on_outgoing(self, told: Callable[[Sequence[Outgoing]], None] | None) -> None:
        self.inner.on_outgoing = told

    @property
    def coming(self) -> Callable[[], int]:
        return self.inner.coming

    @coming.setter
    def coming(self, count: Callable[[], int]) -> None:
        self.inner.coming = count

    async def append(self, entry: Entry, event: Event | None = None) -> Appended:
        return await self.inner.append(entry, event)

    async def append_all(self, decisions: Sequence[Decision]) -> list[Appended | ScoregateError]:
        return await self.inner.append_all(decisions)

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
        return await self.inner.get(decision_id)

    async def find(self, natural_key: str) -> Recorded | None:
        return await self.inner.find(natural_key)

    async def verify(self) -> list[Broken]:
        return await self.inner.verify()

    async def count(self) -> int:
        return await self.inner.count()

    async def close(self) -> None:
        await self.inner.close()
