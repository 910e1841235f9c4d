"""What a durable ledger costs: throughput and p99 of one door with it and without, in one run.

    make up && python loadtest/ledger_cost.py --rounds 5 --json

Serves fraud's door in a process of its own per ledger (off, SQLite, PostgreSQL), under uvicorn alone so that the ledger
is as large a share as it can be, with models and feature store of the running stack. In each round each of them gets
the same load in turn: as fast as so many connections can, and then at one rate for all, half of what the slowest
reached. Whoever must wait waits: a door that refused some would look fast. `off` records nothing and brings no event.
Ratios are medians over rounds, against `off` of the same round; only decisions count in rates and times.
The exit code is 1 when an answer was no decision, or a fallback without need.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import uvicorn
from goldens import requests_of

from scoregate import catalog
from scoregate.events import Event
from scoregate.ledger import Appended, Entry
from scoregate.ledger.memory import MemoryLedger
from scoregate.serving import startup
from scoregate.serving.door import Door
from scoregate.serving.events import event_code
from scoregate.settings import ROOT, Settings

sys.path.insert(0, str(ROOT / "tests"))

from conftest import free_ports
from postgres import Server, programs

SERVICE = "fraud"
WARM_S = 3.0
QUIET = {"checkpoint_s": 0.0, "log_requests": False, "queue_ms": 1_000.0}


@dataclass(slots=True)
class Sent:
    """Answers of one stretch of load; times in seconds."""

    seconds: float = 0.0
    took: list[float] = field(default_factory=list)
    failed: int = 0
    fallbacks: int = 0

    def as_json(self) -> dict[str, float]:
        p50, p99 = np.quantile(self.took or [float("nan")], [0.5, 0.99]) * 1e3
        shares = {"failed": self.failed, "fallbacks": self.fallbacks, "answers": len(self.took) + self.failed}
        return {
            "per_s": round(len(self.took) / self.seconds),
            "p50_ms": round(p50, 2),
            "p99_ms": round(p99, 2),
            **shares,
        }


class Caller:
    """Requests over connections that stay open, as raw bytes: a client that costs much would be what is measured."""

    def __init__(self, port: int, stack: Settings) -> None:
        self._port = port
        key = (stack.home / "demo.key").read_text().strip()
        self._head = f"POST /v1/{SERVICE}/score HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {key}\r\n"
        self._natural_key = catalog.part(SERVICE, "contract").Request.NATURAL_KEY
        self._bodies = itertools.cycle(requests_of(SERVICE, stack))
        self._run, self._serial = uuid.uuid4().hex[:8], itertools.count()

    async def flood(self, connections: int, seconds: float) -> Sent:
        """Send on each connection as soon as the answer is there."""
        sent, began_s = Sent(), time.perf_counter()
        until_s = began_s + seconds

        async def one() -> None:
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
            while time.perf_counter() < until_s:
                await self._ask(reader, writer, sent, time.perf_counter())
            writer.close()

        await asyncio.gather(*(one() for _ in range(connections)))
        sent.seconds = time.perf_counter() - began_s
        return sent

    async def at_rate(self, per_s: float, seconds: float, connections: int = 64) -> Sent:
        """Send at even times, whatever the answers do; a late start counts as waiting."""
        sent, began_s = Sent(), time.perf_counter()
        free: asyncio.Queue[Any] = asyncio.Queue()
        for _ in range(connections):
            free.put_nowait(await asyncio.open_connection("127.0.0.1", self._port))

        async def one(at_s: float) -> None:
            pair = await free.get()
            await self._ask(*pair, sent, at_s)
            free.put_nowait(pair)

        tasks = []
        for i in range(int(per_s * seconds)):
            at_s = began_s + i / per_s
            if (left_s := at_s - time.perf_counter()) > 0:
                await asyncio.sleep(left_s)
            tasks.append(asyncio.create_task(one(at_s)))
        await asyncio.gather(*tasks)
        sent.seconds = time.perf_counter() - began_s
        while not free.empty():
            free.get_nowait()[1].close()
        return sent

    async def _ask(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, sent: Sent, at_s: float) -> None:
        body = json.dumps({**next(self._bodies), self._natural_key: f"cost-{self._run}-{next(self._serial)}"})
        head = f"{self._head}content-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        writer.write((head + body).encode())
        answered = await reader.readuntil(b"\r\n\r\n")
        length = int(answered.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        said = await reader.readexactly(length)
        if b" 200 " in answered[:16]:
            sent.took.append(time.perf_counter() - at_s)
        else:
            sent.failed += 1
        sent.fallbacks += b'"source":"fallback"' in said


class Off(MemoryLedger):
    """Says that it has recorded, and has not."""

    async def append(self, entry: Entry, event: Event | None = None) -> Appended:
        return Appended(entry.decision_id, entry.answer, replayed=False)


def serve(ledger: str, port: int) -> None:
    """Serve the door until the process is ended; `off`, or the settings' own ledger."""

    async def off(url: str, service: str, **_: Any) -> Off:
        return Off(service)

    async def run() -> None:
        if ledger == "off":
            startup.open_ledger = off  # type: ignore[assignment]
        contract, features = (catalog.part(SERVICE, part) for part in ("contract", "features"))
        door = Door(SERVICE, contract, features, event_code(SERVICE))  # type: ignore[arg-type]
        await door.start()
        settings = uvicorn.Config(door, port=port, lifespan="off", access_log=False, log_level="warning")  # type: ignore[arg-type]
        await uvicorn.Server(settings).serve()

    asyncio.run(run())


@contextmanager
def doors(stack: Settings) -> Iterator[dict[str, int]]:
    """Start a door per ledger; yield their ports."""
    bin_ = programs()
    names = ["off", "sqlite", *(["postgres"] if bin_ else [])]
    ports = dict(zip(names, free_ports(len(names)), strict=True))
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="scoregate-cost-")))
        urls = {"off": f"sqlite:///{folder}/none.db", "sqlite": f"sqlite:///{folder}/ledger.db"}
        if bin_:
            folder.chmod(0o755)
            (folder / "postgres").mkdir()
            server = Server(bin_, folder / "postgres")
            ending.callback(server.stop)
            server.start()
            urls["postgres"] = server.url
        for name, port in ports.items():
            own = stack.model_copy(update={**QUIET, "ledger_url": urls[name]})
            env = {f"SCOREGATE_{k.upper()}": str(v) for k, v in own.model_dump().items() if v is not None}
            command = [sys.executable, __file__, "--serve", name, "--port", str(port)]
            one = subprocess.Popen(command, env={**os.environ, **env, "OMP_NUM_THREADS": "1"})
            ending.callback(one.wait)
            ending.callback(one.terminate)
        yield ports


async def measured(stack: Settings, ports: dict[str, int], asked: argparse.Namespace) -> list[dict[str, Any]]:
    callers = {name: Caller(port, stack) for name, port in ports.items()}
    for name, caller in callers.items():
        await _until_ready(ports[name])
        await caller.flood(max(asked.connections), WARM_S)
    rounds = []
    for _ in range(asked.rounds):
        found: dict[str, Any] = {name: {} for name in callers}
        for connections in asked.connections:
            for name, caller in callers.items():
                found[name][f"{connections}"] = (await caller.flood(connections, asked.seconds)).as_json()
        slowest = min(one[f"{asked.connections[0]}"]["per_s"] for one in found.values())
        for name, caller in callers.items():
            found[name]["half"] = (await caller.at_rate(slowest / 2, asked.seconds)).as_json()
        rounds.append(found)
        print(json.dumps(found), file=sys.stderr, flush=True)
    return rounds


async def _until_ready(port: int) -> None:
    for _ in range(600):
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
        except OSError:
            await asyncio.sleep(0.1)
            continue
        writer.write(b"GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n")
        status = await reader.readline()
        writer.close()
        if b" 200 " in status:
            return
        await asyncio.sleep(0.1)
    raise TimeoutError("a door does not become ready")


def summary(rounds: list[dict[str, Any]]) -> dict[str, Any]:
    """Medians over rounds, and of throughput and p99 as ratios to `off` of the same round."""
    found: dict[str, Any] = {}
    for name, stretches in rounds[0].items():
        for stretch in stretches:
            some = [each[name][stretch] for each in rounds]
            off = [each["off"][stretch] for each in rounds]
            one = {what: float(np.median([each[what] for each in some])) for what in ("per_s", "p50_ms", "p99_ms")}
            for what in ("per_s", "p99_ms"):
                ratios = [a[what] / b[what] for a, b in zip(some, off, strict=True)]
                one[f"{what}_of_off"] = round(float(np.median(ratios)), 3)
            one |= {what: sum(each[what] for each in some) for what in ("answers", "failed", "fallbacks")}
            found[f"{name} {stretch}"] = one
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=4.0, help="of one stretch")
    parser.add_argument("--connections", type=int, nargs="+", default=[16, 64])
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.serve:
        serve(asked.serve, asked.port)
        return 0
    stack = Settings()
    with doors(stack) as ports:
        found = summary(asyncio.run(measured(stack, ports, asked)))
    if asked.json:
        print(json.dumps({"load": os.getloadavg()[0], "cores": os.cpu_count(), **found}, indent=2))
    else:
        for name, one in found.items():
            print(f"{name:<14} " + ", ".join(f"{what} {value:g}" for what, value in one.items()))
    return 1 if any(one["failed"] or one["fallbacks"] for one in found.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
