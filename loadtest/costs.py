"""Doors of one service side by side, each otherwise in one respect, and what that costs: ratios within one run.

Each runs in a process of its own under uvicorn alone, so that what differs is as large a share as it can be, with
models and feature store of a running stack. In each round each of them gets the same load in turn: as fast as so many
connections can, and then at one rate for all, half of what the slowest reached. Whoever must wait waits: a door that
refused some would look fast. Ratios are medians over rounds, against one of them in the same round; only decisions
count in rates and times.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import psutil
import uvicorn
from goldens import requests_of

from scoregate import catalog
from scoregate.serving.door import Door
from scoregate.serving.events import event_code
from scoregate.settings import ROOT, Settings

sys.path.insert(0, str(ROOT / "tests"))

from conftest import free_ports

SERVICE = "fraud"
WARM_S = 3.0
QUIET = {"checkpoint_s": 0.0, "log_requests": False, "queue_ms": 1_000.0}
SERVE = "--serve"


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


@dataclass(frozen=True, slots=True)
class Running:
    """A door's process."""

    port: int
    process: psutil.Process

    def cpu_s(self) -> float:
        times = self.process.cpu_times()
        return float(times.user + times.system)


async def _serve(port: int) -> None:
    """Serve the door of the environment's settings until the process is ended."""
    contract, features = (catalog.part(SERVICE, part) for part in ("contract", "features"))
    door = Door(SERVICE, contract, features, event_code(SERVICE))  # type: ignore[arg-type]
    await door.start()
    settings = uvicorn.Config(door, port=port, lifespan="off", access_log=False, log_level="warning")  # type: ignore[arg-type]
    await uvicorn.Server(settings).serve()


@contextmanager
def doors(script: str, of: Mapping[str, Settings], **env: str) -> Iterator[dict[str, Running]]:
    """Start `script --serve NAME --port PORT` with the settings of each name."""
    with ExitStack() as ending:
        found = {}
        for (name, own), port in zip(of.items(), free_ports(len(of)), strict=True):
            said = {f"SCOREGATE_{k.upper()}": str(v) for k, v in own.model_dump().items() if v is not None}
            command = [sys.executable, script, SERVE, name, "--port", str(port)]
            one = subprocess.Popen(command, env={**os.environ, **said, **env, "OMP_NUM_THREADS": "1"})
            ending.callback(one.wait)
            ending.callback(one.terminate)
            found[name] = Running(port, psutil.Process(one.pid))
        yield found


async def _measured(stack: Settings, of: Mapping[str, Running], asked: argparse.Namespace) -> list[dict[str, Any]]:
    callers = {name: Caller(one.port, stack) for name, one in of.items()}
    for name, caller in callers.items():
        await _until_ready(of[name].port)
        await caller.flood(max(asked.connections), WARM_S)
    rounds = []
    for turn in range(asked.rounds):
        found: dict[str, Any] = {name: {} for name in callers}
        names = list(callers)[:: -1 if turn % 2 else 1]
        for connections in asked.connections:
            for name in names:
                found[name][f"{connections}"] = await _cost(of[name], callers[name].flood(connections, asked.seconds))
        slowest = min(one[f"{asked.connections[0]}"]["per_s"] for one in found.values())
        for name in names:
            found[name]["half"] = await _cost(of[name], callers[name].at_rate(slowest / 2, asked.seconds))
        rounds.append(found)
        print(json.dumps(found), file=sys.stderr, flush=True)
    return rounds


async def _cost(of: Running, load: Awaitable[Sent]) -> dict[str, float]:
    before_s = of.cpu_s()
    sent = await load
    return {**sent.as_json(), "cpu_us": round((of.cpu_s() - before_s) / max(len(sent.took), 1) * 1e6)}


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


def _summary(rounds: list[dict[str, Any]], base: str) -> dict[str, Any]:
    """Medians over rounds, and ratios to `base` of the same round."""
    found: dict[str, Any] = {}
    for name, stretches in rounds[0].items():
        for stretch in stretches:
            some = [each[name][stretch] for each in rounds]
            others = [each[base][stretch] for each in rounds]
            medians = ("per_s", "p50_ms", "p99_ms", "cpu_us")
            one = {what: float(np.median([each[what] for each in some])) for what in medians}
            for what in ("per_s", "p99_ms", "cpu_us"):
                ratios = [a[what] / b[what] for a, b in zip(some, others, strict=True)]
                one[f"{what}_of_{base}"] = round(float(np.median(ratios)), 3)
            one |= {what: sum(each[what] for each in some) for what in ("answers", "failed", "fallbacks")}
            found[f"{name} {stretch}"] = one
    return found


def main(
    doc: str | None,
    start: Callable[[Settings], AbstractContextManager[dict[str, Running]]],
    base: str,
    become: Callable[[str], None],
) -> int:
    """Measure the doors that `start` starts, or be one of them: `become` makes this process the one of that name.

    Return 1 when an answer was no decision, or a fallback without need.
    """
    asked = _parser(doc).parse_args()
    if asked.serve:
        become(asked.serve)
        asyncio.run(_serve(asked.port))
        return 0
    stack = Settings()
    with start(stack) as of:
        found = _summary(asyncio.run(_measured(stack, of, asked)), base)
    if asked.json:
        print(json.dumps({"load": os.getloadavg()[0], "cores": os.cpu_count(), **found}, indent=2))
    else:
        for name, one in found.items():
            print(f"{name:<14} " + ", ".join(f"{what} {value:g}" for what, value in one.items()))
    return 1 if any(one["failed"] or one["fallbacks"] for one in found.values()) else 0


def _parser(doc: str | None) -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(description=(doc or "").splitlines()[0])
    made.add_argument("--rounds", type=int, default=5)
    made.add_argument("--seconds", type=float, default=4.0, help="of one stretch")
    made.add_argument("--connections", type=int, nargs="+", default=[16, 64])
    made.add_argument("--json", action="store_true")
    made.add_argument(SERVE, help=argparse.SUPPRESS)
    made.add_argument("--port", type=int, help=argparse.SUPPRESS)
    return made
