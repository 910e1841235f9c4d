"""The worker put to rest: a stand-in moves its watermark and counts nothing.

Thousands of payments a second by a hundred thousand customers would make a thief of everybody within a minute, and the
mix of outcomes no longer that of the generator. Events still leave the services for the stream; they are thrown away.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil
from redis import Redis

from scoregate.settings import Settings
from scoregate.streaming.keys import events_key, marker_key

EVERY_S = 0.2
KEPT_EVENTS = 1_000


@contextmanager
def resting(settings: Settings, worker: Sequence[int], streams: Sequence[str]) -> Iterator[None]:
    """Suspend the worker's processes for as long as the block runs."""
    ended = threading.Event()
    store = Redis.from_url(settings.store_url)
    moving = threading.Thread(target=_move, args=(store, settings.project, streams, ended), daemon=True)
    moving.start()
    for pid in worker:
        psutil.Process(pid).suspend()
    try:
        yield
    finally:
        for pid in worker:
            psutil.Process(pid).resume()
        ended.set()
        moving.join()
        store.close()


def _move(store: Redis, project: str, streams: Sequence[str], ended: threading.Event) -> None:
    while not ended.wait(EVERY_S):
        now_us = int(time.time() * 1e6)
        for stream in streams:
            marker = marker_key(project, stream)
            shards = int(store.hget(marker, "shards") or 0)  # type: ignore[arg-type]  # not one of the async client
            said = {f"watermark_us:{shard}": now_us for shard in range(shards)} or {"watermark_us": now_us}
            store.hset(marker, mapping=said)  # type: ignore[arg-type]
            store.xtrim(events_key(project, stream), maxlen=KEPT_EVENTS, approximate=True)
