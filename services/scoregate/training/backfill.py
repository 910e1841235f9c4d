"""Rebuilds the online rows of a stream from history: the days on disk and what was streamed since, as of now.

    lease → marker away → last entry of the stream → twin up to it → rows → writers and groups → marker, another epoch

While the marker is away nobody reads the rows, no event is appended to the stream, and workers let go. Every row
carries the id of the last entry: what a worker is given again from before it is counted already. Whoever dies on the
way leaves no marker, and the next one begins anew.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import hashlib
import json
import secrets
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from redis import Redis
from redis.exceptions import RedisError, ResponseError

from scoregate.errors import ScoregateError, StoreUnavailable
from scoregate.events import FACTS, Effect, Event, Outgoing
from scoregate.features.accumulate import MARKS, Tiles
from scoregate.features.links import Links
from scoregate.features.plan import ViewPlan, views
from scoregate.settings import Settings
from scoregate.streaming.apply import subject_id
from scoregate.streaming.keys import events_key, lease_key, marker_key, writers_key
from scoregate.streaming.twin import live_folder, write_live
from scoregate.training import live, tilelog
from scoregate.training.store import ViewWriter
from scoregate.training.streams import DAY_US, Say
from scoregate.training.tiles import KEPT_US, TileIndex
from scoregate.values import frozen

REBUILD: Final = -1
"""The shard whose lease is that of rebuilding."""

SHARDS_AT_MOST: Final = 64
LEASE_MS: Final = 10_000
RENEW_S: Final = 2.0
WORKERS_S: Final = 3.0
"""Longest wait for workers to let go. One that is stuck for longer writes nothing: rows are not what it last saw."""
_STORE_S: Final = 30.0
_AT_ONCE: Final = 10_000
_FILE_ROWS: Final = 200_000

RENEW: Final = """
if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return 0
"""
RELEASE: Final = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
FINISH: Final = """
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], unpack(ARGV, 2))
return 1
"""
"""KEYS: lease, marker. ARGV: token, fields and values of the marker."""


@frozen
class Rebuilt:
    """What was done to one stream; `events` were counted for the rows, once however many views count them."""

    stream: str
    events: int
    rows: int
    seconds: float


@contextlib.contextmanager
def connected(settings: Settings) -> Iterator[Any]:
    """Open the online store.

    Raises:
        StoreUnavailable: it does not answer, now or later in the block.
    """
    try:
        # The client's annotations know neither binary keys nor that this one is synchronous.
        with Redis.from_url(settings.store_url, socket_timeout=_STORE_S, socket_connect_timeout=_STORE_S) as client:
            yield client
    except (RedisError, OSError) as problem:
        raise StoreUnavailable(f"the online store does not answer: {type(problem).__name__}") from problem


def plans_of(registry: bytes, stream: str) -> list[tuple[ViewPlan, dict[str, str]]]:
    """Return the views that are filled from a stream, with their tags."""
    return [pair for kind in (FACTS, "tiles", "links") for pair in views(registry, kind) if pair[0].stream == stream]


def streams_of(registry: bytes) -> list[str]:
    """Return every stream that fills a view, facts first."""
    counted = {plan.stream for plan, _ in views(registry, "tiles")}
    return [FACTS, *sorted(counted - {FACTS})]


def note_path(settings: Settings, stream: str) -> Path:
    """Where it is noted which filling of the store was made here, and from what."""
    return settings.data / f"loaded-{stream}.json"


def shape(settings: Settings, registry: bytes, stream: str) -> str:
    """Digest what a filling depends on beside the events: the views, and whose days these are."""
    recipe = tilelog.recipe(settings.data / stream)
    said = json.dumps([[repr(plan) for plan, _ in plans_of(registry, stream)], recipe])
    return hashlib.sha256(said.encode()).hexdigest()


def rebuild(
    settings: Settings,
    registry: bytes,
    stream: str,
    until: dt.datetime | None = None,
    *,
    say: Say = lambda _: None,
    only_if_gone: bool = False,
) -> Rebuilt | None:
    """Rebuild the rows of every view of a stream up to `until` (aware; now if absent), and all that was streamed.

    It waits for whoever is rebuilding already. With `only_if_gone` it does not, and does nothing where the marker is:
    None is then returned.

    Raises:
        StoreUnavailable: the store does not answer.
        ScoregateError: somebody else took over meanwhile; the store is theirs to fill.
    """
    began_s = time.monotonic()
    with connected(settings) as client, _alone(client, settings, stream, wait=not only_if_gone) as token:
        marker = marker_key(settings.project, stream)
        if token is None or (only_if_gone and client.hexists(marker, "epoch")):
            return None
        client.delete(marker)
        _wait_for_workers(client, settings, stream)
        until_us = int((until or dt.datetime.now(dt.UTC)).timestamp() * 1e6)
        position = _position(client, settings, stream)
        _drain(client, settings, stream, position)
        streamed = live.read(settings, stream)
        events, rows = _fill(client, settings, registry, stream, streamed, until_us, position, say)
        _restore(client, settings, stream, streamed, position)
        epoch = secrets.token_hex(8)
        note = {"epoch": epoch, "shape": shape(settings, registry, stream), "until_us": until_us}
        _note(settings, stream, note)
        # After the rows: a marker promises that they are there.
        said = {"epoch": epoch, "watermark_us": until_us, "counted": position}
        lease = lease_key(settings.project, stream, REBUILD)
        if not client.eval(FINISH, 2, lease, marker, token, *(part for pair in said.items() for part in pair)):
            raise ScoregateError(f"somebody else has begun to rebuild {stream} meanwhile")
    return Rebuilt(stream, events, rows, time.monotonic() - began_s)


@contextlib.contextmanager
def _alone(client: Any, settings: Settings, stream: str, *, wait: bool) -> Iterator[str | None]:
    """Hold the lease of rebuilding a stream, for as long as the block lasts; None if it is somebody else's."""
    lease, token = lease_key(settings.project, stream, REBUILD), secrets.token_hex(8)
    while not client.set(lease, token, nx=True, px=LEASE_MS):
        if not wait:
            yield None
            return
        time.sleep(0.1)
    done = threading.Event()

    def renew() -> None:
        # One that cannot be renewed is lost, and with it the right to set the marker.
        with contextlib.suppress(RedisError, OSError):
            while not done.wait(RENEW_S) and client.eval(RENEW, 1, lease, token, LEASE_MS):
                pass

    renewing = threading.Thread(target=renew, daemon=True)
    renewing.start()
    try:
        yield token
    finally:
        done.set()
        renewing.join()
        with contextlib.suppress(RedisError, OSError):
            client.eval(RELEASE, 1, lease, token)


def _wait_for_workers(client: Any, settings: Settings, stream: str) -> None:
    leases = [lease_key(settings.project, stream, shard) for shard in range(SHARDS_AT_MOST)]
    until_s = time.monotonic() + WORKERS_S
    while any(client.mget(leases)) and time.monotonic() < until_s:
        time.sleep(0.01)


def _position(client: Any, settings: Settings, stream: str) -> bytes:
    """Return the id of the last entry that the stream, or what was lost of it, ever had; later ones get later ids.

    So whoever began to fill the store later writes the later version, even if the store was flushed in between.
    """
    events, twin = events_key(settings.project, stream), live.last_id(settings, stream)
    try:
        last: str = client.xinfo_stream(events)["last-generated-id"].decode()
    except ResponseError:
        last = live.NOTHING
    if live.order_of(twin) <= live.order_of(last):
        return last.encode()
    with client.pipeline(transaction=True) as both:
        both.xadd(events, {"e": ""}, id=twin).xdel(events, twin).execute()
    return twin.encode()


def _drain(client: Any, settings: Settings, stream: str, position: bytes) -> None:
    """Bring the twin up to an entry: what no worker has written yet, maybe because none runs."""
    folder, after = live_folder(settings.data, stream), live.last_id(settings, stream)
    waiting: list[tuple[str, Outgoing, Event]] = []
    while entries := client.xrange(events_key(settings.project, stream), f"({after}", position, count=_AT_ONCE):
        for at, fields in entries:
            # What cannot be read is a worker's to set aside.
            with contextlib.suppress(ValueError, KeyError, TypeError):
                event = Event.decode(fields[b"e"])
                source = Outgoing(stream, fields[b"w"].decode(), int(fields[b"n"]), fields[b"e"])
                waiting.append((at.decode(), source, event))
        after = entries[-1][0].decode()
        if len(waiting) >= _FILE_ROWS:
            write_live(folder, waiting)
            waiting = []
    if waiting:
        write_live(folder, waiting)


def _fill(
    client: Any,
    settings: Settings,
    registry: bytes,
    stream: str,
    streamed: pa.Table,
    until_us: int,
    position: bytes,
    say: Say,
) -> tuple[int, int]:
    """Write the rows of every view of a stream; return how many events and rows there were."""
    events = rows = 0
    marks: dict[str, bytes]
    for plan, tags in plans_of(registry, stream):
        view = ViewWriter(client, settings.project, plan, position)
        if plan.kind == "links":
            links = _links(plan, tags, streamed, until_us)
            view.write_bytes(links)
            say(f"{plan.name}: {len(links):,} rows")
            rows += len(links)
        else:
            if stream == FACTS:
                table, marks, counted = _facts(settings, plan, streamed, until_us), {}, 0
            else:
                table, marks, counted = _tiles(settings, tilelog.TileView.of(plan, tags), streamed, until_us)
            for done in view.write(table, marks):
                say(f"{plan.name}: {done:,} of {table.num_rows:,} rows")
            events, rows = max(events, counted), rows + table.num_rows
        view.sweep()
    return events, rows


def _facts(settings: Settings, plan: ViewPlan, streamed: pa.Table, until_us: int) -> pa.Table:
    """Return the newest statement about each entity; of two at one time the one that came later."""
    key, folder = plan.join_keys[0], settings.data / FACTS / plan.name
    parts = [live.stated(streamed, plan.name, key, plan.features)]
    if any(folder.glob("????-??-??.parquet")):
        parts.insert(0, tilelog.latest(folder, key, 0, until_us + 1).select(parts[0].column_names))
    table = pa.concat_tables(parts, promote_options="permissive").combine_chunks()
    code = table[key].combine_chunks().dictionary_encode().indices.to_numpy() if table.num_rows else np.zeros(0)
    order = np.lexsort((table["event_timestamp"].cast(pa.int64()).to_numpy(), code))
    last = order[np.append(np.diff(code[order]) > 0, True)[: len(order)]]
    return table.take(pa.array(np.sort(last)))


def _tiles(
    settings: Settings, view: tilelog.TileView, streamed: pa.Table, until_us: int
) -> tuple[pa.Table, dict[str, bytes], int]:
    """Return the tiles of each entity that a window still reaches, marks by entity, and how many events there were."""
    events = _history(settings, view, streamed, until_us)
    rows = TileIndex(events).newest()
    rows = rows.filter(pc.greater(rows["at_us"], until_us - KEPT_US))
    labels = live.afterwards(streamed)
    newest_us = dict(zip(rows["key"].to_pylist(), rows["at_us"].to_pylist(), strict=True)) if labels else {}
    return tilelog.as_source(rows, view), _marks(view, labels, newest_us), events.num_rows


def _history(settings: Settings, view: tilelog.TileView, streamed: pa.Table, until_us: int) -> pa.Table:
    """Return what tiles of now are made of: days up to `until_us` with the labels known by then, and all streamed."""
    today = until_us // DAY_US
    # An entity's newest event may be as old as the longest window, and its tiles are kept as of then.
    days = [dt.date(1970, 1, 1) + dt.timedelta(days=today - back) for back in range(2 * KEPT_US // DAY_US, -1, -1)]
    parts = []
    for day in tilelog.read_days(settings, view, days):
        table = day.filter(pc.less_equal(day["event_us"], until_us))
        if "label_us" in table.column_names:
            known = pc.if_else(pc.less_equal(table["label_us"], until_us), table["label_us"], None)
            table = table.set_column(table.column_names.index("label_us"), "label_us", known)
        parts.append(table)
    counted = live.counted(streamed, view.columns)
    oldest_us = (today - 2 * KEPT_US // DAY_US) * DAY_US
    parts.append(counted.filter(pc.greater_equal(counted["event_us"], oldest_us)))
    return pa.concat_tables(parts, promote_options="default")


def _links(
    plan: ViewPlan, tags: Mapping[str, str], streamed: pa.Table, until_us: int
) -> dict[str, tuple[int, Mapping[str, bytes]]]:
    """Return what a worker makes of the streamed events: links have no other history, days say nothing of groups."""
    key = tags.get("key", plan.join_keys[0])
    found: dict[str, Links] = {}
    for event in live.happened(streamed):
        if (entity := event.row.get(key)) is not None:
            found.setdefault(str(entity), Links()).add(event.at_us, event.row)
    return {
        entity: (links.last_event_us + 1, links.all())
        for entity, links in found.items()
        if links.last_event_us >= until_us - KEPT_US
    }


def _marks(view: tilelog.TileView, events: list[Event], newest_us: dict[str, int]) -> dict[str, bytes]:
    """Return what a worker keeps beside a row: which of its streamed events were labelled or reversed."""
    own: dict[str, list[Event]] = {}
    for event in events:
        key = event.row.get(view.key)
        if key in newest_us:
            own.setdefault(str(key), []).append(event)
    marks = {}
    for key, some in own.items():
        tiles = Tiles(parties=False)
        tiles.count(newest_us[key] - 1, 0, None)
        for event in some:
            if event.effect is Effect.REVERSE:
                tiles.reverse(subject_id(event), event.at_us, 0)
            else:
                tiles.label(subject_id(event), event.at_us, is_bad=bool(event.is_bad), known_us=event.known_us)
        marks[key] = tiles.all()[MARKS]
    return marks


def _restore(client: Any, settings: Settings, stream: str, streamed: pa.Table, position: bytes) -> None:
    """Say what is counted: to writers, who send again what a store that lost it lacks; and to the workers' groups."""
    writers, events = writers_key(settings.project, stream), events_key(settings.project, stream)
    known = {name.decode(): int(number) for name, number in client.hgetall(writers).items()}
    behind = {w: number for w, number in live.last_numbers(streamed).items() if number > known.get(w, 0)}
    if behind:
        client.hset(writers, mapping=behind)
    if client.exists(events):
        for group in client.xinfo_groups(events):
            client.xgroup_setid(events, group["name"], position)


def _note(settings: Settings, stream: str, note: dict[str, Any]) -> None:
    path = note_path(settings, stream)
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(f".{path.name}")
    fresh.write_text(json.dumps(note))
    fresh.replace(path)
