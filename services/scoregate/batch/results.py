"""What became of each row, as columns; parts of a result on disk, and their merging into one file."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
from pydantic_core import from_json

from scoregate.batch.rows import format_of
from scoregate.values import frozen

ANSWERED: Final = ("decision_id", "outcome", "score", "source", "confidence")
"""Members of the answer that have a column of their own, beside the whole of it."""


@frozen
class Result:
    """Either an answer (`replayed`: an earlier one, given again) or a problem, as the door would say it."""

    answer: bytes | None = None
    replayed: bool = False
    problem: dict[str, Any] | None = None


def schema(natural_key: str) -> pa.Schema:
    return pa.schema(
        [
            ("row", pa.int64()),
            (natural_key, pa.string()),
            ("decision_id", pa.string()),
            ("outcome", pa.string()),
            ("score", pa.float64()),
            ("source", pa.string()),
            ("confidence", pa.string()),
            ("reasons", pa.string()),
            ("replayed", pa.bool_()),
            ("answer", pa.string()),
            ("problem", pa.string()),
        ]
    )


def as_table(first_row: int, natural_key: str, keys: Sequence[str | None], results: Iterable[Result]) -> pa.Table:
    """Return the results of consecutive rows; rows count from 1, reasons are codes with `;` between them."""
    wanted = schema(natural_key)
    columns: dict[str, list[Any]] = {name: [] for name in wanted.names}
    for row, (key, result) in enumerate(zip(keys, results, strict=True), first_row):
        answer = from_json(result.answer) if result.answer else {}
        said = {name: answer.get(name) for name in ANSWERED}
        said |= {"row": row, natural_key: key, "replayed": result.replayed}
        said["reasons"] = ";".join(reason["code"] for reason in answer["reasons"]) if answer else None
        said["answer"] = result.answer.decode() if result.answer else None
        said["problem"] = json.dumps(result.problem) if result.problem else None
        for name, column in columns.items():
            column.append(said[name])
    return pa.table(columns, schema=wanted)


def write_part(path: Path, table: pa.Table) -> None:
    """Write a part: it is there as a whole, on disk, or not at all."""
    with _whole(path) as unfinished:
        pq.write_table(table, unfinished, compression="zstd")


def merge(parts: Sequence[Path], target: Path, natural_key: str) -> None:
    """Write all parts into one file, in their order."""
    wanted = schema(natural_key)
    with _whole(target) as unfinished:
        if format_of(target) == ".parquet":
            with pq.ParquetWriter(unfinished, wanted, compression="zstd") as writer:
                for part in parts:
                    writer.write_table(pq.read_table(part))
        else:
            with pyarrow.csv.CSVWriter(unfinished, wanted) as writer:
                for part in parts:
                    writer.write_table(pq.read_table(part))


def summary(parts: Iterable[Path]) -> dict[str, Any]:
    """Count what became of the rows."""
    outcomes: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    rows = replayed = problems = 0
    for part in parts:
        table = pq.read_table(part, columns=["outcome", "source", "replayed"])
        rows += table.num_rows
        replayed += sum(table["replayed"].to_pylist())
        problems += table["outcome"].null_count
        outcomes.update(name for name in table["outcome"].to_pylist() if name)
        sources.update(name for name in table["source"].to_pylist() if name)
    return {
        "rows": rows,
        "problems": problems,
        "replayed": replayed,
        "outcomes": dict(outcomes),
        "sources": dict(sources),
    }


@contextmanager
def _whole(path: Path) -> Iterator[Path]:
    # Answers are about persons: for their owner alone.
    unfinished = path.with_name(f".{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    unfinished.touch(mode=0o600)
    yield unfinished
    for place in (unfinished, path.parent):
        handle = os.open(place, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
        if place is unfinished:
            unfinished.replace(path)
