"""A file of records: its own columns become the features, and its own contract goes with the model.

    number      what is a number in most rows; a few words among them are codes that mean something
    category    words, the usual ones with a feature each
    flag        true and false of a typed file

Dates, columns of one value and names that hardly come twice say nothing that a model could use again: left out, told.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoregate import catalog
from scoregate.contract import Identifier, ScoreRequest
from scoregate.features import FeatureRow
from scoregate.features.plan import FeaturePlan
from scoregate.hashing import KeyedHash
from scoregate.models.tabular import FILE, KEY, LONGEST, Column, Tabular, plain
from scoregate.settings import Settings
from scoregate.training import ByTime, HeldOut
from scoregate.training.artefact import as_bytes
from scoregate.training.dataset import DAY_US, Dataset, Ints, _folds
from scoregate.training.hashes import hashed_column
from scoregate.training.imports import Material, Say, columns, files, leak
from scoregate.training.imports.columns import ColumnMap, Key
from scoregate.training.imports.log import Read
from scoregate.values import frozen

LABEL: Final = "is_default"
KEYS: Final = (Key(KEY, "id"), Key(LABEL, "flag"), Key("applied_at", "time", required=False))
LISTS: Final = ("protected", "categorical", "ignore")
MOST_WORDS: Final = 50
MOST_CODES: Final = 12
FEWEST_ROWS: Final = 10
"""A word that fewer rows have gets no feature of its own."""

SEGMENTS: Final = 4
"""Bands of about equal size that a protected number is cut into."""


Facts = dict[str, list[Any]]
"""Column → its values, in the order of the rows."""


@frozen
class Wanted:
    """A parsed map: the keys, and what it says of the other columns."""

    keys: ColumnMap
    protected: tuple[str, ...]
    categorical: tuple[str, ...]
    ignore: tuple[str, ...]
    monotone: Mapping[str, int]


@dataclass(frozen=True, slots=True, eq=False)
class Records(Dataset):
    """A dataset of records that bring all their facts themselves."""

    tabular: Tabular
    facts: Facts

    def row(self, index: int) -> FeatureRow:
        return FeatureRow({}, {})

    def request(self, request_type: Any, index: int) -> Any:
        said = {name: values[index] for name, values in self.facts.items()}
        one = self.rows.slice(index, 1).select([KEY, "event_at"]).to_pylist()[0]
        return request_type(**one, facts={name: value for name, value in said.items() if value is not None})

    def missing(self) -> list[list[str]]:
        return [[] for _ in range(self.rows.num_rows)]


def material(service: str, file: Path, column_map: Path, settings: Settings, say: Say) -> Material:
    """Read a file of records and make a dataset of its columns.

    Raises:
        ScoregateError: the file or its map do not do, or a column alone predicts too well.
    """
    part, problem = catalog.part(service, "imports"), catalog.part(service, "train").PROBLEM
    have = files.columns_of(file)
    wanted = read_map(column_map, have)
    checked = columns.read_checked(file, wanted.keys, KEYS)
    for note in checked.notes:
        say(note)
    used = set(wanted.keys.columns.values()) | set(wanted.ignore) | set(wanted.protected)
    names = [name for name in have if name not in used]
    raw = files.read(file, [*names, *wanted.protected], as_text=wanted.categorical)
    has_time = "applied_at" in checked
    event_at = checked["applied_at"] if has_time else _today(checked.rows)
    # Oldest first, so that folds are blocks of time.
    order = pc.array_sort_indices(event_at)
    raw = raw.take(order)
    tabular, facts, left_out = schema(raw.select(names), wanted.categorical)
    for name, why in left_out.items():
        say(f"left out {name}: {why}")
    columns.raise_if([f"{m} has no feature" for m in wanted.monotone if m in left_out], f"{column_map.name}: monotone ")
    say(f"{checked.rows:,} rows, {len(tabular.columns)} columns as {len(tabular.FEATURES)} features")

    hashed = KeyedHash.create(settings.hash_key_path)
    rows = pa.table(
        {
            KEY: hashed_column(checked[KEY], KEY, hashed),
            "event_at": event_at,
            LABEL: checked[LABEL],
        }
    ).take(order)
    label = np.asarray(rows[LABEL].to_numpy(zero_copy_only=False), np.int64)
    _check(raw, facts, tabular, label, file.name)
    problem = replace(
        problem,
        load=lambda _: rows,
        label=LABEL,
        known_at=None,
        group=None,
        split=_split(rows, has_time),
        monotone={plain(name): sign for name, sign in wanted.monotone.items()},
        protected=(lambda _: _protected(rows, raw, wanted.protected)) if wanted.protected else None,
    )
    matrix = np.array([tabular.of(one) for one in _each(facts)], dtype=np.float64)
    fold, turns = _folds(rows, problem, settings.seed)
    read = Read.of(service, file, wanted.keys, checked.rows)
    read.note(settings)
    plan = FeaturePlan(f"{service}_file", settings.project, ())
    ones = np.ones(len(label))
    return Material(
        problem=problem,
        names=tabular.FEATURES,
        policy=part.policy(tabular.columns, wanted.monotone),
        feature_service=plan.service,
        request_type=tabular.request_type(ScoreRequest, Identifier),
        data=Records(plan, rows, pa.table({}), matrix, label, label, ones, ones, fold, turns, tabular, facts),
        files={FILE: as_bytes(tabular.as_json()), "import.json": read.as_bytes(str(problem.split))},
    )


def _each(facts: Facts) -> Iterator[dict[str, Any]]:
    for values in zip(*facts.values(), strict=True):
        yield dict(zip(facts, values, strict=True))


def read_map(path: Path, have: Sequence[str]) -> Wanted:
    """Read a map.

    Raises:
        ScoregateError: it names what is not known or not there, or lacks what must be there.
    """
    raw, digest = columns.read_toml(path)
    names = [*(key.name for key in KEYS), *LISTS, "monotone"]
    wrong = [f"{name} is no key; there are {', '.join(names)}" for name in raw if name not in names]
    wrong += [f"{key.name} is not named" for key in KEYS if key.required and key.name not in raw]
    found: dict[str, str] = {}
    options: dict[str, dict[str, Any]] = {}
    for key in KEYS:
        try:
            if key.name in raw:
                found[key.name], options[key.name] = columns.column_of(raw[key.name], columns.OPTIONS[key.kind])
        except ValueError as problem:
            wrong.append(f"{key.name} {problem}")
    lists: dict[str, tuple[str, ...]] = {}
    for name in LISTS:
        said = raw.get(name, [])
        said = [said] if isinstance(said, str) else said
        if not isinstance(said, list) or not all(isinstance(one, str) for one in said):
            wrong.append(f"{name} must be a list of columns")
            said = []
        lists[name] = tuple(said)
    monotone = raw.get("monotone", {})
    if not isinstance(monotone, dict) or any(sign not in (1, -1) or sign is True for sign in monotone.values()):
        wrong.append("monotone must give 1 or -1 for a column")
        monotone = {}
    named = [(f"{name}", one) for name, some in lists.items() for one in some]
    named += [("monotone", one) for one in monotone]
    for key_name, one in [*found.items(), *named]:
        wrong += columns.missing_columns({key_name: one}, have)
    both = set(monotone) & (set(lists["protected"]) | set(lists["ignore"]) | set(lists["categorical"]))
    wrong += [f"monotone {name}: it is no number that the model sees" for name in sorted(both)]
    columns.raise_if(wrong, f"{path.name} does not fit: ")
    return Wanted(
        ColumnMap(found, options, digest), lists["protected"], lists["categorical"], lists["ignore"], monotone
    )


def schema(table: pa.Table, categorical: Sequence[str]) -> tuple[Tabular, Facts, dict[str, str]]:
    """Return the columns that a model can use, their values as requests say them, and why others are left out."""
    found: list[Column] = []
    facts: Facts = {}
    left_out: dict[str, str] = {}
    taken: set[str] = set()
    for name in table.column_names:
        column = table[name].combine_chunks()
        column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
        told = _told(name, column, name in categorical)
        if isinstance(told, str):
            left_out[name] = told
            continue
        one, facts[name] = told
        if taken & set(one.features):
            one = replace(one, feature=f"{one.feature} ({len(found)})")
        taken |= set(one.features)
        found.append(one)
    return Tabular(tuple(found)), facts, left_out


def _told(name: str, column: Any, is_category: bool) -> str | tuple[Column, list[Any]]:
    """Return what a column is and its values, or why it is left out."""
    is_flag, is_number = pa.types.is_boolean(column.type), _is_number(column)
    if useless := _useless(column):
        return useless
    if is_flag and not is_category:
        return Column(name, "flag", plain(name)), column.to_pylist()
    value = columns.numbers(column)
    if is_number and not is_category:
        return Column(name, "number", plain(name)), _or_none(value)
    text = columns.text_of(column)
    text = pc.if_else(pc.is_in(text, value_set=pa.array(files.NULLS)), None, text)
    absent = text.is_null().to_numpy(zero_copy_only=False)
    words = text.filter(pa.array(np.isnan(value) & ~absent))
    if not is_category and 2 * len(words) < (~absent).sum():
        codes, closed = _usual(words, MOST_CODES, fewest=1)
        if closed:
            said = zip(_or_none(value), text.to_pylist(), strict=True)
            return Column(name, "number", plain(name), codes), [t if v is None else v for v, t in said]
    usual, closed = _usual(text, MOST_WORDS)
    if not usual:
        return "hardly any of its values comes twice"
    return Column(name, "category", plain(name), usual, closed), text.to_pylist()


def _useless(column: Any) -> str:
    if pa.types.is_temporal(column.type):
        return "a date, and no date comes again; give a number, such as an age"
    if not (_is_number(column) or pa.types.is_boolean(column.type) or _is_text(column)):
        return f"of type {column.type}"
    return "it has fewer than two values" if len(pc.unique(pc.drop_null(column))) < 2 else ""


def _usual(text: Any, most: int, fewest: int = FEWEST_ROWS) -> tuple[tuple[str, ...], bool]:
    """Return the words with a feature of their own, the most frequent first, and whether there are no others."""
    counts = pc.drop_null(text).value_counts().to_pylist()
    ranked = sorted(counts, key=lambda one: (-one["counts"], one["values"]))
    words = tuple(o["values"] for o in ranked[:most] if o["counts"] >= fewest and len(o["values"]) <= LONGEST)
    return words, len(words) == len(counts)


def _or_none(value: Any) -> list[Any]:
    return [None if np.isnan(one) else one for one in value.tolist()]


def _is_number(column: Any) -> bool:
    kind = column.type
    return bool(pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind))


def _is_text(column: Any) -> bool:
    return bool(pa.types.is_string(column.type) or pa.types.is_large_string(column.type))


def _split(rows: pa.Table, has_time: bool) -> ByTime | HeldOut:
    """Test on the last quarter of the days where there are any, else on a fixed random quarter."""
    if not has_time:
        return HeldOut()
    at_us = np.asarray(rows["event_at"].cast(pa.int64()).to_numpy(), np.int64)
    days = int(at_us[-1] // DAY_US - at_us[0] // DAY_US) + 1
    test = max(days // 4, 1)
    return ByTime(train_days=max(days - test, 1), gap_days=0, test_days=test)


def _check(raw: pa.Table, facts: Facts, tabular: Tabular, label: Ints, file: str) -> None:
    """Refuse labels that are all alike, and columns that alone predict too well: words as a whole, numbers as such."""
    if label.min() == label.max():
        columns.raise_if([f"{LABEL} is {'1' if label[0] else '0'} in all {len(label):,} rows"], f"{file}: ")
    told = {}
    for column in tabular.columns:
        if column.kind == "category":
            code = raw[column.name].combine_chunks().dictionary_encode().indices
            told[column.name] = pc.fill_null(code, -1).to_numpy(zero_copy_only=False)
        else:
            said = [np.nan if v is None or isinstance(v, str) else float(v) for v in facts[column.name]]
            told[column.name] = np.array(said)
    leak.check(told, label, file)


def _protected(rows: pa.Table, raw: pa.Table, names: Sequence[str]) -> pa.Table:
    """Return the protected attributes by identifier; a number of many values in bands."""
    found: dict[str, Any] = {KEY: rows[KEY]}
    for name in names:
        column = raw[name].combine_chunks()
        value = columns.numbers(column) if _is_number(column) else np.array([])
        if len(np.unique(value[~np.isnan(value)])) > 2 * SEGMENTS:
            found[name] = _bands(value)
        else:
            text = columns.text_of(column)
            found[name] = pc.if_else(pc.is_in(text, value_set=pa.array(files.NULLS)), None, text)
    return pa.table(found)


def _bands(value: Any) -> pa.Array:
    known = value[~np.isnan(value)]
    cuts = np.unique(np.quantile(known, np.linspace(0, 1, SEGMENTS + 1)[1:-1]))
    ends = ["", *(f"{cut:g}" for cut in cuts), ""]
    names = [f"up to {b}" if not a else f"above {a}" if not b else f"above {a} to {b}" for a, b in pairwise(ends)]
    place = np.searchsorted(cuts, value)
    return pa.array([None if np.isnan(v) else names[i] for v, i in zip(value, place, strict=True)])


def _today(count: int) -> pa.Array:
    # By day: training twice on one day gives the same artefact.
    today = dt.datetime.now(dt.UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    return pa.array([today] * count, columns.UTC_US)
