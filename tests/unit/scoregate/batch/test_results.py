"""Results: a part is there as a whole or not at all, and parts become one file in order."""

from __future__ import annotations

from pathlib import Path

import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from scoregate.batch.job import Job, Parts
from scoregate.batch.results import Result, as_table, merge, summary, write_part
from scoregate.errors import ScoregateError

ANSWER = (
    b'{"decision_id":"d","outcome":"review","score":0.5,"source":"model","confidence":"full",'
    b'"reasons":[{"code":"a","text":"A"},{"code":"b","text":"B"}]}'
)
JOB = Job("toy", "i" * 64, "d" * 64, "now", "stable", 2)


def parts(tmp_path: Path) -> Parts:
    found = Parts.beside(tmp_path / "out.parquet")
    found.take()
    found.begin(JOB)
    write_part(found.part(1), as_table(3, "id", ["k3"], [Result(problem={"status": 422})]))
    write_part(found.part(0), as_table(1, "id", ["k1", None], [Result(ANSWER), Result(ANSWER, replayed=True)]))
    return found


@pytest.mark.parametrize("suffix", ["parquet", "csv"])
def test_parts_are_merged_in_the_order_of_rows(tmp_path: Path, suffix: str) -> None:
    """Whichever part was ready first; every row is there."""
    target = tmp_path / f"out.{suffix}"
    merge(parts(tmp_path).done(), target, "id")
    table = pq.read_table(target) if suffix == "parquet" else pyarrow.csv.read_csv(target)

    assert [1, 2, 3] == table["row"].to_pylist()
    assert "a;b" == table["reasons"][0].as_py()
    assert 0o600 == target.stat().st_mode & 0o777


def test_a_summary_counts_every_row(tmp_path: Path) -> None:
    """Decided, given again, and not decided."""
    assert {
        "rows": 3,
        "problems": 1,
        "replayed": 1,
        "outcomes": {"review": 2},
        "sources": {"model": 2},
    } == summary(parts(tmp_path).done())


def test_an_unfinished_part_is_none(tmp_path: Path) -> None:
    """What a killed process left half written is not taken for done."""
    found = parts(tmp_path)
    (found.folder / ".part-000002.parquet.unfinished").write_bytes(b"half")

    assert [found.part(0), found.part(1)] == found.done()


def test_a_run_knows_what_an_earlier_one_was_doing(tmp_path: Path) -> None:
    """The same model, file and way to look features up."""
    parts(tmp_path)

    assert JOB == Parts.beside(tmp_path / "out.parquet").earlier()


def test_one_process_at_a_time_scores_into_a_file(tmp_path: Path) -> None:
    """A second one is refused while the first has the folder."""
    first = parts(tmp_path)

    with pytest.raises(ScoregateError, match="another process"):
        Parts(first.folder).take()
