"""The worker: takes entries off the streams and counts them into the feature store, each once, as soon as they come.

A thread per stream. Whoever holds a shard's lease applies it; entries are acknowledged after their effect, so whatever
kills a worker, the next one is given again what was not done, and the rows tell it what was.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable
from typing import Any, Final

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as Disconnected
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from scoregate.errors import ScoregateError
from scoregate.events import FACTS, Effect, Event, Outgoing
from scoregate.features.plan import views
from scoregate.settings import Settings
from scoregate.streaming.apply import Applier, Order, order_of
from scoregate.streaming.keys import events_key, holder_key, kept_key, lease_key, marker_key, rejected_key
from scoregate.streaming.rows import SWAP
from scoregate.streaming.tracing import BatchSpans, Put
from scoregate.streaming.twin import Entry, Twin, live_folder
from scoregate.telemetry.logs import EventLog
from scoregate.telemetry.metrics import EventMetrics

AT_ONCE: Final = 2_000
SAMPLED: Final = 50
"""Events of one batch whose freshness is observed."""
WAIT_MS: Final = 200
LEASE_MS: Final = 1_000
RENEW_S: Final = 0.25
TRIM_S: Final = 10.0
KEPT_MS: Final = 600_000
"""Entries that everybody has had stay on the stream for this long."""
_TIMEOUT_S: Final = 5.0

TAKE: Final = """
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if redis.call('GET', KEYS[2]) == ARGV[1] then return 2 end
redis.call('SET', KEYS[2], ARGV[1])
return 1
"""
"""KEYS: lease, its last holder. ARGV: token, ms. Returns 0 if somebody else has it, 2 if nobody else had it since."""
READ: Final = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
return redis.call('XREADGROUP', 'GROUP', ARGV[2], 'worker', 'COUNT', ARGV[3], 'STREAMS', KEYS[1], ARGV[4])
"""
"""Gives entries to the holder of the lease alone: what somebody else is given and does not live to apply could not
be applied any more once the holder has gone on.

KEYS: stream, lease. ARGV: token, group, how many, after which ('>': new ones). Returns 0 if somebody else has it."""
SET_IN: Final = """
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
return redis.call('HSET', KEYS[2], unpack(ARGV, 2))
"""
"""Sets fields in one filling of the store alone: one that was flushed meanwhile must not get half a marker.

KEYS: marker, hash. ARGV: epoch, fields and values."""
_STILL: Final = 2
RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"

_KNOWN_AT_ONCE: Final = (Effect.COUNT, Effect.FACTS)

_Given = tuple[bytes, list[bytes] | None]
"""An entry as the store gives it: id, and names and values one after the other; None for one that was trimmed away."""
Rebuild = Callable[[str], bool]
"""Fills the rows of a stream anew and sets its marker; does nothing, and returns False, if somebody else has."""


def group_of(shard: int, shards: int) -> str:
    """Name of the consumer group of one shard."""
    return f"shard-{shard}-of-{shards}"


def streams_of(registry: bytes) -> list[str]:
    """Every stream that some view reads, facts included."""
    return sorted({plan.stream for plan, _ in views(registry, "tiles")} | {FACTS})


class StreamWorker:
    """One shard of one stream. `run` returns when `stop` is set."""

    def __init__(
        self,
        settings: Settings,
        registry: bytes,
        stream: str,
        metrics: EventMetrics,
        log: EventLog,
        rebuild: Rebuild,
        stop: threading.Event,
        *,
        shard: int = 0,
        shards: int = 1,
        put_span: Put | None = None,
    ) -> None:
        self.stream = stream
        self._shard, self._shards = shard, shards
        self._spans = BatchSpans(stream, put_span) if put_span else None
        self._metrics, self._log, self._rebuild, self._stop = metrics, log, rebuild, stop
        self._redis: Any = Redis.from_url(
            settings.store_url,
            socket_timeout=_TIMEOUT_S,
            socket_connect_timeout=_TIMEOUT_S,
            retry=Retry(NoBackoff(), 0),
            redis_connect_func=self._connected,
        )
        self._events = events_key(settings.project, stream)
        self._marker = marker_key(settings.project, stream)
        self._lease = lease_key(settings.project, stream, shard)
        self._holder = holder_key(settings.project, stream, shard)
        self._rejected = rejected_key(settings.project, stream)
        self._kept = kept_key(settings.project, stream)
        self._token = secrets.token_hex(8)
        self._group = group_of(shard, shards)
        swap_sha = self._redis.register_script(SWAP).sha
        self._applier = Applier(
            self._redis, registry, settings.project, stream, swap_sha=swap_sha, shard=shard, shards=shards
        )
        # One shard writes the twin, for all.
        self._twin = Twin(live_folder(settings.data, stream)) if shard == 0 else None
        self._renewed_s = self._trimmed_s = 0.0
        self._epoch: bytes | None = None
        self._counted_until: Order = (0, 0)
        self._seen: bytes = b"0"
        self.caught_up = False

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                if self._hold_lease() and self._whole():
                    self._turn()
                else:
                    self.caught_up = False
                    self._stop.wait(0.05)
            except (RedisError, OSError, ScoregateError) as problem:
                self.caught_up = False
                self._begin_again()
                self._log.event("events.interrupted", stream=self.stream, error=f"{type(problem).__name__}: {problem}")
                self._stop.wait(0.2)
            except ValueError as problem:
                # A row that no worker has written: only history tells what it should be.
                self._log.event("store.damaged", stream=self.stream, error=str(problem))
                self._begin_again()
                self._redis.delete(self._marker)
        with contextlib.suppress(RedisError, OSError):
            self._write()
            self._redis.eval(RELEASE, 1, self._lease, self._token)
        self._redis.close()

    # Who applies, and to what

    def _hold_lease(self) -> bool:
        if time.monotonic() - self._renewed_s < RENEW_S and self._epoch is not None:
            return True
        taken = self._redis.eval(TAKE, 2, self._lease, self._holder, self._token, LEASE_MS)
        if taken != _STILL:
            # What was read without the lease may be known to nobody else.
            self._write()
            self._begin_again()
        if not taken:
            return False
        self._renewed_s = time.monotonic()
        # Whoever rebuilds the store takes the marker away and waits for this lease.
        if self._epoch is not None and self._redis.hget(self._marker, "epoch") != self._epoch:
            self._let_go()
            return False
        return True

    def _connected(self, connection: Any) -> None:
        """Let nobody go on over a new connection as if nothing had been: a store that was started again may have lost
        what it was told last, and rows in memory would be ahead of it."""
        if self._epoch is not None:
            raise Disconnected("the store was away")
        connection.on_connect()

    def _let_go(self) -> None:
        self._begin_again()
        self._redis.eval(RELEASE, 1, self._lease, self._token)

    def _begin_again(self) -> None:
        """Forget what is only true while nobody else has written."""
        self._epoch = None
        self._applier.forget()
        if self._twin:
            self._twin.forget()

    def _whole(self) -> bool:
        """Whether the store may be counted into; one that lost its marker is filled anew."""
        if self._epoch is not None:
            return True
        epoch, counted = self._redis.hmget(self._marker, "epoch", "counted")
        if epoch is None:
            self._let_go()
            if self._shard == 0:
                self._rebuild(self.stream)
            return False
        with contextlib.suppress(ResponseError):  # It is there.
            self._redis.xgroup_create(self._events, self._group, id="0", mkstream=True)
        groups = {group["name"]: group for group in self._redis.xinfo_groups(self._events)}
        self._seen = groups[self._group.encode()]["last-delivered-id"]
        self._counted_until = order_of(counted or b"")
        self._redis.script_load(SWAP)
        self._epoch = epoch
        # Before anything new.
        self._redo()
        return self._epoch is not None

    def _redo(self) -> None:
        """Apply what was delivered and not acknowledged, for as long as the lease is ours."""
        after = b"0"
        while self._hold_lease() and (entries := self._read(after)):
            self._apply(entries)
            after = entries[-1][0]

    # One turn

    def _turn(self) -> None:
        if self.caught_up:
            self._redis.xread({self._events: self._seen}, count=1, block=WAIT_MS)
        asked_us = int(time.time() * 1e6)
        entries = self._read()
        if entries is None:
            self._renewed_s = 0.0
            return
        if entries:
            self._apply(entries)
            self._seen = entries[-1][0]
        self.caught_up = len(entries) < AT_ONCE
        until_us = asked_us if self.caught_up else order_of(entries[-1][0])[0] * 1_000
        said = ("shards", self._shards, f"watermark_us:{self._shard}", until_us)
        self._redis.eval(SET_IN, 2, self._marker, self._marker, self._epoch, *said)
        if self._twin:
            self._twin.begin()
            if kept := self._twin.written():
                self._keep(kept)
        self._trim()

    def _read(self, after: bytes = b">") -> list[_Given] | None:
        """Return what is new, or was given after an entry and not acknowledged; None if somebody else has the lease."""
        asked = (self._token, self._group, AT_ONCE, after)
        answer = self._redis.eval(READ, 2, self._events, self._lease, *asked)
        if not answer:
            return [] if answer is None else None
        return answer[0][1]  # type: ignore[no-any-return]

    def _apply(self, entries: list[_Given]) -> None:
        decoded = [found for at, fields in entries if (found := self._decode(at, fields))]
        wanted = [(order, at, event) for at, _, event in decoded if (order := order_of(at)) > self._counted_until]
        began_ns = time.time_ns()
        done = self._applier.apply(wanted)
        now_us = time.time() * 1e6
        if self._spans:
            self._spans.batch((event for _, _, event in wanted), len(wanted), began_ns)
        self._metrics.applied(self.stream, done.counted, done.late)
        # Of a large batch a sample says as much, at a tenth of the cost.
        some = (event for _, _, event in wanted[:: len(wanted) // SAMPLED + 1])
        # When a label or a reversal was known is what its caller says.
        self._metrics.fresh_after(
            self.stream, [(now_us - event.known_us) / 1e6 for event in some if event.effect in _KNOWN_AT_ONCE]
        )
        if self._twin:
            # Acknowledged when they are in a file too.
            self._twin.add([(at.decode(), source, event) for at, source, event in decoded])
        else:
            self._redis.xack(self._events, self._group, *(at for at, _ in entries))

    def _decode(self, at: bytes, parts: list[bytes] | None) -> tuple[bytes, Outgoing, Event] | None:
        fields: dict[Any, Any] = dict(zip(parts[::2], parts[1::2], strict=True)) if parts else {}
        try:
            event = Event.decode(fields[b"e"])
            return at, Outgoing(event.stream, fields[b"w"].decode(), int(fields[b"n"]), fields[b"e"]), event
        except (ValueError, KeyError, TypeError) as problem:
            # It will never be readable: kept aside, so that it holds up nothing and is not lost.
            self._redis.xadd(self._rejected, {"id": at, **fields}, maxlen=10_000, approximate=True)
            self._redis.xack(self._events, self._group, at)
            self._metrics.rejected(self.stream)
            self._log.event("events.rejected", stream=self.stream, entry=at.decode(), error=str(problem))
            return None

    # What is done with

    def _keep(self, entries: list[Entry]) -> None:
        """Acknowledge what is in a file, and tell relays up to where nothing needs to be sent again."""
        self._acknowledge(entries)
        # In the order of the stream: of each writer the last number stays.
        numbers = {source.writer: source.number for _, source, _ in entries}
        said = (part for pair in numbers.items() for part in pair)
        self._redis.eval(SET_IN, 2, self._marker, self._kept, self._epoch, *said)

    def _acknowledge(self, entries: list[Entry]) -> None:
        for start in range(0, len(entries), AT_ONCE):
            self._redis.xack(self._events, self._group, *(at for at, _, _ in entries[start : start + AT_ONCE]))

    def _write(self) -> None:
        """Write and acknowledge all that was applied."""
        if self._twin:
            self._acknowledge(self._twin.flush())

    def _trim(self) -> None:
        """Drop old entries that every group has had and acknowledged."""
        if time.monotonic() - self._trimmed_s < TRIM_S:
            return
        self._trimmed_s = time.monotonic()
        oldest = [(int((time.time() * 1_000) - KEPT_MS), 0)]
        for group in self._redis.xinfo_groups(self._events):
            pending = self._redis.xpending(self._events, group["name"])
            oldest.append(order_of(pending["min"] or group["last-delivered-id"]))
        ms, seq = min(oldest)
        self._redis.xtrim(self._events, minid=f"{ms}-{seq}", approximate=True)
