"""Tables as people have them: CSV with whatever delimiter, and Parquet."""

from __future__ import annotations

import codecs
import csv
import gzip
import hashlib
from collections.abc import Collection
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq

from scoregate.errors import ScoregateError

_DELIMITERS: Final = ",;\t|"
NULLS: Final = ("", "NA", "N/A", "NaN", "nan", "NULL", "null", "#N/A", "<NA>")
"""How files write that there is nothing."""


def digest(path: Path) -> str:
    """Return the sha256 of a file, hex.

    Raises:
        ScoregateError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as problem:
        raise ScoregateError(f"{path} cannot be read: {problem.strerror}") from problem


def columns_of(path: Path) -> list[str]:
    """Return the names of the columns, as they stand in the file.

    Raises:
        ScoregateError: it is no table, or names a column twice.
    """
    try:
        names = list(pq.read_schema(path).names) if _is_parquet(path) else _csv_header(path)
    except (OSError, UnicodeDecodeError, pa.ArrowException) as problem:
        raise ScoregateError(f"{path} cannot be read as a table: {problem}") from problem
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ScoregateError(f"{path} has several columns named {', '.join(twice)}")
    return names


def read(path: Path, wanted: Collection[str], *, as_text: Collection[str] = ()) -> pa.Table:
    """Read some columns; of a CSV those in `as_text` stay as they are written, others are numbers where all are.

    Raises:
        ScoregateError: it cannot be read.
    """
    names = [name for name in columns_of(path) if name in wanted]
    try:
        if _is_parquet(path):
            return pq.ParquetFile(path).read(columns=names).select(names)
        options = pyarrow.csv.ConvertOptions(
            include_columns=names,
            column_types={name: pa.string() for name in as_text},
            null_values=list(NULLS),
            strings_can_be_null=True,
            true_values=[],
            false_values=[],
            timestamp_parsers=[],
        )
        header = _header_line(path)
        return pyarrow.csv.read_csv(
            path,
            read_options=pyarrow.csv.ReadOptions(encoding=_encoding(path), block_size=16 << 20),
            parse_options=pyarrow.csv.ParseOptions(delimiter=_delimiter(header), newlines_in_values=True),
            convert_options=options,
        )
    except (OSError, pa.ArrowException) as problem:
        raise ScoregateError(f"{path} cannot be read as a table: {problem}") from problem


def _is_parquet(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"PAR1"


def _open(path: Path) -> Any:
    return gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb")


def _encoding(path: Path) -> str:
    decoder = codecs.getincrementaldecoder("utf-8")()
    with _open(path) as file:
        try:
            while chunk := file.read(1 << 22):
                decoder.decode(chunk)
        except UnicodeDecodeError:
            # Every byte is a character there, and Western files that are no UTF-8 are mostly that.
            return "latin-1"
    return "utf-8"


def _header_line(path: Path) -> str:
    with _open(path) as file:
        raw: bytes = file.readline()
    return raw.decode("utf-8-sig", "replace").rstrip("\r\n")


def _delimiter(header: str) -> str:
    return max(_DELIMITERS, key=header.count)


def _csv_header(path: Path) -> list[str]:
    header = _header_line(path)
    return next(csv.reader([header], delimiter=_delimiter(header)), [])
