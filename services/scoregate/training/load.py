"""Fills the online store from the offline sources, in Feast's format, and leaves the marker of each stream.

Feast's own `materialize` writes the same bytes (tests hold the two together), but converts each value on its own.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from redis import Redis
from redis.exceptions import RedisError

from scoregate.errors import StoreUnavailable
from scoregate.features import encoding
from scoregate.features.plan import ViewPlan, views
from scoregate.features.reading import marker_key
from scoregate.settings import Settings
from scoregate.training.streams import DAY_US
from scoregate.training.tilelog import latest
from scoregate.training.tiles import KEPT_US

_ROWS_AT_ONCE: Final = 2_000
_STORE_S: Final = 30.0


def load(settings: Settings, registry: bytes, until: dt.datetime, say: Callable[[str], None]) -> None:
    """Bring every view of every stream that has data up to `until` (aware).

    What this home has loaded before is only brought forward. A store that was flushed, or filled from elsewhere, is
    cleared of the views and filled anew; until that is done its marker is gone, so that nobody reads half a store.

    Raises:
        StoreUnavailable: the store does not answer.
    """
    until_us = int(until.timestamp() * 1e6)
    try:
        with Redis.from_url(settings.store_url, socket_timeout=_STORE_S, socket_connect_timeout=_STORE_S) as store:
            for stream, plans in _streams(settings, registry).items():
                _Loader(settings, store, stream, plans).bring_up_to(until_us, say)
    except (RedisError, OSError) as problem:
        raise StoreUnavailable(f"the online store does not answer: {type(problem).__name__}") from problem


def _streams(settings: Settings, registry: bytes) -> dict[str, list[ViewPlan]]:
    found: dict[str, list[ViewPlan]] = {}
    for kind in ("facts", "tiles"):
        for plan, _ in views(registry, kind):
            if any(_folder(settings, plan).glob("*.parquet")):
                found.setdefault(plan.stream, []).append(plan)
    return found


def _folder(settings: Settings, plan: ViewPlan) -> Path:
    return settings.data / plan.kind / plan.name


class _Loader:
    """One stream's views in one store."""

    def __init__(self, settings: Settings, store: Any, stream: str, plans: list[ViewPlan]) -> None:
        # The client's annotations know neither binary keys nor that this one is synchronous.
        self._settings, self._store, self._stream, self._plans = settings, store, stream, plans
        self._project = settings.project.encode()
        self._marker = marker_key(settings.project, stream)
        self._note = settings.data / f"loaded-{stream}.json"
        recipes = [_recipe(_folder(settings, plan)) for plan in plans]
        shape = json.dumps([[repr(plan) for plan in plans], recipes])
        self._shape = hashlib.sha256(shape.encode()).hexdigest()

    def bring_up_to(self, until_us: int, say: Callable[[str], None]) -> None:
        done_us = self._done_us()
        if done_us is not None and done_us > until_us:
            # The clock was turned back: rows of a later time have dropped tiles that are wanted now.
            done_us = None
        if done_us is None:
            self._clear()
        facts = self._plans[0].kind == "facts"
        if facts and done_us is not None and done_us // DAY_US == until_us // DAY_US:
            # Facts are stated once a day, some for the day before.
            self._mark(until_us)
            return
        from_us = 0 if facts else until_us - KEPT_US if done_us is None else done_us
        for plan in self._plans:
            rows = latest(_folder(self._settings, plan), plan.join_keys[0], from_us, until_us + 1)
            for done in self._write(plan, rows):
                say(f"{plan.name}: {done:,} of {rows.num_rows:,} rows")
        self._mark(until_us)

    def _done_us(self) -> int | None:
        """Return up to when this home has filled this store; None when somebody else did or nobody."""
        epoch, watermark = self._store.hmget(self._marker, "epoch", "watermark_us")
        if epoch is None or watermark is None or not self._note.exists():
            return None
        mine = json.loads(self._note.read_text()) == {"epoch": epoch.decode(), "shape": self._shape}
        return int(watermark) if mine else None

    def _mark(self, until_us: int) -> None:
        epoch = self._store.hget(self._marker, "epoch") or secrets.token_hex(8).encode()
        self._note.write_text(json.dumps({"epoch": epoch.decode(), "shape": self._shape}))
        # After the rows: a marker promises that they are there.
        self._store.hset(self._marker, mapping={"epoch": epoch, "watermark_us": until_us})

    def _clear(self) -> None:
        self._store.delete(self._marker)
        for plan in self._plans:
            fields = row_fields(plan)
            pattern = encoding.key_prefix(plan.join_keys) + b"*" + self._project
            pipe = self._store.pipeline(transaction=False)
            for key in self._store.scan_iter(pattern, count=10_000):
                pipe.hdel(key, *fields)
                if len(pipe) >= _ROWS_AT_ONCE:
                    pipe.execute()
            pipe.execute()

    def _write(self, plan: ViewPlan, rows: pa.Table) -> Iterator[int]:
        """Write all rows, and say after each batch how many are written."""
        prefix, fields = encoding.key_prefix(plan.join_keys), row_fields(plan)
        for start in range(0, rows.num_rows, _ROWS_AT_ONCE):
            batch = rows.slice(start, _ROWS_AT_ONCE)
            keys = batch[plan.join_keys[0]].to_pylist()
            times = batch["event_timestamp"].cast(pa.int64()).to_pylist()
            columns = [[encoding.encode_timestamp(at) for at in times]]
            columns += [
                [encoding.encode_value(v, dtype) for v in _values(batch[name])] for name, dtype in plan.features
            ]
            pipe = self._store.pipeline(transaction=False)
            for key, cells in zip(keys, zip(*columns, strict=True), strict=True):
                row = encoding.row_key(prefix, (key,), self._project)
                pipe.hset(row, mapping=dict(zip(fields, cells, strict=True)))
            pipe.execute()
            yield start + batch.num_rows


def _recipe(folder: Path) -> str:
    note = folder / "recipe.txt"
    return (note if note.exists() else folder.parent / "recipe.txt").read_text()


def row_fields(plan: ViewPlan) -> list[bytes]:
    """Return the hash fields of a view's row: its time first, then its features in the plan's order."""
    return [encoding.timestamp_key(plan.name), *(encoding.field_key(plan.name, name) for name, _ in plan.features)]


def _values(column: pa.ChunkedArray) -> list[Any]:
    """Convert a column to Python; lists in one go, because Arrow's own conversion makes an object per item."""
    array: Any = column.combine_chunks()
    if not pa.types.is_list(array.type):
        return list(array.to_pylist())
    flat, ends = array.flatten().to_pylist(), [0, *pa.compute.fill_null(array.value_lengths(), 0).to_pylist()]
    for i in range(1, len(ends)):
        ends[i] += ends[i - 1]
    known = array.is_valid().to_pylist()
    return [flat[a:b] if there else None for a, b, there in zip(ends, ends[1:], known, strict=False)]
