"""A file of requests in chunks of rows, and each row as the door would get it."""

from __future__ import annotations

import datetime as dt
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from scoregate.contract import ScoreRequest
from scoregate.errors import ScoregateError
from scoregate.values import frozen

FORMATS: Final = (".parquet", ".csv")
_WHOLE: Final = re.compile(r"-?[0-9]{1,18}")


def format_of(path: Path) -> str:
    """Return how a file's name ends.

    Raises:
        ScoregateError: in none of FORMATS.
    """
    if path.suffix not in FORMATS:
        raise ScoregateError(f"{path.name} is neither Parquet nor CSV: its name must end in {' or '.join(FORMATS)}")
    return path.suffix


@frozen
class Columns:
    """Which columns of a file are fields of the contract, each with how its values are read; and which are not."""

    fields: Mapping[str, Callable[[Any], Any]]
    others: tuple[str, ...]

    @classmethod
    def of(cls, path: Path, request_type: type[ScoreRequest]) -> Self:
        """Compare a file with the contract.

        Raises:
            ScoregateError: it cannot be read, or lacks a column that every request needs.
        """
        names = _names(path)
        schema = request_type.model_json_schema()
        if lacking := sorted(set(schema.get("required", ())) - set(names)):
            raise ScoregateError(f"{path.name} lacks columns that every request has: {', '.join(lacking)}")
        types = {name: _types(said, schema.get("$defs", {})) for name, said in schema["properties"].items()}
        is_text = format_of(path) == ".csv"
        fields = {name: _reader(types[name], is_text=is_text) for name in names if name in types}
        return cls(fields, tuple(name for name in names if name not in types))

    def rows(self, chunk: pa.Table) -> list[dict[str, Any]]:
        """Return the rows as decoded JSON would be; what is null or empty in the file is absent."""
        columns = [[read(value) for value in chunk[name].to_pylist()] for name, read in self.fields.items()]
        return [
            {name: value for name, value in zip(self.fields, values, strict=True) if value is not None}
            for values in zip(*columns, strict=True)
        ]


def chunks(path: Path, fields: Mapping[str, Any], size: int) -> Iterator[pa.Table]:
    """Yield a file's rows in order, `size` at a time, with these columns alone.

    Raises:
        ScoregateError: it cannot be read.
    """
    waiting: list[pa.Table] = []
    count = 0
    for some in _batches(path, list(fields), size):
        waiting.append(pa.Table.from_batches([some]))
        count += some.num_rows
        while count >= size:
            table = pa.concat_tables(waiting)
            yield table.slice(0, size)
            waiting, count = [table.slice(size)], count - size
    if count:
        yield pa.concat_tables(waiting)


def count(path: Path) -> int | None:
    """Return how many rows a file has, None where that takes reading it."""
    return pq.ParquetFile(path).metadata.num_rows if format_of(path) == ".parquet" else None


def _batches(path: Path, fields: list[str], size: int) -> Iterator[pa.RecordBatch]:
    try:
        if format_of(path) == ".parquet":
            with pq.ParquetFile(path) as file:
                yield from file.iter_batches(batch_size=size, columns=fields)
            return
        # As text: an id of digits alone must keep its zeros, and the contract says what is a number.
        types = pyarrow.csv.ConvertOptions(
            column_types=dict.fromkeys(fields, pa.string()), include_columns=fields, strings_can_be_null=False
        )
        with pyarrow.csv.open_csv(path, convert_options=types) as reader:
            yield from reader
    except (OSError, pa.ArrowException) as problem:
        raise ScoregateError(f"{path.name} cannot be read: {problem}") from problem


def _names(path: Path) -> list[str]:
    try:
        if format_of(path) == ".parquet":
            return list(pq.read_schema(path).names)
        with pyarrow.csv.open_csv(path) as reader:
            return list(reader.schema.names)
    except (OSError, pa.ArrowException) as problem:
        raise ScoregateError(f"{path.name} cannot be read: {problem}") from problem


def _types(said: Mapping[str, Any], definitions: Mapping[str, Any]) -> frozenset[str]:
    """Return the JSON types that a field may have."""
    if "$ref" in said:
        return _types(definitions[said["$ref"].rpartition("/")[2]], definitions)
    several = [_types(one, definitions) for key in ("anyOf", "allOf", "oneOf") for one in said.get(key, ())]
    return frozenset({said["type"]} if "type" in said else set()).union(*several)


def _reader(types: frozenset[str], *, is_text: bool) -> Callable[[Any], Any]:
    """Return how a value of a column becomes what JSON would hold; what does not fit is left for the contract."""

    def read(value: Any) -> Any:
        if value is None or value == "" or (isinstance(value, float) and math.isnan(value)):
            return None
        if is_text:
            return _of_text(value, types)
        if isinstance(value, float) and value.is_integer() and "integer" in types and "number" not in types:
            # A column with gaps comes as floating point from many a library.
            return int(value)
        return _plain(value)

    return read


def _of_text(text: str, types: frozenset[str]) -> Any:
    if "integer" in types and _WHOLE.fullmatch(text):
        return int(text)
    if types & {"number", "object", "array", "boolean"}:
        try:
            return json.loads(text)
        except ValueError:
            return {"True": True, "False": False}.get(text, text)
    return text


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _plain(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    if isinstance(value, dt.datetime | dt.date):
        return value.isoformat()
    return value if isinstance(value, str | int | float | bool) else str(value)
