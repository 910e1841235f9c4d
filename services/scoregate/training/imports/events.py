"""A file of events: the stream in place of the generator's, windows in bulk, splits by time.

Rows before the training days only fill windows. The test begins after the labels of the training days had time to
come, and leaves out whoever was known as compromised when the day of an event began.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoregate import catalog
from scoregate.features import FeatureRow, Status, ViewRow
from scoregate.features.plan import FeaturePlan, compile_plan
from scoregate.features.registry import registry_of
from scoregate.hashing import KeyedHash
from scoregate.settings import Settings
from scoregate.training import ByTime, Problem, prepare, streams
from scoregate.training.bulk import BulkWindows, EventIndex
from scoregate.training.dataset import DAY_US, Dataset, Ints, Mask, _learned, _sample
from scoregate.training.imports import Material, Say, columns, files, leak
from scoregate.training.imports.days import Period, choose, date_of
from scoregate.training.imports.log import Read
from scoregate.training.imports.policy import without
from scoregate.training.streams import DEMO
from scoregate.training.tilelog import TileView, tile_views
from scoregate.training.tiles import tiles_at
from scoregate.training.vectors import Floats, _values
from scoregate.values import frozen


@frozen
class Asked:
    """What somebody wants to train on."""

    file: Path
    column_map: Path
    period: Period


@dataclass(frozen=True, slots=True, eq=False)
class Imported(Dataset):
    """A dataset whose windows were counted in bulk; tiles of a single request are made when they are asked for."""

    events: pa.Table
    tiled: tuple[TileView, ...]
    features: Any
    stand_in: Callable[[Mapping[str, Any]], Any] | None = None

    def request(self, request_type: Any, index: int) -> Any:
        """Return one request as serving would have had it, or what stands in for it where it is a person's."""
        if self.stand_in is None:
            return Dataset.request(self, request_type, index)
        return self.stand_in(self.rows.slice(index, 1).to_pylist()[0])

    def vector(self, index: int, request: Any, row: FeatureRow) -> list[float]:
        """Return the vector of what `request` returned."""
        if self.stand_in is None:
            return Dataset.vector(self, index, request, row)
        return list(self.features.vector(request, row, request.event_at.timestamp()))

    def row(self, index: int) -> FeatureRow:
        """Return what the views would hold for one request: those that the file has no data for are missing."""
        one = self.rows.slice(index, 1)
        row = {view.name: ViewRow({}, Status.MISSING, None, known=False) for view in self.plan.views}
        for view in self.tiled:
            key = one[view.key][0]
            if key.is_valid:
                about = self.events.filter(pc.equal(self.events[view.key], key))
                row[view.name] = _tiles(view, about, key, int(self.at_us[index]))
        keys = {view.join_key: one[view.key][0].as_py() or "" for view in self.tiled}
        return FeatureRow(row, dict.fromkeys(self.plan.join_keys, "") | keys)

    def missing(self) -> list[list[str]]:
        tiled = {view.name: self.rows[view.key].is_valid().to_pylist() for view in self.tiled}
        gone = [view.name for view in self.plan.views if view.name not in tiled]
        return [[*gone, *(name for name in tiled if not tiled[name][i])] for i in range(self.rows.num_rows)]


def material(service: str, asked: Asked, settings: Settings, say: Say) -> Material:
    """Read a file of events, put it in the place of the generated stream, and make a dataset of it.

    Nothing is written before everything has been checked.

    Raises:
        ScoregateError: the file, its map or the days asked for do not do.
    """
    part, problem = catalog.part(service, "imports"), catalog.part(service, "train").PROBLEM
    names = tuple(catalog.part(service, "features").FEATURES)
    column_map, checked, left_out = _received(part, asked, say)

    split: ByTime = problem.split
    delay_days = split.gap_days if asked.period.delay_days is None else asked.period.delay_days
    days = choose(_us(checked["event_at"]), asked.period, replace(split, gap_days=delay_days), "the file")
    hashed = KeyedHash.create(settings.hash_key_path)
    rows = part.rows(checked, hashed, delay_days * DAY_US).sort_by("event_at")
    at_us = _us(rows["event_at"])
    fold = days.fold(at_us, split.folds)
    known = compromised(rows, at_us, problem, days.train_us) & (fold == -1) if problem.group else fold == -3
    fold = np.where(known, -2, fold)
    is_labelled = bool(pc.any(rows[problem.label]).as_py())
    if is_labelled or problem.objective == "supervised":
        check_labels(rows, fold, problem, asked.file.name)
    say(f"{days}; {int(known.sum()):,} test rows left out, of accounts known as compromised")

    read = Read.of(service, asked.file, column_map, checked.rows + left_out)
    with prepare.applied(settings, say):
        kept_out = [name for name in getattr(part, "PRIVATE", ()) if name in rows.column_names]
        _write(
            settings.data / part.STREAM,
            rows.drop_columns(kept_out),
            f"{streams.IMPORT}{read.file_sha256} {read.map_sha256}",
        )
    read.note(settings)
    registry = registry_of(settings)
    problem = replace(problem, load=lambda _: rows, split=replace(split, gap_days=delay_days))
    kept, weight = _sample(rows, fold, problem, settings)
    some, fold = rows.take(pa.array(kept)), fold[kept]
    has_data = part.windowed(checked)
    tiled = tuple(view for view in tile_views(registry) if view.stream == part.STREAM and view.name in has_data)
    plan = compile_plan(registry, problem.feature_service(service))
    matrix = _matrix(part, plan, rows, some, tiled)
    say(f"windows of {some.num_rows:,} rows out of {rows.num_rows:,} events")

    label = np.asarray(some[problem.label].to_numpy(zero_copy_only=False), dtype=np.int64)
    train = fold >= 0
    leak.check(dict(zip(names, matrix[train].T, strict=True)), label[train], asked.file.name)
    learned, ripe = _learned(some, fold, label, problem)
    views = pa.table({})
    turns = tuple(range(split.folds))
    stand_in = getattr(part, "stand_in", None)
    features = catalog.part(service, "features")
    known = (label, learned, ripe)
    data = Imported(plan, some, views, matrix, *known, weight, fold, turns, rows, tiled, features, stand_in)
    policy = Path(str(catalog.part(service, "train").__file__)).with_name("policy.toml").read_text()
    return Material(
        problem=problem,
        names=names,
        policy=without(policy, {view.name for view in plan.views} - {view.name for view in tiled}),
        feature_service=problem.feature_service(service),
        request_type=catalog.part(service, "contract").Request,
        data=data,
        files={"import.json": read.as_bytes(str(days))},
    )


def _received(part: Any, asked: Asked, say: Say) -> tuple[columns.ColumnMap, columns.Checked, int]:
    """Return the map, the checked columns of rows that serving would take, and how many others there were."""
    have = files.columns_of(asked.file)
    column_map = columns.read_map(asked.column_map, part.KEYS, have)
    checked = columns.read_checked(asked.file, column_map, part.KEYS)
    for note in checked.notes:
        say(note)
    if column_map.unnamed:
        say(f"not used, because the map does not name them: {', '.join(column_map.unnamed)}")
    if "event_at" not in checked:
        checked = checked.with_made("event_at", in_order(checked.rows))
        say(f"the file has no times: its rows are taken in their order, evenly over {DEMO.log_days} days")
    outside, fits = part.bounds(checked)
    left_out = int(checked.rows - pc.sum(fits).as_py())
    if left_out:
        say(f"left out {left_out:,} rows: {outside}")
        checked = checked.filter(fits)
    say(f"read {checked.rows:,} rows of {asked.file.name}")
    return column_map, checked, left_out


def _matrix(part: Any, plan: FeaturePlan, rows: pa.Table, some: pa.Table, tiled: tuple[TileView, ...]) -> Floats:
    """Return the vectors of some rows: from windows in bulk where a service can, else from each one's tiles."""
    at_us = _us(some["event_at"])
    if hasattr(part, "matrix"):
        return np.asarray(part.matrix(some, windows(rows, some, tiled), at_us))
    queries = {view.name: pa.table({"key": some[view.key], "at_us": at_us}) for view in tiled}
    tiles = {view.name: tiles_at(_counted(rows, view), queries[view.name]) for view in tiled}
    return np.asarray(part.vectors(some, _as_read(plan, tiles, some.num_rows)))


def _as_read(plan: FeaturePlan, tiles: Mapping[str, pa.Table], rows: int) -> Iterator[FeatureRow]:
    """Yield what each row would have read: a view without data, or without its key in the row, is missing."""
    columns = {
        name: {c: _values(table[c]) for c in table.column_names if c != "at_us"} for name, table in tiles.items()
    }
    gone = {view.name: ViewRow({}, Status.MISSING, None, known=False) for view in plan.views}
    for i in range(rows):
        row = dict(gone)
        for name, column in columns.items():
            if column["key"][i] is not None:
                row[name] = _view_row({c: values[i] for c, values in column.items() if c != "key"})
        yield FeatureRow(row)


def in_order(rows: int) -> pa.Array:
    """Return times for rows that have none: their order, spread over as many days as are usually trained on."""
    today = int(dt.datetime.now(dt.UTC).timestamp() * 1e6) // DAY_US * DAY_US
    step = DEMO.log_days * DAY_US / max(rows, 1)
    at = today - DEMO.log_days * DAY_US + (np.arange(rows) * step).astype(np.int64)
    return pa.array(at).cast(columns.UTC_US)


def windows(rows: pa.Table, asked: pa.Table, views: Sequence[TileView]) -> dict[str, BulkWindows]:
    """Return the windows of some requests over the stream's rows, by view."""
    at_us = _us(asked["event_at"])
    return {view.name: EventIndex(_counted(rows, view)).at(asked[view.key], at_us) for view in views}


def compromised(rows: pa.Table, at_us: Ints, problem: Problem, since_us: int) -> Mask:
    """Return which events are of a group known as compromised when their day began.

    Labels that came before `since_us` do not count: whoever was hit long ago has a new card.
    """
    group = rows[problem.group].combine_chunks().dictionary_encode()
    code = group.indices.to_numpy().astype(np.int64)
    bad = rows[problem.label].to_numpy(zero_copy_only=False).astype(bool)
    arrived = pc.fill_null(rows[problem.known_at].cast(pa.int64()), -1).to_numpy()
    hit = bad & (arrived >= since_us)
    first = np.full(len(group.dictionary), np.iinfo(np.int64).max)
    np.minimum.at(first, code[hit], arrived[hit])
    return np.asarray(first[code] <= at_us // DAY_US * DAY_US)


def check_labels(rows: pa.Table, fold: Ints, problem: Problem, file: str) -> None:
    """Refuse what cannot be learned.

    Raises:
        ScoregateError: the training or the test period has no good or no bad records.
    """
    bad = rows[problem.label].to_numpy(zero_copy_only=False).astype(bool)
    wrong = []
    for what, part in (("training", fold >= 0), ("test", fold == -1)):
        if not 0 < bad[part].sum() < part.sum():
            wrong.append(f"the {int(part.sum()):,} rows of the {what} period have {int(bad[part].sum()):,} bad ones")
    columns.raise_if(wrong, f"{file}: {problem.label} cannot be learned: ")


def _counted(rows: pa.Table, view: TileView) -> pa.Table:
    found = {ours: rows[theirs] for ours, theirs in view.columns.items()}
    found |= {"event_us": rows["event_at"].cast(pa.int64()), "label_us": rows["label_at"].cast(pa.int64())}
    # Rows without the key count for nobody.
    return pa.table(found).filter(pc.is_valid(found["key"]))


def _tiles(view: TileView, about: pa.Table, key: Any, at_us: int) -> ViewRow:
    queries = pa.table({"key": [key.as_py()], "at_us": [at_us]})
    return _view_row(tiles_at(_counted(about, view), queries).drop_columns(["key", "at_us"]).to_pylist()[0])


def _view_row(found: Mapping[str, Any]) -> ViewRow:
    if not any(found.values()):
        return ViewRow({}, Status.FRESH, 0.0, known=False)
    return ViewRow(found, Status.FRESH, 0.0)


def _write(folder: Path, rows: pa.Table, recipe: str) -> None:
    """Write the days of a stream, in place of those that are there."""
    streams.keep(folder, f"{recipe} unfinished")
    day = _us(rows["event_at"]) // DAY_US
    cuts = np.flatnonzero(np.append(True, np.diff(day) != 0))
    for begin, end in zip(cuts, np.append(cuts[1:], len(day)), strict=True):
        streams.write(folder / f"{date_of(day[begin])}.parquet", rows.slice(begin, end - begin))
    (folder / streams.RECIPE).write_text(recipe)


def _us(column: Any) -> Ints:
    return np.asarray(column.cast(pa.int64()).to_numpy(), dtype=np.int64)
