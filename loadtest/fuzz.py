"""Bodies that no honest caller sends, to the real service processes: nothing crashes, leaks a value, or grows.

    make up && python loadtest/fuzz.py --bodies 1000000 --json
    python loadtest/fuzz.py --in-process fraud --bodies 1000000

Good requests of each service are broken in structure, bytes and headers (mutations.py) and sent to every path that
takes a body, past the gateway, which would refuse some of it. `--in-process` asks one service's ASGI app without HTTP,
with a ledger that is thrown away, and is several times as fast. The exit code is 1 when

  crashed   an answer was 500, 502 or 503 (but for work that was shed), or a status that the OpenAPI document does
            not know, or no answer came
  shapeless a refusal was no RFC 9457 problem
  leaked    an answer repeated a text that had been put into the request
  grew      memory rose by more than --most-growth-mb from a tenth of the way to the end
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil

from scoregate import catalog
from scoregate.local.plan import ports, process_name
from scoregate.local.state import read_status
from scoregate.serving.door import Door
from scoregate.serving.events import event_code
from scoregate.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))

from goldens import requests_of
from mutations import FRESH, MARK, Mutator, Sent

GOOD = frozenset((200, 202, 400, 401, 403, 404, 409, 413, 415, 422, 429, 504))
SEEDS = 12
LOOKS = 20
Answer = tuple[int, str, bytes]


@dataclass(slots=True)
class Found:
    """What was seen; `rss_mb` from the beginning to the end, `failures` the first few."""

    bodies: int = 0
    seconds: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    crashed: int = 0
    shapeless: int = 0
    leaked: int = 0
    rss_mb: list[float] = field(default_factory=list)
    grew_mb: float = 0.0
    failures: list[str] = field(default_factory=list)

    def judge(self, sent: Sent, answer: Answer) -> None:
        status, media_type, body = answer
        self.bodies += 1
        self.statuses[str(status)] += 1
        if status not in GOOD and not _is_shed(status, body):
            self.crashed += 1
            self._keep("crashed", sent, status, body)
        elif status >= 400 and not _is_problem(status, media_type, body):
            self.shapeless += 1
            self._keep("shapeless", sent, status, body)
        if MARK.encode() in body:
            self.leaked += 1
            self._keep("leaked", sent, status, body)

    def _keep(self, what: str, sent: Sent, status: int, body: bytes) -> None:
        if len(self.failures) < 20:
            self.failures.append(f"{what} {status} {sent.path} {sent.headers} {sent.body[:300]!r} -> {body[:200]!r}")


def _is_shed(status: int, body: bytes) -> bool:
    """Whether it was refused because it could not be answered in its deadline, which may be a millisecond here."""
    return status == 503 and b'/overloaded"' in body


def _is_problem(status: int, media_type: str, body: bytes) -> bool:
    if media_type != "application/problem+json":
        return False
    said = json.loads(body)
    return said["status"] == status and {"type", "title", "detail", "instance"} <= said.keys()


class Target(Protocol):
    async def ask(self, sent: Sent) -> Answer: ...


class Connection:
    """One connection to a service process, opened again when the other side closes it."""

    def __init__(self, port: int, key: str) -> None:
        self._port, self._key = port, key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, sent: Sent) -> Answer:
        reader, writer = self._streams = self._streams or await asyncio.open_connection("127.0.0.1", self._port)
        headers = {"host": "x", "content-length": str(len(sent.body)), **_headers(self._key, sent)}
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        try:
            writer.write(f"POST {sent.path} HTTP/1.1\r\n{head}\r\n".encode() + sent.body)
            async with asyncio.timeout(30):
                said = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower().split("\r\n")
                fields = dict(line.split(": ", 1) for line in said[1:] if line)
                body = await reader.readexactly(int(fields.get("content-length", "0")))
        except (OSError, EOFError, TimeoutError) as problem:
            self._close()
            return 0, "", type(problem).__name__.encode()
        if fields.get("connection") == "close":
            self._close()
        return int(said[0].split()[1]), fields.get("content-type", ""), body

    def _close(self) -> None:
        if self._streams:
            self._streams[1].close()
        self._streams = None


class App:
    """The ASGI app of one service, asked without a server."""

    def __init__(self, door: Any, key: str) -> None:
        self._door, self._key = door, key

    async def ask(self, sent: Sent) -> Answer:
        messages: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": sent.body}

        async def send(message: Any) -> None:
            messages.append(message)

        headers = [(name.encode(), value.encode()) for name, value in _headers(self._key, sent).items()]
        scope = {"type": "http", "method": "POST", "path": sent.path, "query_string": b"", "headers": headers}
        await self._door({**scope, "client": ("127.0.0.1", 1)}, receive, send)
        # A server waits for the next request; without a turn of the loop, cancelled timers pile up.
        await asyncio.sleep(0)
        start = messages[0]
        return start["status"], dict(start["headers"])[b"content-type"].decode(), messages[1]["body"]


def _headers(key: str, sent: Sent) -> dict[str, str]:
    return {"authorization": f"Bearer {key}", "content-type": "application/json"} | sent.headers


def mutator(service: str, settings: Settings, seed: int) -> Mutator:
    """Break the requests that a service's model was accepted with, its example, and its events."""
    contract, events, prefix = catalog.part(service, "contract"), event_code(service), f"/v1/{service}"
    name = contract.Request.NATURAL_KEY
    requests = [each | {name: FRESH} for each in (contract.EXAMPLE, *requests_of(service, settings)[:SEEDS])]
    seeds: dict[str, Sequence[Any]] = {
        f"{prefix}/score": requests,
        f"{prefix}/score:batch": [{"rows": requests[:count]} for count in (1, 3, 5)],
    }
    if events is not None:
        seeds[f"{prefix}/events"] = [*events.EXAMPLES, {"events": list(events.EXAMPLES)}]
    return Mutator(seeds, seed)


async def fuzz(
    targets: Sequence[tuple[Target, Mutator]], bodies: int, rss_mb: Any, found: Found, *, say: bool = True
) -> Found:
    """Send `bodies` requests, shared by the targets."""
    started, left, step = time.perf_counter(), iter(range(bodies)), max(bodies // LOOKS, 1)

    async def worker(target: Target, made: Mutator) -> None:
        for number in left:
            sent = made.next()
            found.judge(sent, await target.ask(sent))
            if number % step == 0:
                found.rss_mb.append(round(rss_mb(), 1))
                if say:
                    print(f"{number:>9,} bodies, {found.rss_mb[-1]} MB", file=sys.stderr)

    await asyncio.gather(*(worker(*each) for each in targets))
    found.seconds = round(time.perf_counter() - started, 1)
    found.rss_mb.append(round(rss_mb(), 1))
    found.grew_mb = round(found.rss_mb[-1] - found.rss_mb[min(LOOKS // 10, len(found.rss_mb) - 1)], 1)
    return found


async def over_http(settings: Settings, bodies: int, connections: int, seed: int) -> Found:
    """Ask every service process of the running stack, past the gateway."""
    services, key = catalog.services(), (settings.home / "demo.key").read_text().strip()
    stable, found = ports(settings, services).stable, Found()
    targets = [
        (Connection(stable[name], key), mutator(name, settings, seed + number))
        for number in range(connections)
        for name in [services[number % len(services)]]
    ]
    processes = _processes(settings, services)
    found = await fuzz(targets, bodies, lambda: sum(each.memory_info().rss for each in processes) / 2**20, found)
    if not all(each.is_running() for each in processes):
        found.crashed += 1
        found.failures.append("crashed: a service process is another than at the beginning")
    return found


def _processes(settings: Settings, services: Sequence[str]) -> list[psutil.Process]:
    status, wanted = read_status(settings.home), {process_name(name, "stable") for name in services}
    marks = [each.mark for each in (status.running if status else ()) if each.name in wanted and each.mark]
    parents = [psutil.Process(mark.pid) for mark in marks]
    return [each for parent in parents for each in (parent, *parent.children(recursive=True))]


async def in_process(settings: Settings, service: str, bodies: int, connections: int, seed: int) -> Found:
    """Ask one service's app, with its real model and store and a ledger of its own."""
    parts = (catalog.part(service, "contract"), catalog.part(service, "features"), event_code(service))
    door = Door(service, *parts)  # type: ignore[arg-type]
    await door.start()
    await door._starting
    key = (settings.home / "demo.key").read_text().strip()
    targets = [(App(door, key), mutator(service, settings, seed + number)) for number in range(connections)]
    process = psutil.Process()
    try:
        return await fuzz(targets, bodies, lambda: process.memory_info().rss / 2**20, Found())
    finally:
        await door.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bodies", type=int, default=100_000)
    parser.add_argument("--connections", type=int, default=12)
    parser.add_argument("--in-process", metavar="SERVICE", help="ask this service's app without HTTP")
    parser.add_argument("--most-growth-mb", type=float, default=24.0, help="over all processes that are asked")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    settings, asked = Settings(), (arguments.bodies, arguments.connections, arguments.seed)
    if arguments.in_process:
        with tempfile.TemporaryDirectory() as folder:
            ledger = f"sqlite:///{folder}/ledger.db"
            os.environ.update(SCOREGATE_LEDGER_URL=ledger, SCOREGATE_LOG_REQUESTS="false", SCOREGATE_CHECKPOINT_S="0")
            found = asyncio.run(in_process(settings, arguments.in_process, *asked))
    else:
        found = asyncio.run(over_http(settings, *asked))
    grew = found.grew_mb > arguments.most_growth_mb
    bad = [name for name in ("crashed", "shapeless", "leaked") if getattr(found, name)] + ["grew"] * grew
    if arguments.json:
        print(json.dumps(asdict(found) | {"statuses": dict(found.statuses), "failed": bad}))
    else:
        print(*found.failures, sep="\n")
        print(f"{found.bodies:,} bodies in {found.seconds} s; {dict(sorted(found.statuses.items()))}")
        print(f"memory {found.rss_mb[0]} -> {found.rss_mb[-1]} MB, {found.grew_mb:+} MB after the first tenth")
        print(f"failed: {', '.join(bad) or 'nothing'}")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
