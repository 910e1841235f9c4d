"""`scoregate score`: a file's rows get the answers that the door would give, whatever happens on the way."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from conftest import ROOT, Stack
from scoregate import catalog

ROWS = 300
DERIVED = ("outcome", "score", "reasons", "measures", "model", "features", "source", "confidence", "arm", "service")


def payments(stack: Stack, count: int) -> list[dict[str, Any]]:
    """Payments of accounts and merchants that the store knows, no two of one merchant or one account, as of now."""
    files = sorted((stack.home / "data" / "transactions").glob("*.parquet"))
    recorded = pa.concat_tables([pq.read_table(file) for file in files[-10:]])
    now, found, seen = datetime.now(UTC).isoformat(), [], set()
    for row in recorded.to_pylist():
        whom = {row["account_id"], row["merchant_id"], row["device_id"]}
        if not seen & whom:
            seen |= whom
            kept = ("account_id", "device_id", "merchant_id", "amount_minor", "currency", "channel", "country")
            id_ = f"batch-{uuid.uuid4().hex[:12]}"
            found.append({"transaction_id": id_, "event_at": now, **{name: row[name] for name in kept}})
    return found[:count]


def requests(stack: Stack, service: str, count: int) -> list[dict[str, Any]]:
    """Requests that do not change one another's features."""
    contract = catalog.part(service, "contract")
    if service == "fraud":
        return payments(stack, count)
    name = contract.Request.NATURAL_KEY
    rows = [{**contract.EXAMPLE, name: f"batch-{uuid.uuid4().hex[:12]}"} for _ in range(count)]
    return [row | stranger() for row in rows] if service == "kyc" else rows


def stranger() -> dict[str, str]:
    """What tells an applicant from all others: the door links those who share any of it, once they are counted."""
    drawn = uuid.uuid4().hex
    digits = str(int(drawn, 16))
    return {
        "name": f"Ana {drawn[:12]}",
        "document_number": drawn[:10].upper(),
        "address": f"{drawn[:12]} {digits[:4]}, {digits[4:9]} Berlin",
        "phone": f"+49{digits[:11]}",
        "email": f"{drawn}@example.com",
        "device_id": f"dev-{drawn}",
    }


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(rows), path)
        return path
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def scored(stack: Stack, service: str, source: Path, target: Path, *options: str, **env: str) -> list[dict[str, Any]]:
    command = [sys.executable, "-m", "scoregate", "score", service, "--in", str(source), "--out", str(target), *options]
    run = subprocess.run(
        command, env={**stack.env, **env}, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False
    )
    assert 0 == run.returncode, run.stdout + run.stderr
    rows: list[dict[str, Any]] = pq.read_table(target).to_pylist()
    return rows


def derived(answer: dict[str, Any]) -> dict[str, Any]:
    """What of an answer another decision of the same request must have too; an alert's group is a request's own."""
    return {name: answer[name] for name in DERIVED}


@pytest.mark.parametrize("service", catalog.services())
def test_a_file_gets_the_answers_of_the_door(stack: Stack, tmp_path: Path, service: str) -> None:
    """Row for row, field for field: the batch decides into a ledger of its own, the door the same rows after it."""
    rows = requests(stack, service, ROWS)
    # A ledger beside that of the stack: else the door would only repeat what the batch decided.
    apart = f"sqlite:///{tmp_path}/ledger.db"
    batch = scored(
        stack, service, write(tmp_path / "in.parquet", rows), tmp_path / "out.parquet", SCOREGATE_LEDGER_URL=apart
    )
    door = httpx.post(
        f"{stack.url}/v1/{service}/score:batch",
        json={"rows": rows},
        headers={"authorization": f"Bearer {stack.key}"},
        timeout=30,
    ).json()["results"]

    assert [200] * len(rows) == [one["status"] for one in door]
    assert [derived(one["answer"]) for one in door] == [derived(json.loads(one["answer"])) for one in batch]
    assert {"model"} == {one["source"] for one in batch}


def test_what_the_door_decided_is_given_again(stack: Stack, tmp_path: Path) -> None:
    """A natural key is one decision, whichever way it came first: the same bytes, and it is said."""
    (row,) = requests(stack, "credit", 1)
    first = stack.post("credit", row)
    (again,) = scored(stack, "credit", write(tmp_path / "in.parquet", [row]), tmp_path / "out.parquet")

    assert (first.text, True) == (again["answer"], again["replayed"])


def test_a_bad_row_has_a_problem_and_no_row_is_lost(stack: Stack, tmp_path: Path) -> None:
    """CSV: numbers are read as the contract says, every bad field of a row is named, the others are decided."""
    rows = requests(stack, "credit", 3)
    rows[1] |= {"term_months": "many", "currency": "euro"}
    found = scored(stack, "credit", write(tmp_path / "in.csv", rows), tmp_path / "out.parquet")
    problem = json.loads(found[1]["problem"])

    assert [1, 2, 3] == [row["row"] for row in found]
    assert [row["application_id"] for row in rows] == [row["application_id"] for row in found]
    assert [True, False, True] == [row["answer"] is not None for row in found]
    assert {"/term_months", "/currency"} == {error["pointer"] for error in problem["errors"]}


def test_a_killed_batch_is_resumed_without_a_row_lost_or_doubled(stack: Stack, tmp_path: Path) -> None:
    """SIGKILL in the middle; --resume ends with every row once, and one decision in the ledger for each."""
    rows = requests(stack, "credit", 12_000)
    source, target = write(tmp_path / "in.parquet", rows), tmp_path / "out.parquet"
    ledger = tmp_path / "ledger.db"
    env = {**stack.env, "SCOREGATE_LEDGER_URL": f"sqlite:///{ledger}"}
    command = [sys.executable, "-m", "scoregate", "score", "credit", "--in", str(source), "--out", str(target)]
    with subprocess.Popen([*command, "--workers", "1"], env=env, cwd=ROOT, start_new_session=True) as process:
        until_s = time.monotonic() + 120
        while not [*tmp_path.glob("out.parquet.parts/part-*")] and time.monotonic() < until_s:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
    assert not target.exists()
    again = scored(
        stack, "credit", source, target, "--resume", "--workers", "1", SCOREGATE_LEDGER_URL=f"sqlite:///{ledger}"
    )

    assert [row["application_id"] for row in rows] == [row["application_id"] for row in again]
    assert len(rows) == len({row["decision_id"] for row in again}) == entries(ledger)
    assert not (tmp_path / "out.parquet.parts").exists()


def entries(ledger: Path) -> int:
    import sqlite3

    with sqlite3.connect(ledger) as db:
        return int(db.execute("SELECT count(*) FROM entries").fetchone()[0])


def test_features_as_of_each_row_are_those_of_then(stack: Stack, tmp_path: Path) -> None:
    """A payment of some days ago is decided by the windows of that time, and counts in no tiles again."""
    files = sorted((stack.home / "data" / "transactions").glob("*.parquet"))
    day = pq.read_table(files[-4]).slice(0, 40)
    kept = ("account_id", "device_id", "merchant_id", "amount_minor", "currency", "channel", "country", "event_at")
    rows = [{**row, "transaction_id": f"then-{uuid.uuid4().hex[:12]}"} for row in day.select(kept).to_pylist()]
    ledger = tmp_path / "ledger.db"
    source = write(tmp_path / "in.parquet", rows)
    found = scored(
        stack, "fraud", source, tmp_path / "out.parquet", "--as-of", "row", SCOREGATE_LEDGER_URL=f"sqlite:///{ledger}"
    )
    answers = [json.loads(row["answer"]) for row in found if row["answer"]]

    assert len(rows) == len(found) == len(answers)
    assert {("model", "full")} == {(answer["source"], answer["confidence"]) for answer in answers}
    assert [] == outbox(ledger)
    assert pc.count_distinct(pa.array([answer["score"] for answer in answers])).as_py() > 1


def outbox(ledger: Path) -> list[Any]:
    import sqlite3

    with sqlite3.connect(ledger) as db:
        return db.execute("SELECT key FROM outbox").fetchall()


@pytest.mark.parametrize("service", catalog.services())
def test_what_a_batch_decided_is_replayed(stack: Stack, tmp_path: Path, service: str) -> None:
    """Its entries are entries like any other: replay derives each of them again, bit for bit."""
    apart = {"SCOREGATE_LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db"}
    rows = requests(stack, service, 50)
    scored(stack, service, write(tmp_path / "in.parquet", rows), tmp_path / "out.parquet", **apart)
    command = [sys.executable, "-m", "scoregate", "ledger", "replay", "--since", "2020-01-01", "--json"]
    run = subprocess.run(
        command, env={**stack.env, **apart}, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False
    )
    tally = json.loads(run.stdout)[service]

    assert (0, 50, 50, 0) == (run.returncode, tally["entries"], tally["replayed"], tally["differ"])
