"""A ledger that goes on in a local segment while its store is down, and drains it when the store is back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self

from scoregate.errors import KeyReused, LedgerUnavailable, ScoregateError
from scoregate.events import Event
from scoregate.ledger import Appended, Decision, Entry, Ledger
from scoregate.ledger.entry import Earlier, keys, replay, seal
from scoregate.ledger.forwarding import ForwardingLedger
from scoregate.ledger.group import Key, each
from scoregate.ledger.segment_file import Held, SegmentFile, adopted

log = logging.getLogger(__name__)

CONFLICT = "#decided-twice-"
"""In the natural key of an entry whose key was decided by another process too: what comes before it is the key."""
AT_ONCE = 128
"""Decisions that are given to the store together."""


class Remote(Ledger, Protocol):
    """A ledger whose store may be down while this process lives."""

    @property
    def is_down(self) -> bool: ...


@dataclass(slots=True, eq=False)
class Claim:
    """A held decision: the keys it took, what they stand for, and when it is durable."""

    held: Held
    earlier: Earlier
    keys: Sequence[Key]
    durable: asyncio.Future[None]
    file: SegmentFile | None = None


class SegmentedLedger(ForwardingLedger):
    """Wraps a ledger; `await start()` before use, and after `inner`'s own start, even where that failed.

    With `accept` decisions go to a segment in `folder` when the store is down, up to `limit_bytes`; without, they are
    refused. In both cases what dead processes left in `folder` is drained.
    To accept is to promise that no other process decides the same keys meanwhile, and that the store need not be asked
    about earlier ones; where that turns out wrong both decisions are kept, see `CONFLICT`.
    Posted events are never held: whoever posts them can wait, and asks which are new. Events of held decisions are told
    when they reach the store: that is where they get their numbers.
    `retry_s` is how often the store is tried.
    """

    def __init__(
        self,
        inner: Remote,
        service: str,
        folder: Path,
        *,
        accept: bool = False,
        limit_bytes: int = 64 << 20,
        retry_s: float = 1.0,
    ) -> None:
        self.inner: Remote = inner
        self.service = service
        self.conflicts = 0
        self._folder = folder
        self._accept = accept
        self._limit_bytes = limit_bytes
        self._retry_s = retry_s
        self._retry_at_s = 0.0
        self._claims: dict[Key, Claim] = {}
        self._to_write: list[Claim] = []
        self._writing: asyncio.Task[None] | None = None
        self._to_drain: list[Claim] = []
        self._files: list[SegmentFile] = []
        self._own: SegmentFile | None = None
        self._bytes = 0
        self._draining: asyncio.Task[None] | None = None
        self._closed = False

    @classmethod
    async def open(
        cls, inner: Remote, service: str, folder: Path, *, accept: bool = False, limit_bytes: int = 64 << 20
    ) -> Self:
        ledger = cls(inner, service, folder, accept=accept, limit_bytes=limit_bytes)
        await ledger.start()
        return ledger

    async def start(self) -> None:
        """Take over what dead processes left, then drain it for as long as it takes.

        Raises:
            LedgerUnavailable: the folder cannot be read or written.
        """
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            await self._adopt()
        except OSError as error:
            raise LedgerUnavailable(f"The ledger's segments cannot be opened: {error}") from error
        self._draining = asyncio.create_task(self._drain_always(), name=f"segment-{self.service}")

    @property
    def held(self) -> int:
        """Decisions that are acknowledged and not in the store yet."""
        return len(self._to_drain) + len(self._to_write)

    @property
    def is_down(self) -> bool:
        return self.inner.is_down

    async def append(self, entry: Entry, event: Event | None = None) -> Appended:
        if self._closed:
            raise LedgerUnavailable("The ledger is closed")
        if any(one.service != self.service for one in (entry, event) if one):
            raise ValueError(f"this is the ledger of {self.service}")
        if not self._is_held(entry) and not self._is_waiting_out():
            try:
                return await self.inner.append(entry, event)
            except LedgerUnavailable:
                if not (self._accept and self.inner.is_down) or self._closed:
                    raise
                self._retry_at_s = time.monotonic() + self._retry_s
        return await self._hold(entry, event)

    async def append_all(self, decisions: Sequence[Decision]) -> list[Appended | ScoregateError]:
        return await each(self.append, decisions)

    async def close(self) -> None:
        """Write what is queued; what is held and cannot be drained now is left to the next process."""
        if self._closed:
            return
        self._closed = True
        if self._draining:
            self._draining.cancel()
            with suppress(asyncio.CancelledError):
                await self._draining
        if self._writing:
            await self._writing
        if self._to_drain and not self.inner.is_down:
            await self._drain()
        await self.inner.close()
        for file in self._files:
            file.close()

    # Holding

    def _is_held(self, entry: Entry) -> bool:
        return any(key in self._claims for key in keys(entry))

    def _is_waiting_out(self) -> bool:
        """Whether the store was found down a moment ago, so that not each decision waits to find the same."""
        return self._accept and self.inner.is_down and time.monotonic() < self._retry_at_s

    async def _hold(self, entry: Entry, event: Event | None) -> Appended:
        """Make a decision durable in the segment, or answer with what its keys stand for there."""
        if earlier := [claim for key in keys(entry) if (claim := self._claims.get(key))]:
            answer = replay(entry, [claim.earlier for claim in earlier])
            if any(key not in self._claims for key in keys(entry)):
                earlier.append(self._put(Held(entry, None, further=True)))
            for claim in earlier:
                await asyncio.shield(claim.durable)
            return answer
        seal(entry)
        await asyncio.shield(self._put(Held(entry, event)).durable)
        return Appended(entry.decision_id, entry.answer, replayed=False)

    def _put(self, held: Held) -> Claim:
        frame_bytes = len(held.encode())
        if self._bytes + frame_bytes > self._limit_bytes:
            raise LedgerUnavailable("The ledger's store is down and its segment is full")
        self._bytes += frame_bytes
        claim = self._claim(held)
        self._to_write.append(claim)
        if self._writing is None:
            self._writing = asyncio.create_task(self._write())
        return claim

    def _claim(self, held: Held) -> Claim:
        entry = held.entry
        pairs = keys(entry)
        standing = next((claim.earlier for key in pairs if (claim := self._claims.get(key))), None)
        earlier = standing or Earlier(entry.decision_id, entry.request_digest, entry.answer, "", 0)
        free = [key for key in pairs if key not in self._claims]
        claim = Claim(held, earlier, free, asyncio.get_running_loop().create_future())
        self._claims.update(dict.fromkeys(free, claim))
        return claim

    async def _write(self) -> None:
        """Make everything that waits durable with one sync, and again what came meanwhile."""
        try:
            while self._to_write:
                group = self._to_write[:]
                try:
                    if self._own is None:
                        self._own = await asyncio.to_thread(SegmentFile.create, self._folder, self.service)
                        self._files.append(self._own)
                    await asyncio.to_thread(self._own.append, [claim.held.encode() for claim in group])
                except OSError as error:
                    self._own = None  # What its end looks like now is unknown, and nothing may come after that.
                    self._refuse(group, LedgerUnavailable(f"The ledger's segment cannot be written: {error}"))
                else:
                    for claim in group:
                        claim.file = self._own
                        claim.durable.set_result(None)
                    self._to_drain += group
                del self._to_write[: len(group)]
        finally:
            self._writing = None

    def _refuse(self, group: Iterable[Claim], error: LedgerUnavailable) -> None:
        for claim in group:
            self._release(claim)
            claim.durable.set_exception(error)
            claim.durable.exception()  # Somebody may have stopped waiting for it.

    def _release(self, claim: Claim) -> None:
        self._bytes -= len(claim.held.encode())
        for key in claim.keys:
            del self._claims[key]

    # Draining

    async def _drain_always(self) -> None:
        while True:
            try:
                await self._adopt()
                await self._drain()
            except Exception as error:
                # The door of this task: were it to end, what is held would wait for another process.
                log.warning("ledger.segment.failed", extra={"error": type(error).__name__})
            await asyncio.sleep(self._retry_s)

    async def _adopt(self) -> None:
        for file in await asyncio.to_thread(adopted, self._folder, self.service):
            try:
                left = await asyncio.to_thread(file.read)
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning(
                    "ledger.segment.unreadable", extra={"segment": file.path.name, "error": type(error).__name__}
                )
                file.close()
                continue
            self._files.append(file)
            for held in left:
                claim = self._claim(held)
                claim.file = file
                claim.durable.set_result(None)
                self._bytes += len(held.encode())
                self._to_drain.append(claim)

    async def _drain(self) -> None:
        """Give the store what is held. What was given before a kill is recognised there by its keys."""
        await self._deliver_all([claim for claim in self._to_drain if not claim.held.further])
        # A further key must find its decision there, or it would become one.
        if all(claim.held.further for claim in self._to_drain):
            await self._deliver_all(self._to_drain[:])
        used = Counter(claim.file for claim in self._to_drain)
        for file in [file for file in self._files if not used[file]]:
            if file is self._own:
                if self._to_write:
                    continue
                self._own = None
            self._files.remove(file)
            await asyncio.to_thread(file.remove)

    async def _deliver_all(self, claims: Sequence[Claim]) -> None:
        for start in range(0, len(claims), AT_ONCE):
            group = claims[start : start + AT_ONCE]
            ended = await asyncio.gather(*map(self._deliver, group), return_exceptions=True)
            done = {claim for claim, error in zip(group, ended, strict=True) if error is None}
            self._to_drain = [claim for claim in self._to_drain if claim not in done]
            for claim in done:
                self._release(claim)
            for error in ended:
                if isinstance(error, BaseException) and not isinstance(error, LedgerUnavailable):
                    log.warning("ledger.segment.refused", extra={"error": type(error).__name__})
            if self.inner.is_down and any(isinstance(error, LedgerUnavailable) for error in ended):
                # Who drains has just tried the store for everybody.
                self._retry_at_s = time.monotonic() + 2 * self._retry_s
                return

    async def _deliver(self, claim: Claim) -> None:
        entry, event = claim.held.entry, claim.held.event
        try:
            appended = await self.inner.append(entry, event)
        except KeyReused:
            pass
        else:
            if appended.decision_id == entry.decision_id:
                return
        if claim.held.further or await self.inner.get(entry.decision_id):
            return
        # It was acknowledged, so it is kept; the key goes on standing for the decision that the store has.
        await self.inner.append(marked(entry), event)
        self.conflicts += 1
        log.warning("ledger.segment.conflict", extra={"decision_id": entry.decision_id})


def marked(entry: Entry) -> Entry:
    """Return the entry under a natural key that says that its own key was decided twice.

    The digest says so too: where the earlier decision was forgotten, it stands for that one.
    """
    says = f"{CONFLICT}{entry.decision_id}"
    return replace(
        entry,
        natural_key=entry.natural_key + says,
        idempotency_key=None,
        request_digest=entry.request_digest + says,
    )
