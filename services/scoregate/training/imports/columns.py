"""The column map: which of somebody's columns is what, and whether it holds what that promises.

Keys of ours on the left, their columns on the right:

    account_id = "CUSTOMER"
    event_at = {column = "TX_TS", format = "%d.%m.%Y %H:%M", zone = "Europe/Berlin"}
    is_fraud = {column = "STATE", bad = "CB"}

A time without a zone is UTC unless the map says otherwise. Numbers are seconds, milliseconds or microseconds since the
epoch, by their size. Everything that is wrong is told in one message: which column, how many rows, the first of them.
Rows are counted from 1, without the header. Values never stand in a message.
"""

from __future__ import annotations

import hashlib
import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from scoregate.contract import Identifier
from scoregate.errors import ScoregateError
from scoregate.training.hashes import hashed_column
from scoregate.training.imports import files
from scoregate.values import frozen

Kind = Literal["id", "name", "text", "words", "time", "date", "amount", "flag", "ignored"]
UTC_US: Final = pa.timestamp("us", tz="UTC")
_FIRST: Final = 5
OPTIONS: Final[Mapping[str, frozenset[str]]] = {
    "time": frozenset(("format", "zone")),
    "date": frozenset(("format",)),
    "flag": frozenset(("bad",)),
    **dict.fromkeys(("id", "name", "text", "words", "amount", "ignored"), frozenset[str]()),
}
MORE: Final = "more"
"""Option that holds the other columns of a key that stands for several."""

_TRUE: Final = ("1", "1.0", "true", "t")
_FALSE: Final = ("0", "0.0", "false", "f")
_ZONED: Final = r"(?i)(z|utc|gmt|[+-]\d{2}:?\d{2}|[T ]\d{2}:\d{2}.*[+-]\d{2})$"
_IDENTIFIER: Any = Identifier
_WIRE: Final = next(meta.pattern for meta in _IDENTIFIER.__metadata__[0].metadata if hasattr(meta, "pattern"))
_LONGEST: Final = 64


@frozen
class Key:
    """What a map may name: an `id` is there and unique, a `name` is there, a `text` may be absent.

    `words` may be several columns, in a list or as {given = …, family = …}; what is `ignored` is a list that stays out.
    """

    name: str
    kind: Kind
    required: bool = True


@frozen
class ColumnMap:
    """A parsed map: key → column, and what else it says of the column; `digest` is of its text.

    `unnamed` are the file's columns that the map says nothing of.
    """

    columns: Mapping[str, str]
    options: Mapping[str, Mapping[str, Any]]
    digest: str
    unnamed: tuple[str, ...] = ()

    @property
    def read(self) -> set[str]:
        """All columns of the file that are used."""
        return {one for name, first in self.columns.items() for one in (first, *self.options[name].get(MORE, ()))}


def read_map(path: Path, keys: Sequence[Key], have: Sequence[str]) -> ColumnMap:
    """Read a map for the columns that a file has.

    Raises:
        ScoregateError: it is no TOML, names what is not known or not there, or lacks what must be there.
    """
    raw, digest = read_toml(path)
    known = {key.name: key for key in keys}
    wrong = [f"{name} is no key; there are {', '.join(known)}" for name in raw if name not in known]
    wrong += [f"{key.name} is not named" for key in keys if key.required and key.name not in raw]
    columns: dict[str, str] = {}
    options: dict[str, dict[str, Any]] = {}
    for name in known.keys() & raw.keys():
        kind = known[name].kind
        try:
            if kind in ("words", "ignored") and not isinstance(raw[name], str):
                first, *more = _several(raw[name])
                columns[name], options[name] = first, {MORE: more}
            else:
                columns[name], options[name] = column_of(raw[name], OPTIONS[kind])
        except ValueError as problem:
            wrong.append(f"{name} {problem}")
    for name, column in columns.items():
        for one in (column, *options[name].get(MORE, ())):
            wrong += missing_columns({name: one}, have)
    raise_if(wrong, f"{path.name} does not fit: ")
    ignored = {key.name for key in keys if key.kind == "ignored"}
    used = {key.name: columns[key.name] for key in keys if key.name in columns and key.name not in ignored}
    named = {one for name in columns for one in (columns[name], *options[name].get(MORE, ()))}
    return ColumnMap(used, options, digest, tuple(column for column in have if column not in named))


def read_toml(path: Path) -> tuple[dict[str, Any], str]:
    """Return what a map says, and its digest.

    Raises:
        ScoregateError: it is no TOML.
    """
    try:
        text = path.read_bytes()
        return tomllib.loads(text.decode()), hashlib.sha256(text).hexdigest()
    except OSError as problem:
        raise ScoregateError(f"{path} cannot be read: {problem.strerror}") from problem
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise ScoregateError(f"{path.name} is not TOML: {problem}") from problem


def column_of(said: Any, allowed: frozenset[str]) -> tuple[str, dict[str, Any]]:
    """Return the column that a key stands for, and its options. Raises ValueError for anything else."""
    if isinstance(said, str):
        return said, {}
    if not isinstance(said, dict) or not isinstance(said.get("column"), str):
        # Told to the user with what else is wrong: to them it is a value.
        raise ValueError(  # noqa: TRY004
            "must be a column's name" + (f" or {{column = …, {', '.join(sorted(allowed))}}}" if allowed else "")
        )
    options = {name: value for name, value in said.items() if name != "column"}
    if unknown := sorted(options.keys() - allowed):
        raise ValueError(f"takes no {', '.join(unknown)}")
    return said["column"], options


def _several(said: Any) -> list[str]:
    """Return the columns of a key that stands for several. Raises ValueError for anything else."""
    if isinstance(said, dict) and set(said) == {"given", "family"}:
        said = [said["given"], said["family"]]
    if isinstance(said, dict) and set(said) == {"column"}:
        said = [said["column"]]
    if not isinstance(said, list) or not said or not all(isinstance(one, str) for one in said):
        raise ValueError("must be a column's name, a list of them, or {given = …, family = …}")
    return said


def missing_columns(columns: Mapping[str, str], have: Sequence[str]) -> list[str]:
    """Say which columns a map names that a file lacks."""
    shown = ", ".join(have[:30]) + (", …" if len(have) > 30 else "")
    return [
        f'{name} = "{column}": the file has no such column; it has {shown}'
        for name, column in columns.items()
        if column not in have
    ]


def raise_if(wrong: Sequence[str], before: str = "") -> None:
    """Raise one ScoregateError of all that is wrong, if anything is."""
    if wrong:
        raise ScoregateError(before + "; ".join(wrong))


class Checked:
    """The columns of a file under our names, each of its kind. `notes` are sentences about what was assumed."""

    def __init__(
        self, columns: Mapping[str, pa.Array], notes: Sequence[str] = (), made: frozenset[str] = frozenset()
    ) -> None:
        self._columns = dict(columns)
        self.notes = tuple(notes)
        self._made = made

    def __contains__(self, name: str) -> bool:
        return name in self._columns

    def __getitem__(self, name: str) -> pa.Array:
        return self._columns[name]

    @property
    def rows(self) -> int:
        return len(next(iter(self._columns.values())))

    def as_rows(self) -> list[dict[str, Any]]:
        """Return every row as key → value."""
        return list(pa.table(self._columns).to_pylist())

    def filter(self, fits: Any) -> Checked:
        """Return some of the rows."""
        return Checked({name: c.filter(fits) for name, c in self._columns.items()}, self.notes, self._made)

    def with_made(self, name: str, column: pa.Array) -> Checked:
        """Return the columns with one that the file does not have."""
        return Checked({**self._columns, name: column}, self.notes, self._made | {name})

    def is_made(self, name: str) -> bool:
        return name in self._made

    def label_at(self, bad: pa.Array, delay_us: int) -> pa.Array:
        """Return when each bad label came, by the file or else after the delay; null for good rows."""
        at = self._columns["event_at"]
        late = pa.array(np.asarray(at.cast(pa.int64())) + delay_us).cast(at.type)
        came = pc.coalesce(self._columns["label_at"], late) if "label_at" in self else late
        return pc.if_else(bad, came, pa.scalar(None, at.type))

    def as_identifier(self, name: str, kind: str, hashed: Callable[[str, str], str]) -> pa.Array:
        """Return a column of names as requests can carry them: one that cannot be one becomes its keyed hash."""
        column = self._columns[name]
        fits = pc.and_(pc.match_substring_regex(column, _WIRE), pc.less_equal(pc.binary_length(column), _LONGEST))
        return column if pc.all(fits).as_py() else pc.if_else(fits, column, hashed_column(column, kind, hashed))


def read_checked(path: Path, found: ColumnMap, keys: Sequence[Key]) -> Checked:
    """Read the columns of a map, and check every one.

    Raises:
        ScoregateError: names every column with faults, how many rows, and the first of them.
    """
    # Everything as text: an id of digits is no number, and two zones in a column are no fault.
    table = files.read(path, found.read, as_text=found.read)
    if not table.num_rows:
        raise ScoregateError(f"{path.name} has no rows")
    columns, wrong, notes = {}, [], []
    for key in keys:
        if key.name not in found.columns:
            continue
        column = table[found.columns[key.name]].combine_chunks()
        if more := found.options[key.name].get(MORE):
            column = _joined([column, *(table[name].combine_chunks() for name in more)])
        called = f'{key.name} ("{found.columns[key.name]}")'
        try:
            columns[key.name], bad, what = _CHECKS[key.kind](column, found.options[key.name], key.required)
        except pa.ArrowInvalid:
            # A ValueError too, but ours.
            raise
        except ValueError as problem:
            wrong.append(f"{called} {problem}")
            continue
        if bad.any():
            wrong.append(f"{called} {what} in {rows(bad)}")
        elif key.kind == "time" and "zone" not in found.options[key.name] and _naive(column):
            notes.append(f"{called} has no time zone: taken as UTC")
    raise_if(wrong, f"{path.name}: ")
    return Checked(columns, notes)


def rows(bad: Any) -> str:
    """Say how many rows are meant, and which come first."""
    places = (np.flatnonzero(bad) + 1).tolist()
    first = ", ".join(str(place) for place in places[:_FIRST])
    return (
        f"{len(places):,} rows ({first}{', …' if len(places) > _FIRST else ''})" if len(places) > 1 else f"row {first}"
    )


Found = tuple[pa.Array, Any, str]


def _id(column: Any, options: Mapping[str, Any], required: bool) -> Found:
    text = text_of(column)
    absent = _is_absent(text)
    if absent.any():
        return text, absent, "is empty"
    encoded = text.dictionary_encode().indices.to_numpy()
    return text, np.bincount(encoded)[encoded] > 1, "is not unique: the same id stands"


def _name(column: Any, options: Mapping[str, Any], required: bool) -> Found:
    text = text_of(column)
    absent = _is_absent(text)
    return pc.if_else(absent, None, text), absent & required, "is empty"


def _text(column: Any, options: Mapping[str, Any], required: bool) -> Found:
    text = text_of(column)
    return pc.if_else(_is_absent(text), None, text), np.zeros(len(text), bool), ""


def _joined(columns: Sequence[Any]) -> pa.Array:
    """Return several columns as one text, without those that are absent."""
    parts = [pc.if_else(_is_absent(text), None, text) for text in map(text_of, columns)]
    return pc.binary_join_element_wise(*parts, " ", null_handling="skip")


def _date(column: Any, options: Mapping[str, Any], required: bool) -> Found:
    """Read dates; a row may have none."""
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        return column.cast(pa.date32(), safe=False), np.zeros(len(column), bool), ""
    text = text_of(column)
    absent = _is_absent(text)
    stamps, bad, what = _parsed(text, absent, options.get("format"), None, required=False)
    return stamps.cast(pa.timestamp("us")).cast(pa.date32(), safe=False), bad, what.replace("no time", "no date")


def _amount(column: Any, options: Mapping[str, Any], required: bool) -> Found:
    value = numbers(column)
    bad = np.isnan(value)
    if bad.any():
        return column, bad, "is not a number"
    return pa.array(value), value < 0, "is negative"


def _flag(column: Any, options: Mapping[str, Any], required: bool) -> Found:
    value, bad = flags(column, options.get("bad"))
    return pa.array(value), bad, "is not 0, 1, true or false"


def flags(column: Any, bad: Any = None) -> tuple[Any, Any]:
    """Return which rows are true, and which say neither; `bad`: the value that means true, all others false."""
    text = pc.utf8_lower(text_of(column))
    absent = _is_absent(text)
    if bad is not None:
        wanted = [str(one).strip().lower() for one in (bad if isinstance(bad, list) else [bad])]
        value = _mask(pc.is_in(text, value_set=pa.array(wanted)))
        if not value.any():
            raise ValueError("never has the value that the map calls bad")
        return value, absent
    true, false = (_mask(pc.is_in(text, value_set=pa.array(words))) for words in (_TRUE, _FALSE))
    return true, ~(true | false)


def numbers(column: Any) -> Any:
    """Return a column as float64; nan where it is absent or no number."""
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_decimal(column.type):
        value = column.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    else:
        text = text_of(column)
        is_number = pc.fill_null(pc.match_substring_regex(text, r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"), False)
        value = pc.if_else(is_number, pc.replace_substring_regex(text, r"^\+", ""), None).cast(pa.float64())
        value = value.to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(value), value, np.nan)


def _time(column: Any, options: Mapping[str, Any], required: bool) -> Found:
    zone = _zone(options.get("zone"))
    if pa.types.is_timestamp(column.type) or pa.types.is_date(column.type):
        stamps = column.cast(pa.timestamp("us", tz=getattr(column.type, "tz", None)), safe=False)
        absent = column.is_null().to_numpy(zero_copy_only=False)
        at = _localized(stamps, zone) if getattr(column.type, "tz", None) is None else stamps.cast(UTC_US)
        return at, absent & required, "is empty"
    value = numbers(column)
    absent = _is_absent(text_of(column))
    if not np.isnan(value[~absent]).any() and not absent.all():
        return _since_epoch(value, absent & required)
    return _parsed(text_of(column), absent, options.get("format"), zone, required)


def _since_epoch(value: Any, absent: Any) -> Found:
    largest = np.nanmax(np.abs(value))
    scale = 1e6 if largest < 1e11 else 1e3 if largest < 1e14 else 1.0 if largest < 1e17 else 1e-3
    at = np.round(np.nan_to_num(value) * scale)
    # Below ten years since the epoch these are counts of something else.
    bad = absent | (at < 3e14)
    bad &= ~np.isnan(value) | absent
    stamps = pa.array(at.astype(np.int64), mask=np.isnan(value)).cast(UTC_US)
    return stamps, bad, "is empty or no time since the epoch"


def _parsed(text: pa.Array, absent: Any, form: str | None, zone: ZoneInfo | None, required: bool) -> Found:
    import pandas as pd

    series = text.to_pandas()
    aware = _mask(pc.match_substring_regex(text, _ZONED)) if form is None else np.full(len(text), "%z" in form)
    at = pd.Series(pd.NaT, index=series.index, dtype="datetime64[ns, UTC]")
    for zoned in (True, False):
        some = (aware if zoned else ~aware) & ~absent
        if not some.any():
            continue
        stamps = pd.to_datetime(series[some], format=form or "ISO8601", utc=zoned or zone is None, errors="coerce")
        if not zoned and zone is not None:
            # In the hour that a clock shows twice the first one is meant; one that it leaves out is moved on.
            stamps = stamps.dt.tz_localize(zone, ambiguous=np.ones(len(stamps), bool), nonexistent="shift_forward")
        at[some] = stamps.dt.tz_convert("UTC")
    bad = at.isna().to_numpy() & (~absent | required)
    hint = "" if form else "; other than ISO 8601 needs {column = …, format = …}"
    return pa.array(at.dt.floor("us"), from_pandas=True).cast(UTC_US, safe=False), bad, f"is no time{hint}"


def _localized(stamps: pa.Array, zone: ZoneInfo | None) -> pa.Array:
    if zone is None:
        return stamps.cast(UTC_US)
    return pc.assume_timezone(stamps, zone.key, ambiguous="earliest", nonexistent="latest").cast(UTC_US)


def _zone(name: str | None) -> ZoneInfo | None:
    try:
        return None if name is None else ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError):
        raise ValueError(f"names no time zone: {name}") from None


def _naive(column: Any) -> bool:
    """Whether any time of a column says no zone."""
    if pa.types.is_timestamp(column.type):
        return column.type.tz is None
    if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
        return bool(pa.types.is_date(column.type))
    text = text_of(column)
    is_number = pc.match_substring_regex(text, r"^[0-9.]+$")
    return bool((~_mask(pc.match_substring_regex(text, _ZONED)) & ~_mask(is_number) & ~_is_absent(text)).any())


def text_of(column: Any) -> pa.Array:
    """Return a column as trimmed text; a whole number that nulls made a float of is whole again."""
    column = column.dictionary_decode() if pa.types.is_dictionary(column.type) else column
    if pa.types.is_floating(column.type):
        value = column.to_numpy(zero_copy_only=False)
        if (np.isnan(value) | (value == np.floor(value))).all():
            column = pc.cast(pa.array(value, from_pandas=True), pa.int64(), safe=False)
    return pc.utf8_trim_whitespace(column.cast(pa.string()))


def _is_absent(text: pa.Array) -> Any:
    return _mask(pc.or_(pc.is_null(text), pc.is_in(text, value_set=pa.array(files.NULLS))))


def _mask(column: Any) -> Any:
    return pc.fill_null(column, False).to_numpy(zero_copy_only=False).astype(bool)


_CHECKS: Final[Mapping[str, Callable[[Any, Mapping[str, Any], bool], Found]]] = {
    "id": _id,
    "name": _name,
    "text": _text,
    "words": _text,
    "time": _time,
    "date": _date,
    "amount": _amount,
    "flag": _flag,
}


def slug(name: str) -> str:
    """Return a name as codes have it: lower case, digits and underscores."""
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_") or "column"
