"""The tile logs that Feast reads: per view and day, an entity's tiles after each event, label and reversal."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from scoregate.features.plan import ViewPlan, views
from scoregate.features.windows import KEPT
from scoregate.settings import Settings
from scoregate.streaming.twin import LIVE
from scoregate.training import live
from scoregate.training.streams import (
    DAY_US,
    Period,
    Say,
    Task,
    Workers,
    day_us,
    days_until,
    keep,
    missing_days,
    write,
)
from scoregate.training.tiles import KEPT_US, TileIndex
from scoregate.values import frozen

UTC_US = pa.timestamp("us", tz="UTC")
BEFORE = "before"
"""Name of a log's other file: the last row of each entity from before the first day, which still answers requests."""

_HALVES = 2


@frozen
class TileView:
    """A view of tiles: what it is keyed by, and the columns of the stream that it counts."""

    name: str
    stream: str
    join_key: str
    key: str
    party: str | None
    amount: str | None

    @classmethod
    def of(cls, plan: ViewPlan, tags: dict[str, str]) -> TileView:
        (join_key,) = plan.join_keys
        return cls(plan.name, plan.stream, join_key, tags.get("key", join_key), tags.get("party"), tags.get("amount"))

    @property
    def columns(self) -> dict[str, str]:
        """What tiles count by → the column of the stream, where the view has it."""
        names = {"key": self.key, "amount_minor": self.amount, "party": self.party}
        return {ours: theirs for ours, theirs in names.items() if theirs}


def tile_views(registry: bytes) -> list[TileView]:
    return [TileView.of(plan, tags) for plan, tags in views(registry, "tiles")]


def log_folder(settings: Settings, view: str) -> Path:
    return settings.data / "tiles" / view


def ensure(
    settings: Settings, registry: bytes, until: dt.datetime, period: Period, *, workers: Workers, say: Say
) -> None:
    """Bring the log of every view whose stream is there up to `until` (aware)."""
    days = days_until(until, period.log_days)
    tasks: list[Task] = []
    for view in tile_views(registry):
        source, folder = settings.data / view.stream, log_folder(settings, view.name)
        if not any(source.glob("*.parquet")) and not live.files(settings, view.stream):
            continue
        keep(folder, f"{recipe(source)} {view} {KEPT}")
        _drop_what_changed(settings, view, folder)
        missing = missing_days(folder, days)
        size = max(-(-len(missing) // _HALVES), 1)
        for i in range(0, len(missing), size):
            some = missing[i : i + size]
            tasks.append((f"tiles of {view.stream}", len(some), _write_days, (settings, view, some, until)))
        before = folder / f"{BEFORE}-{days[0]}.parquet"
        for file in set(folder.glob(f"{BEFORE}-*.parquet")) - {before}:
            file.unlink()
        if not before.exists():
            tasks.append((f"tiles of {view.stream}", 1, _write_before, (settings, view, days[0])))
    workers.run(tasks, say)


def recipe(folder: Path) -> str:
    """Return what a folder's files were made by; nothing for one that nobody has made."""
    note = folder / "recipe.txt"
    return note.read_text() if note.exists() else ""


def read_events(settings: Settings, view: TileView, days: Sequence[dt.date]) -> pa.Table:
    """Return the columns that `TileIndex` reads: of the days that are there, then what was streamed on these days."""
    streamed = live.counted(live.read(settings, view.stream), view.columns)
    at = streamed["event_us"].to_numpy()
    inside = pa.array((at >= day_us(days[0])) & (at < day_us(days[-1]) + DAY_US))
    return pa.concat_tables([*read_days(settings, view, days), streamed.filter(inside)], promote_options="default")


def read_days(settings: Settings, view: TileView, days: Sequence[dt.date]) -> list[pa.Table]:
    """Return the columns that `TileIndex` reads of each of the days that is there."""
    files = [settings.data / view.stream / f"{day}.parquet" for day in days]
    return [_read_day(file, view.columns) for file in files if file.exists()]


def _read_day(file: Path, columns: dict[str, str]) -> pa.Table:
    # Not read_table: it looks for a partitioned data set behind each of many small files.
    parquet = pq.ParquetFile(file)
    times = {"event_us": "event_at", "label_us": "label_at"}
    wanted = columns | {ours: theirs for ours, theirs in times.items() if theirs in parquet.schema_arrow.names}
    table = parquet.read(columns=sorted(set(wanted.values())), use_threads=False)
    return pa.table(
        {ours: table[theirs].cast(pa.int64()) if ours in times else table[theirs] for ours, theirs in wanted.items()}
    )


def _drop_what_changed(settings: Settings, view: TileView, folder: Path) -> None:
    """Delete the files of the days from the first on that what was streamed since the last time has changed."""
    note = folder / "live.txt"
    seen = set(note.read_text().split()) if note.exists() else set()
    new = [file for file in live.files(settings, view.stream) if file.name not in seen]
    if not new:
        return
    from_us = min(live.changes_from_us(file) for file in new)
    for file in folder.glob("*.parquet"):
        if _reaches(file, from_us):
            file.unlink()
    note.write_text("\n".join(sorted(seen | {file.name for file in new})))


def latest(folder: Path, join_key: str, from_us: int, to_us: int) -> pa.Table:
    """Return the last row of each entity that has any in [from_us, to_us), reading wide columns of those rows only."""
    parts = []
    files = sorted(file for file in folder.glob("*.parquet") if file.stem != LIVE and _reaches(file, from_us))
    for i, file in enumerate(files):
        narrow = pq.read_table(file, columns=[join_key, "event_timestamp"])
        at = narrow["event_timestamp"].cast(pa.int64()).to_numpy()
        found = np.flatnonzero((at >= from_us) & (at < to_us))
        numbers = {"file": np.full(len(found), i), "row": found, "at": at[found]}
        parts.append(pa.table({"key": narrow[join_key].take(pa.array(found)), **numbers}))
    rows = pa.concat_tables(parts).combine_chunks()
    code = rows["key"].combine_chunks().dictionary_encode().indices.to_numpy()
    order = np.lexsort((rows["file"].to_numpy(), rows["at"].to_numpy(), code))
    last = order[np.append(np.diff(code[order]) > 0, True)[: len(order)]]
    chosen = rows.take(pa.array(np.sort(last)))
    tables = []
    for i, file in enumerate(files):
        here = chosen["row"].to_numpy()[chosen["file"].to_numpy() == i]
        if len(here):
            tables.append(pq.read_table(file).take(pa.array(here)))
    return pa.concat_tables(tables) if tables else pq.read_table(files[0]).slice(0, 0)


def _reaches(file: Path, from_us: int) -> bool:
    """Whether a file of a log may hold rows from that time on, by its name."""
    day = dt.date.fromisoformat(file.stem.removeprefix(f"{BEFORE}-"))
    ends_us = day_us(day) + (0 if file.stem.startswith(BEFORE) else DAY_US)
    return ends_us > from_us


def _write_days(settings: Settings, view: TileView, days: Sequence[dt.date], until: dt.datetime) -> None:
    until_us = int(until.timestamp() * 1e6)
    index = TileIndex(read_events(settings, view, _with_history(days)))
    for day in days:
        rows = index.log(day_us(day), min(day_us(day) + DAY_US, until_us + 1))
        write(log_folder(settings, view.name) / f"{day}.parquet", as_source(rows, view))


def _write_before(settings: Settings, view: TileView, first: dt.date) -> None:
    folder = log_folder(settings, view.name)
    index = TileIndex(read_events(settings, view, _with_history([first])))
    rows = index.latest(day_us(first) - KEPT_US, day_us(first))
    write(folder / f"{BEFORE}-{first}.parquet", as_source(rows, view))


def _with_history(days: Sequence[dt.date]) -> list[dt.date]:
    """Return the days together with those before the first that its windows reach."""
    first, last = days[0] - dt.timedelta(days=KEPT["days"]), days[-1]
    return [first + dt.timedelta(days=i) for i in range((last - first).days + 1)]


def as_source(rows: pa.Table, view: TileView) -> pa.Table:
    """Name the columns of `TileIndex` as Feast's source has them."""
    names = [view.join_key if name == "key" else name for name in rows.column_names]
    at = rows["at_us"].cast(UTC_US)
    return rows.rename_columns(names).set_column(rows.column_names.index("at_us"), "event_timestamp", at)
