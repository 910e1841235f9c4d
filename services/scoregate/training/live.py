"""The offline twin of a stream, as windows and backfill read it: what was streamed, each once, and what became of it.

`scoregate.streaming.twin` writes it, one file for the entries from one id to another.
"""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json
import pyarrow.parquet as pq

from scoregate.events import FACTS, Effect, Event
from scoregate.features.plan import ViewPlan
from scoregate.settings import Settings
from scoregate.streaming.twin import LIVE, live_folder, schema
from scoregate.training.streams import write

NOTHING: Final = "0-0"
"""Id before every entry."""

_ROWS_AT_ONCE: Final = 50_000
_ARROW: Final = {
    "int64": pa.int64(),
    "int32": pa.int32(),
    "string": pa.string(),
    "double": pa.float64(),
    "float": pa.float32(),
    "bool": pa.bool_(),
}


def order_of(entry_id: str) -> tuple[int, int]:
    """Return an entry's place in its stream."""
    ms, _, seq = entry_id.partition("-")
    return int(ms), int(seq)


def files(settings: Settings, stream: str) -> list[Path]:
    return sorted(live_folder(settings.data, stream).glob("*.parquet"))


def last_id(settings: Settings, stream: str) -> str:
    """Return the id of the last entry that any file holds."""
    ends = [file.stem.partition("_")[2] for file in files(settings, stream)]
    return max(ends, key=order_of, default=NOTHING)


def read(settings: Settings, stream: str) -> pa.Table:
    """Return every event in the order of the stream; what was written or sent twice, once."""
    parts = [pq.ParquetFile(file).read(use_threads=False) for file in files(settings, stream)]
    by_id = [("id_ms", "ascending"), ("id_seq", "ascending")]
    table = pa.concat_tables([schema().empty_table(), *parts]).sort_by(by_id)
    place = table.select(["writer", "number"]).append_column("place", pa.array(np.arange(table.num_rows)))
    first = place.group_by(["writer", "number"]).aggregate([("place", "min")])["place_min"]
    return table if len(first) == table.num_rows else table.take(pa.array(np.sort(first.to_numpy())))


def changes_from_us(file: Path) -> int:
    """Return the earliest time at which one file's events change any entity's tiles."""
    table = pq.ParquetFile(file).read(columns=["effect", "event_at", "known_at"])
    counts = pc.equal(table["effect"], str(Effect.COUNT))
    first = pc.min(pc.if_else(counts, table["event_at"], table["known_at"]).cast(pa.int64())).as_py()
    return int(first or 0)


def last_numbers(events: pa.Table) -> dict[str, int]:
    """Return the number of each writer's last event."""
    last = events.group_by("writer").aggregate([("number", "max")])
    return dict(zip(last["writer"].to_pylist(), last["number_max"].to_pylist(), strict=True))


def counted(events: pa.Table, columns: Mapping[str, str]) -> pa.Table:
    """Return what `TileIndex` reads of the events that count, in their order: label_us and reversed_us among it.

    `columns`: key, and where the view has them amount_minor and party → the column of the stream.
    """
    some = events.filter(pc.equal(events["effect"], str(Effect.COUNT)))
    types = {name: pa.int64() if ours == "amount_minor" else pa.string() for ours, name in columns.items()}
    row = _columns(some["row"], types)
    found: dict[str, Any] = {ours: row[name] for ours, name in columns.items()}
    if "amount_minor" in found:
        found["amount_minor"] = pc.fill_null(found["amount_minor"], 0)
    found["event_us"] = some["event_at"].cast(pa.int64())
    about = _about(some)
    for name, known in zip(("label_us", "reversed_us"), _became_known(afterwards(events)), strict=True):
        place = pc.index_in(about, value_set=pa.array(list(known), pa.string()))
        found[name] = pa.array(list(known.values()), pa.int64()).take(place)
    table = pa.table(found)
    return table.filter(pc.is_valid(table["key"]))


def happened(events: pa.Table) -> Iterator[Event]:
    """Yield what counts, in the order of the stream."""
    return _events(events, Effect.COUNT)


def afterwards(events: pa.Table) -> list[Event]:
    """Return the labels and reversals, in their order."""
    return list(_events(events, Effect.LABEL, Effect.REVERSE))


def _events(events: pa.Table, *effects: Effect) -> Iterator[Event]:
    wanted = pa.array([str(effect) for effect in effects])
    some = events.filter(pc.is_in(events["effect"], value_set=wanted))
    # As numbers: a datetime of Python's would go through floating point.
    for name in ("event_at", "known_at"):
        some = some.set_column(some.column_names.index(name), name, some[name].cast(pa.int64()))
    for start in range(0, some.num_rows, _ROWS_AT_ONCE):
        yield from map(_event, some.slice(start, _ROWS_AT_ONCE).to_pylist())


def stated(events: pa.Table, view: str, join_key: str, features: Iterable[tuple[str, str]]) -> pa.Table:
    """Return what was stated for a view, in order: its join key, event_timestamp, its features."""
    some = events.filter(pc.and_(pc.equal(events["effect"], str(Effect.FACTS)), pc.equal(events["view"], view)))
    types = {join_key: pa.string(), **{name: _ARROW[dtype] for name, dtype in features}}
    return _columns(some["row"], types).add_column(1, "event_timestamp", some["event_at"])


def write_facts(settings: Settings, plans: Iterable[ViewPlan]) -> None:
    """Write what was stated beside the facts that the feed stated, for the point-in-time join."""
    if not files(settings, FACTS):
        return
    events = read(settings, FACTS)
    for plan in plans:
        said = stated(events, plan.name, plan.join_keys[0], plan.features)
        write(settings.data / FACTS / plan.name / f"{LIVE}.parquet", said)


def _columns(rows: pa.ChunkedArray, types: Mapping[str, pa.DataType]) -> pa.Table:
    wanted = pa.schema(list(types.items()))
    options = pyarrow.json.ParseOptions(explicit_schema=wanted, unexpected_field_behavior="ignore")
    parts = [wanted.empty_table()]
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        text = io.BytesIO("\n".join(rows.slice(start, _ROWS_AT_ONCE).to_pylist()).encode())
        parts.append(pyarrow.json.read_json(text, parse_options=options).select(list(types)))
    return pa.concat_tables(parts)


def _about(events: pa.Table) -> pa.Array:
    return pc.binary_join_element_wise(events["service"], events["subject"], "\0")


def _became_known(events: list[Event]) -> tuple[dict[str, int], dict[str, int]]:
    """Return since when each subject has been known as bad, and since when as reversed, in microseconds.

    The label that became known last holds; one that only says again what was known changes nothing.
    """
    bad: dict[str, int] = {}
    undone: dict[str, int] = {}
    for event in sorted(events, key=lambda each: each.known_us):
        about = f"{event.service}\0{event.subject}"
        if event.effect is Effect.REVERSE:
            undone.setdefault(about, event.known_us)
        elif event.is_bad:
            bad.setdefault(about, event.known_us)
        else:
            bad.pop(about, None)
    return bad, undone


def _event(row: Mapping[str, Any]) -> Event:
    return Event(
        service=row["service"],
        stream="",
        effect=Effect(row["effect"]),
        key=row["key"],
        subject=row["subject"],
        at_us=row["event_at"],
        known_us=row["known_at"],
        row=json.loads(row["row"]),
        is_bad=row["is_bad"],
    )
