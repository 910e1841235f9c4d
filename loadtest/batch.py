"""What scoring a file costs beside asking the door row by row, and whether it is the same: on a running stack.

    make up
    python loadtest/batch.py --rows 1000000 --json

Payments are drawn from the stack's own history under new ids, and decided into ledgers of the run, never the stack's.

    door      so many single requests at fraud's own process, CONNECTIONS at a time; its rate is per second of its CPU
    batch     `scoregate score` of the file on every core: rows a second, per second of CPU of all its processes, most
              memory of all of them together; killed with SIGKILL once KILL_AT of the rows are done, then resumed
    reasons   a file of rows that were not answered with the mildest outcome: what explaining costs
    equal     a sample as a file, and right after it at the door, both as of one moment, once all that the door decided
              before is counted; no two of its rows share an account, device or merchant, since what the door decides
              counts in the next one's windows

The exit code is 1 when a row is lost or doubled, or an answer differs. CPU of the store is in neither figure.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from redis import Redis

from scoregate.features import LATE_S
from scoregate.features.reading import marker_key, read_marker
from scoregate.local.state import read_status
from scoregate.settings import Settings

FIELDS = ("account_id", "device_id", "merchant_id", "amount_minor", "currency", "channel", "country")
PARTIES = FIELDS[:3]
DERIVED = ("outcome", "score", "reasons", "measures", "model", "features", "source", "confidence")
CONNECTIONS = 32
TRIES = 50
DOOR_REQUESTS = 10_000
SAMPLE = 1_000
AT_ONCE = 250
KILL_AT = 0.4
PATIENCE_S = 120.0
ASKING_S = 10.0
"""What asking the door may take of the time in which a payment is not late."""


def payments(settings: Settings, count: int, seed: int) -> pa.Table:
    """Draw payments of the last days, each under an id of its own."""
    files = sorted((settings.data / "transactions").glob("*.parquet"))[-10:]
    recorded = pa.concat_tables([pq.read_table(file, columns=list(FIELDS)) for file in files])
    drawn = recorded.take(np.random.default_rng(seed).integers(0, recorded.num_rows, count))
    return drawn.append_column("transaction_id", pa.array(_ids(count)))


def door(settings: Settings, rows: pa.Table) -> dict[str, float]:
    """Ask for each row alone, as many at a time as keep the process busy."""
    pid, port = _service(settings)
    before, started = _cpu_s(pid), time.monotonic()
    asyncio.run(_ask(port, [json.dumps(row).encode() for row in rows.to_pylist()], _key(settings)["authorization"]))
    wall_s, cpu_s = time.monotonic() - started, _cpu_s(pid) - before
    return {
        "requests": rows.num_rows,
        "per_s": round(rows.num_rows / wall_s),
        "per_cpu_s": round(rows.num_rows / cpu_s),
    }


async def _ask(port: int, bodies: list[bytes], key: str) -> None:
    """Post over connections that stay open; by hand, since a client's own cost would leave the service idle."""
    waiting = iter(bodies)
    head = f"POST /v1/fraud/score HTTP/1.1\r\nhost: load\r\nauthorization: {key}\r\ncontent-type: application/json\r\n"

    async def caller() -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        for body in waiting:
            request = f"{head}content-length: {len(body)}\r\n\r\n".encode() + body
            for _ in range(TRIES):
                if await _answered(reader, writer, request):
                    break
                await asyncio.sleep(0.1)
            else:
                raise RuntimeError(f"the door did not answer a request in {TRIES} tries")
        writer.close()

    await asyncio.gather(*(caller() for _ in range(CONNECTIONS)))


async def _answered(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, request: bytes) -> bool:
    """Send a request; return whether it was decided, and not refused for now."""
    writer.write(request)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in answer.lower().splitlines() if line.startswith(b"content-length:"))
    await reader.readexactly(int(length.partition(b":")[2]))
    status = int(answer.split(maxsplit=2)[1])
    if status not in (200, 503):
        raise RuntimeError(f"the door answered {status}")
    return status == 200


class Batch:
    """`scoregate score` with a ledger of its own, watched."""

    def __init__(self, rows: pa.Table, folder: Path) -> None:
        self.count = rows.num_rows
        self.source, self.target, self.ledger = folder / "in.parquet", folder / "out.parquet", folder / "ledger.db"
        pq.write_table(rows, self.source)
        self.cpu_s = self.wall_s = self.peak_mb = 0.0

    def run(self, *options: str, kill_at: float | None = None) -> None:
        """Run to the end, or until so great a share of the rows is done."""
        command = [sys.executable, "-m", "scoregate", "score", "fraud", "--in", str(self.source)]
        command += ["--out", str(self.target), "--json", *options]
        env = {**os.environ, "SCOREGATE_LEDGER_URL": f"sqlite:///{self.ledger}"}
        started = time.monotonic()
        process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, start_new_session=True)
        watcher = threading.Thread(target=self._watch, args=(psutil.Process(process.pid), kill_at))
        watcher.start()
        code = process.wait()
        watcher.join()
        self.wall_s += time.monotonic() - started
        if code != (0 if kill_at is None else -signal.SIGKILL):
            raise SystemExit(f"scoregate score ended with {code}")

    def _watch(self, process: psutil.Process, kill_at: float | None) -> None:
        """Note the CPU and the memory of all processes, and kill them when their time has come."""
        spent: dict[int, float] = {}
        with contextlib.suppress(psutil.NoSuchProcess):
            while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                everyone = [process, *process.children(recursive=True)]
                memory = 0.0
                for one in everyone:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        spent[one.pid] = sum(one.cpu_times()[:2])
                        memory += one.memory_info().rss / 1e6
                self.peak_mb = max(self.peak_mb, memory)
                if kill_at is not None and self.done() >= kill_at * self.count:
                    os.killpg(process.pid, signal.SIGKILL)
                    break
                time.sleep(0.2)
        self.cpu_s += sum(spent.values())

    def done(self) -> int:
        """Rows whose parts are there."""
        return sum(pq.read_metadata(part).num_rows for part in self.target.parent.glob("out.parquet.parts/part-*"))

    def figures(self) -> dict[str, float]:
        return {
            "rows": self.count,
            "wall_s": round(self.wall_s, 1),
            "per_s": round(self.count / self.wall_s),
            "per_cpu_s": round(self.count / self.cpu_s),
            "peak_mb": round(self.peak_mb),
        }

    def entries(self) -> int:
        with contextlib.closing(sqlite3.connect(self.ledger)) as db:
            return int(db.execute("SELECT count(*) FROM entries").fetchone()[0])


def lost_or_doubled(batch: Batch, rows: pa.Table) -> int:
    """Count rows that are not there once, in their place, with one decision in the ledger."""
    found = pq.read_table(batch.target, columns=["transaction_id", "decision_id", "problem"])
    moved = 0 if found["transaction_id"].equals(rows["transaction_id"]) else found.num_rows
    decided = found.filter(pc.is_null(found["problem"]))["decision_id"]
    doubled = len(decided) - pc.count_distinct(decided).as_py()
    return abs(rows.num_rows - found.num_rows) + moved + doubled + abs(batch.entries() - len(decided))


def sampled(rows: pa.Table, size: int) -> pa.Table:
    """Take rows of which no two share an account, a device or a merchant, as far as there are any."""
    seen: set[str] = set()
    chosen = []
    for i, *parties in zip(range(rows.num_rows), *(rows[name].to_pylist() for name in PARTIES), strict=False):
        if len(chosen) < size and seen.isdisjoint(parties):
            seen.update(parties)
            chosen.append(i)
    return rows.take(chosen)


def equal(settings: Settings, rows: pa.Table) -> dict[str, int]:
    """Decide a sample as files into ledgers apart, and each at the door right after; count what differs."""
    _wait_until_counted(settings)
    differ = 0
    for start in range(0, rows.num_rows, AT_ONCE):
        with _folder() as folder:
            differ += _differing(settings, rows.slice(start, AT_ONCE), folder)
    return {"rows": rows.num_rows, "differ": differ}


def _differing(settings: Settings, rows: pa.Table, folder: Path) -> int:
    at = datetime.now(UTC)
    # The same moment for both.
    rows = rows.append_column("event_at", pa.array([at.isoformat()] * rows.num_rows))
    batch = Batch(rows, folder)
    batch.run("--workers", "1")
    if (datetime.now(UTC) - at).total_seconds() > LATE_S - ASKING_S:
        raise SystemExit("the machine is too busy: what is asked so long after it happened reads no fresh tiles")
    answers = [json.loads(answer) for answer in pq.read_table(batch.target)["answer"].to_pylist()]
    url = f"http://127.0.0.1:{settings.gateway_port}/v1/fraud/score:batch"
    asked = httpx.post(url, json={"rows": rows.to_pylist()}, headers=_key(settings), timeout=30).raise_for_status()
    pairs = zip(answers, (one["answer"] for one in asked.json()["results"]), strict=True)
    return sum(any(one[name] != other[name] for name in DERIVED) for one, other in pairs)


def _wait_until_counted(settings: Settings) -> None:
    """Wait until the windows hold all that the door was asked until now: what is counted between two reads differs."""
    asked_s, until_s = time.time(), time.monotonic() + PATIENCE_S
    store: Any = Redis.from_url(settings.store_url)
    while time.monotonic() < until_s:
        marker = read_marker(store.hgetall(marker_key(settings.project, "transactions")))
        if marker and marker.watermark_s > asked_s:
            return
        time.sleep(0.2)
    raise SystemExit("the worker does not count: make up")


def harsh(batch: Batch, rows: pa.Table, count: int) -> pa.Table:
    """Repeat rows that were not answered with the mildest outcome, under new ids."""
    outcomes = pq.read_table(batch.target, columns=["outcome"])["outcome"]
    chosen = np.flatnonzero(pc.fill_null(pc.not_equal(outcomes, "approve"), False).to_numpy())
    drawn = rows.take(np.resize(chosen, count)) if len(chosen) else rows.slice(0, 0)
    at = drawn.column_names.index("transaction_id")
    return drawn.set_column(at, "transaction_id", pa.array(_ids(drawn.num_rows), pa.string()))


def measure(settings: Settings, asked: argparse.Namespace) -> dict[str, Any]:
    rows = payments(settings, asked.rows, asked.seed)
    found: dict[str, Any] = {"door": door(settings, payments(settings, asked.requests, asked.seed + 1))}
    with _folder() as folder:
        batch = Batch(rows, folder)
        batch.run(kill_at=KILL_AT)
        kept = batch.done()
        batch.run("--resume")
        found["batch"] = {**batch.figures(), "done_when_killed": kept}
        found["lost_or_doubled"] = lost_or_doubled(batch, rows)
        hard = harsh(batch, rows, max(asked.rows // 20, 5_000))
    if hard.num_rows:
        with _folder() as folder:
            explained = Batch(hard, folder)
            explained.run()
            found["reasons"] = explained.figures()
    found["equal"] = equal(settings, sampled(payments(settings, 200_000, asked.seed + 2), SAMPLE))
    found["times_the_door"] = round(found["batch"]["per_cpu_s"] / found["door"]["per_cpu_s"], 2)
    return found


@contextlib.contextmanager
def _folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="scoregate-batch-") as name:
        yield Path(name)


def _ids(count: int) -> list[str]:
    run = uuid.uuid4().hex[:8]
    return [f"load-{run}-{i}" for i in range(count)]


def _key(settings: Settings) -> dict[str, str]:
    return {"authorization": f"Bearer {(settings.home / 'demo.key').read_text().strip()}"}


def _service(settings: Settings) -> tuple[int, int]:
    """Return process and port of fraud's stable arm."""
    status = read_status(settings.home)
    for each in status.running if status else ():
        if each.name == "fraud-stable" and each.mark:
            return each.mark.pid, each.port
    raise SystemExit("fraud does not run: make up")


def _cpu_s(pid: int) -> float:
    process = psutil.Process(pid)
    return float(sum(sum(one.cpu_times()[:2]) for one in [process, *process.children(recursive=True)]))


def lines(found: dict[str, Any]) -> Iterator[str]:
    """Say in lines what was measured."""
    door, batch = found["door"], found["batch"]
    yield f"door:    {door['per_cpu_s']:,} requests per second of CPU ({door['per_s']:,} a second)"
    yield (
        f"batch:   {batch['per_cpu_s']:,} rows per second of CPU, {found['times_the_door']} × the door; "
        f"{batch['rows']:,} rows in {batch['wall_s']} s ({batch['per_s']:,} a second), at most {batch['peak_mb']:,} MB"
    )
    yield f"killed:  after {batch['done_when_killed']:,} rows; resumed: {found['lost_or_doubled']} lost or doubled"
    if reasons := found.get("reasons"):
        yield f"reasons: {reasons['per_cpu_s']:,} rows per second of CPU, where every row has some"
    yield f"equal:   {found['equal']['differ']} of {found['equal']['rows']:,} sampled rows differ from the door"


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000, help="rows of the file (default %(default)s)")
    parser.add_argument("--requests", type=int, default=DOOR_REQUESTS, help="single requests (default %(default)s)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    return parser


def main() -> int:
    asked = _parser().parse_args()
    found = measure(Settings(), asked)
    found |= {"load": round(os.getloadavg()[0], 1), "cores": os.cpu_count()}
    print(json.dumps(found, indent=2) if asked.json else "\n".join(lines(found)))
    return 1 if found["lost_or_doubled"] or found["equal"]["differ"] or not found["equal"]["rows"] else 0


if __name__ == "__main__":
    sys.exit(main())
