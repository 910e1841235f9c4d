"""A file's rows become what JSON would hold, and every row comes once, in order."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import toy
from scoregate.batch.rows import Columns, chunks
from scoregate.errors import ScoregateError


def rows_of(path: Path) -> list[dict[str, Any]]:
    columns = Columns.of(path, toy.Request)
    return [row for chunk in chunks(path, columns.fields, 2) for row in columns.rows(chunk)]


def test_csv_is_read_as_the_contract_says(tmp_path: Path) -> None:
    """Ids keep their zeros, amounts are numbers, what is empty is absent, what does not fit is left to the contract."""
    path = tmp_path / "in.csv"
    path.write_text("payment_id,payer_id,amount_minor,event_at\n007,0042,100,\n008,a,lots,2023-11-14T22:13:20Z\n")

    assert [
        {"payment_id": "007", "payer_id": "0042", "amount_minor": 100},
        {"payment_id": "008", "payer_id": "a", "amount_minor": "lots", "event_at": "2023-11-14T22:13:20Z"},
    ] == rows_of(path)


def test_parquet_is_read_as_json_would_be(tmp_path: Path) -> None:
    """Times as RFC 3339, whole numbers in a column with gaps as integers, nulls absent."""
    path = tmp_path / "in.parquet"
    at = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)
    table = {"payment_id": ["1", "2"], "payer_id": ["a", None], "amount_minor": [100.0, float("nan")]}
    pq.write_table(pa.table({**table, "event_at": [at, None]}), path)

    assert [
        {"payment_id": "1", "payer_id": "a", "amount_minor": 100, "event_at": at.isoformat()},
        {"payment_id": "2"},
    ] == rows_of(path)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_chunks_hold_every_row_once_in_order(tmp_path: Path, suffix: str, size: int) -> None:
    """Chunks have the same rows on every run, so that a part stands for the same ones."""
    path = tmp_path / f"in.{suffix}"
    ids = [f"p{n}" for n in range(20)]
    if suffix == "csv":
        path.write_text("payment_id,payer_id,amount_minor\n" + "".join(f"{id_},a,1\n" for id_ in ids))
    else:
        pq.write_table(pa.table({"payment_id": ids, "payer_id": ["a"] * 20, "amount_minor": [1] * 20}), path)
    found = [chunk["payment_id"].to_pylist() for chunk in chunks(path, Columns.of(path, toy.Request).fields, size)]

    assert ids == [id_ for chunk in found for id_ in chunk]
    assert {size} >= {len(chunk) for chunk in found[:-1]}


def test_a_column_that_every_request_has_must_be_there(tmp_path: Path) -> None:
    """Said once and before anything is decided, not in every row."""
    path = tmp_path / "in.csv"
    path.write_text("payment_id,amount_minor\n1,1\n")

    with pytest.raises(ScoregateError, match="payer_id"):
        Columns.of(path, toy.Request)


def test_other_columns_are_named_and_not_read(tmp_path: Path) -> None:
    """A misspelt column must not vanish in silence."""
    path = tmp_path / "in.csv"
    path.write_text("payment_id,payer_id,amount_minor,evnt_at\n1,a,1,x\n")

    assert ("evnt_at",) == Columns.of(path, toy.Request).others
