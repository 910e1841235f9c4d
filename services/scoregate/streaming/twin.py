"""The offline twin: every event on a stream, in Parquet, for training, backfill and the comparison with serving.

A file holds the entries from one id to another, `live/<first>_<last>.parquet`. After a crash the same entries may be
written again: readers take each (writer, number) once.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from scoregate.events import Event, Outgoing

if TYPE_CHECKING:
    import pyarrow as pa

Entry = tuple[str, Outgoing, Event]
"""Id on the stream, writer and number, and what happened."""

LIVE: Final = "live"
_ROW: Final = b',"row":'
"""In JSON these bytes stand outside of texts only: a quote within one is escaped."""
FLUSH_S: Final = 30.0
FLUSH_ROWS: Final = 50_000


def schema() -> pa.Schema:
    import pyarrow as pa

    moment = pa.timestamp("us", tz="UTC")
    texts = ("service", "effect", "key", "subject")
    return pa.schema(
        [
            *(("id_ms", pa.int64()), ("id_seq", pa.int64()), ("writer", pa.string()), ("number", pa.int64())),
            *((name, pa.string()) for name in texts),
            *(("event_at", moment), ("known_at", moment), ("is_bad", pa.bool_())),
            *(("view", pa.string()), ("row", pa.string())),
        ]
    )


def live_folder(data: Path, stream: str) -> Path:
    return data / stream / LIVE


def write_live(folder: Path, entries: Sequence[Entry]) -> Path:
    """Write entries, in the order of their ids, to a file of their own, and make it durable."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    columns: dict[str, list[Any]] = {name: [] for name in schema().names}
    for at, source, event in entries:
        ms, _, seq = at.partition("-")
        values = (
            *(int(ms), int(seq), source.writer, source.number),
            *(event.service, str(event.effect), event.key, event.subject),
            *(event.at_us, event.known_us, event.is_bad),
            *(event.view, _row(source.payload, event)),
        )
        for column, value in zip(columns.values(), values, strict=True):
            column.append(value)
    path = folder / f"{entries[0][0]}_{entries[-1][0]}.parquet"
    fresh = path.with_suffix(f".{os.getpid()}")
    with open(fresh, "wb", opener=_private) as file:
        pq.write_table(pa.table(columns, schema=schema()), file, compression="zstd")
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return path


def _row(payload: bytes, event: Event) -> str:
    """Return an event's row as JSON; nearly always it is the rest of the payload, as it was written."""
    _, found, rest = payload.partition(_ROW)
    if found and event.is_bad is None and not event.view:
        return rest[:-1].decode()
    return json.dumps(event.row, separators=(",", ":"), ensure_ascii=False)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


class Twin:
    """Collects entries, and writes them now and then beside what its owner does; `written` returns what is durable."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._entries: list[Entry] = []
        self._since_s = time.monotonic()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="twin")
        self._under_way: Future[list[Entry]] | None = None
        # The first file must not wait for the library either.
        self._writer.submit(schema)

    def add(self, entries: Sequence[Entry]) -> None:
        if not self._entries:
            self._since_s = time.monotonic()
        self._entries += entries

    def begin(self) -> None:
        """Begin to write if nothing is being written, and enough waits or has waited long enough."""
        waited_s = time.monotonic() - self._since_s
        if self._entries and self._under_way is None and (len(self._entries) >= FLUSH_ROWS or waited_s >= FLUSH_S):
            self._begin()

    def written(self) -> list[Entry]:
        """Return what has become durable since the last call, in its order.

        Raises:
            OSError: it could not be written.
        """
        if self._under_way is None or not self._under_way.done():
            return []
        done, self._under_way = self._under_way, None
        return done.result()

    def flush(self) -> list[Entry]:
        """Write all that waits, and wait for it; return it."""
        done = self._under_way.result() if self._under_way else []
        self._begin()
        assert self._under_way is not None
        done = [*done, *self._under_way.result()]
        self._under_way = None
        return done

    def forget(self) -> None:
        """Drop what waits: the stream delivers it again. What is being written is written twice then."""
        self._entries, self._under_way = [], None

    def _begin(self) -> None:
        entries, self._entries = self._entries, []
        self._under_way = self._writer.submit(self._write, entries)

    def _write(self, entries: list[Entry]) -> list[Entry]:
        if entries:
            write_live(self._folder, entries)
        return entries
