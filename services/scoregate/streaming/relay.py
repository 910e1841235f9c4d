"""Brings what the ledger's outbox holds to the streams: at once what is recorded here, and later what was left behind.

A serving process appends its own events as soon as they are durable. Every so often it looks for those that are not on
their stream, its own after the store was away, or those of a process that died before it could send them.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import Any, Final, Protocol

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError, ResponseError

from scoregate.errors import LedgerUnavailable
from scoregate.events import Outgoing
from scoregate.features.round_trip import RoundTrips, packed
from scoregate.streaming import producer
from scoregate.streaming.keys import kept_key, marker_key, writers_key
from scoregate.values import frozen

SWEEP_S: Final = 0.5
AT_ONCE: Final = 200
"""Events per call: a script holds up everybody else's reads for as long as it runs."""
MOST_WAITING: Final = 20_000
"""Events that wait in memory; beyond it they are read from the ledger again."""
SETTLING_S: Final = 1.0
WATERMARK_S: Final = 0.25
"""A worker that has nothing to do moves its watermark every 0.2 s."""
GATHER_S: Final = 0.02
_TIMEOUT_S: Final = 2.0


class Outbox(Protocol):
    """What of a ledger the relay needs; see `scoregate.ledger.Ledger`."""

    on_outgoing: Any

    async def heads(self) -> dict[tuple[str, str], int]: ...
    async def outgoing(self, writer: str, stream: str, after: int, limit: int) -> list[Outgoing]: ...
    async def sent(self, writer: str, stream: str, number: int) -> None: ...


@frozen
class _Swept:
    """What was durable when it began was on the streams when it ended.

    `epochs`: which filling of the store that holds for, None for none; for streams that are not named, for any.
    """

    began_s: float
    ended_s: float
    epochs: Mapping[str, str | None]


class Relay:
    """Sends a ledger's events until it is closed. `waiting` counts those that are durable and not yet sent."""

    def __init__(self, ledger: Outbox, project: str, url: str) -> None:
        self._ledger, self._project = ledger, project
        self._redis: Any = Redis.from_url(
            url, socket_timeout=_TIMEOUT_S, socket_connect_timeout=_TIMEOUT_S, retry=Retry(NoBackoff(), 0)
        )
        self._round_trips = RoundTrips(self._redis, _TIMEOUT_S)
        self._fresh: list[Outgoing] = []
        self._woken = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._closing = False
        self._swept: deque[_Swept] = deque(maxlen=3)
        self.waiting = 0

    def sent_until_s(self, stream: str, epoch: str, counted_until_s: float) -> float:
        """Return the time up to which all that is durable here is counted; 0 if nothing is known.

        `epoch` names the filling of the store that is asked about, `counted_until_s` is the watermark: up to when what
        is on the stream is counted. A store that was filled anew lacks what was neither in history nor sent again yet,
        however new its watermark is.
        """
        for swept in self._swept:
            # Where nothing was ever recorded for a stream, nothing can be lacking.
            is_counted = stream not in swept.epochs or swept.ended_s <= counted_until_s
            if is_counted and swept.epochs.get(stream, epoch) == epoch:
                return swept.began_s
        return 0.0

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._ledger.on_outgoing = self._take
        self._task = self._loop.create_task(self._run())

    async def settled(self) -> None:
        """Wait, not for long, until what is read can be vouched for: a sweep, and a watermark after it."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(SETTLING_S):
                while not self._swept:  # noqa: ASYNC110  a store that is away has none, and is not waited for
                    await asyncio.sleep(0.02)
                await asyncio.sleep(WATERMARK_S)

    async def close(self) -> None:
        """Send what waits if the store answers; what is left stays in the ledger for the next process."""
        self._ledger.on_outgoing = None
        # A sweep asks Redis' client, which waits by `wait_for`, and before Python 3.12 that loses a cancellation that
        # comes with its result: the task that never heard of it would be waited for without end.
        self._closing = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
            with contextlib.suppress(RedisError, OSError, LedgerUnavailable, TimeoutError):
                async with asyncio.timeout(_TIMEOUT_S):
                    await self._send_fresh()
        self._round_trips.drop()
        await self._redis.aclose()

    def _take(self, some: Sequence[Outgoing]) -> None:
        if not self._fresh:
            # One call of the store takes what comes meanwhile, too.
            self._loop.call_later(GATHER_S, self._woken.set)
        if len(self._fresh) < MOST_WAITING:
            self._fresh += some

    async def _run(self) -> None:
        swept_s = -SWEEP_S
        while not self._closing:
            try:
                await self._send_fresh()
                if self._loop.time() - swept_s >= SWEEP_S:
                    await self._sweep()
                    swept_s = self._loop.time()
            except (RedisError, OSError, LedgerUnavailable) as problem:
                # Nothing is lost: the next sweep starts from what the stream says it has.
                self._fresh.clear()
                if not isinstance(problem, LedgerUnavailable):
                    # A store that was away may have lost what it had.
                    self._swept.clear()
                await asyncio.sleep(SWEEP_S / 4)
            next_sweep = self._loop.call_later(SWEEP_S, self._woken.set)
            await self._woken.wait()
            next_sweep.cancel()
            self._woken.clear()

    async def _send_fresh(self) -> None:
        some, self._fresh = self._fresh, []
        by_source: dict[tuple[str, str], list[Outgoing]] = defaultdict(list)
        for each in some:
            by_source[each.writer, each.stream].append(each)
        for events in by_source.values():
            for start in range(0, len(events), AT_ONCE):
                # A gap is left to the sweep, which reads the ledger.
                await self._append(events[start : start + AT_ONCE])

    async def _sweep(self) -> None:
        """Send what the streams lack of any writer whose events may not all be there, or could be lost with them."""
        began_s = time.time()
        heads = await self._ledger.heads()
        self.waiting = 0
        sent: dict[str, str | None] = {}
        for stream, group in groupby(sorted(heads, key=lambda pair: (pair[1], pair[0])), key=lambda pair: pair[1]):
            writers = [writer for writer, _ in group]
            pipe = self._redis.pipeline(transaction=False)
            pipe.hget(marker_key(self._project, stream), "epoch")
            for key in (writers_key, kept_key):
                pipe.hmget(key(self._project, stream), writers)
            epoch, known, kept = await pipe.execute()
            whole = [
                await self._catch_up(writer, stream, int(raw or 0), heads[writer, stream])
                for writer, raw in zip(writers, known, strict=True)
            ]
            for writer, raw in zip(writers, kept, strict=True):
                # What is on the stream alone is lost with the store, and has to be sent again.
                if raw:
                    await self._ledger.sent(writer, stream, int(raw))
            after = await self._redis.hget(marker_key(self._project, stream), "epoch")
            sent[stream] = epoch.decode() if epoch is not None and epoch == after and all(whole) else None
        self._swept.appendleft(_Swept(began_s, time.time(), sent))

    async def _catch_up(self, writer: str, stream: str, sent: int, head: int) -> bool:
        """Send a writer's events up to `head`; return whether the stream has them all."""
        while sent < head:
            some = await self._ledger.outgoing(writer, stream, sent, AT_ONCE)
            if not some:
                break
            if some[0].number > sent + 1:
                # What came between has been removed from the ledger by its retention: the stream must not wait for it.
                await self._redis.hset(writers_key(self._project, stream), writer, some[0].number - 1)
            last = await self._append(some)
            if last == producer.CLOSED:
                self.waiting += head - sent
                return False
            sent = max(last, sent + len(some))
        return True

    async def _append(self, some: Sequence[Outgoing]) -> int:
        arguments = producer.arguments(self._project, some)
        [last] = await self._round_trips([packed(("EVAL", producer.SCRIPT, "3", *arguments))])
        if isinstance(last, ResponseError):
            raise last
        return int(last)
