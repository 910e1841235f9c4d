"""Many requests about planted people; then logs, traces and metrics are searched for every one of them.

    OTELCOL=/path/to/otelcol python loadtest/leaks.py --home /tmp/leaks --requests 100000 --json

Starts a stack of its own, with every trace exported and every request logged. One request in ten is broken as callers
break them: no JSON, a field that nobody knows, a value that is refused, a person in path or query, a key that
is none. Searched are all log files and kept traces while they grow, what arrives by OTLP, and what services say under
`/metrics`. The exit code is 1 when a planted value was found anywhere, or when what was searched does not hold an entry
of each request.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
import urllib.request
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from customers import Customer, copy_rows, live_rows, originals
from goldens import requests_of
from openloop import OpenLoop
from ownstack import Own, own_stack
from redis import Redis

from scoregate import catalog
from scoregate.local.plan import ports
from scoregate.settings import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from conftest import free_ports
from otlp import endpoint

PEOPLE: Final = 500
AMOUNT: Final = 7_315_927
MARKS: Final = (b"zqxplant", b"+491519988", b"1907-07-07")
"""What every planted value holds, in small letters: ids, document, name, address, mail; telephone; birth."""
LOOK_S: Final = 2.0
OVERLAP: Final = 64
FACTS: Final = {
    "home": "rent",
    "job": "fixed",
    "income": 150,
    "expenses": 60,
    "assets": 1_000,
    "debt": 0,
    "records": False,
}
SHARES: Final = {"fraud": 0.6, "credit": 0.15, "kyc": 0.15}


def planted(service: str, request: dict[str, Any], n: int) -> dict[str, Any]:
    """Return the request as one about planted person `n`."""
    tag = f"{n % PEOPLE:04}"
    values = {
        "name": f"Zqxplanta Nummer{tag}",
        "birth_date": "1907-07-07",
        "document_number": f"ZQXPLANT{tag}",
        "address": f"Zqxplantweg {tag}, 10115 Berlin",
        "phone": f"+491519988{tag}",
        "email": f"zqxplant.{tag}@example.com",
    }
    personal = catalog.part(service, "contract").Request.PERSONAL
    said = {name: values.get(name, f"zqxplant_{name}_{tag}") for name in personal}
    facts = {"applicant_facts": FACTS} if service == "credit" else {}
    return request | said | facts | ({"amount_minor": AMOUNT} if "amount_minor" in request else {})


def known(own: Own) -> list[dict[str, Any]]:
    """Let the store know the planted people as fraud does, each a copy of a customer; return a request about each."""
    paid = originals(own.settings)
    who = [Customer(planted("fraud", paid[n % len(paid)], n), paid[n % len(paid)]) for n in range(PEOPLE)]
    copy_rows(Redis.from_url(own.settings.store_url), live_rows(own.settings, who))
    return [one.request for one in who]


@dataclass
class Search:
    """Everything that is written to files under a folder, searched once while it grows; files may be renamed."""

    folder: Path
    found: Counter[str] = field(default_factory=Counter)
    bytes: int = 0
    requests_logged: int = 0
    _read: dict[int, int] = field(default_factory=dict)
    _ends: dict[int, bytes] = field(default_factory=dict)

    def look(self) -> None:
        for path in (*self.folder.rglob("*.log"), *self.folder.rglob("*.jsonl*")):
            try:
                with path.open("rb") as file:
                    inode, size = os.fstat(file.fileno()).st_ino, os.fstat(file.fileno()).st_size
                    at = self._read.get(inode, 0)
                    file.seek(at if at <= size else 0)
                    new = file.read()
                    self._read[inode] = file.tell()
            except FileNotFoundError:
                continue
            self.search(path.name, self._ends.get(inode, b"") + new)
            self.requests_logged += new.count(b'"event":"request"')
            self.bytes += len(new)
            self._ends[inode] = new[-OVERLAP:] if new else self._ends.get(inode, b"")

    def search(self, where: str, what: bytes) -> None:
        lower = what.lower()
        for mark in MARKS:
            if count := lower.count(mark):
                self.found[f"{where}: {mark.decode()}"] += count


def good(own: Own, service: str, serial: Iterator[int], run: str) -> Callable[[], bytes]:
    key = catalog.part(service, "contract").Request.NATURAL_KEY
    some = requests_of(service, own.settings)
    asked = known(own) if service == "fraud" else [planted(service, some[n % len(some)], n) for n in range(PEOPLE)]
    turns = itertools.cycle(asked)

    def body() -> bytes:
        return json.dumps({**next(turns), key: f"leak-{run}-{next(serial)}"}).encode()

    return body


def broken(own: Own, serial: Iterator[int]) -> Callable[[], bytes]:
    """Bodies that are refused, each with a planted person in it."""
    request, ways = requests_of("fraud", own.settings)[0], itertools.cycle(range(5))

    def body() -> bytes:
        n = next(serial)
        said = {**planted("fraud", request, n), "transaction_id": f"leak-{n}"}
        way = next(ways)
        if way == 0:
            return json.dumps(said).encode()[:-9]
        if way == 1:
            return json.dumps({**said, f"zqxplant_field_{n}": "zqxplant"}).encode()
        if way == 2:
            return json.dumps({**said, "channel": f"zqxplant_{n}", "amount_minor": "zqxplant"}).encode()
        if way == 3:
            return json.dumps([said]).encode()
        return json.dumps({**said, "country": "zqxplant", "account_id": "zqxplant\n" * 20}).encode()

    return body


async def load(own: Own, requests: int, per_s: float, search: Search) -> dict[int, int]:
    """Send them all; return answers by status. What is written is searched meanwhile."""
    port, serial, run = own.settings.gateway_port, itertools.count(), uuid.uuid4().hex[:8]
    rest = (1 - sum(SHARES.values())) / 4
    loops = [
        (OpenLoop(port, f"/v1/{name}/score", own.key, good(own, name, serial, run)), share)
        for name, share in SHARES.items()
    ]
    refused = broken(own, serial)
    loops += [
        (OpenLoop(port, "/v1/fraud/score", own.key, refused), rest),
        (OpenLoop(port, "/v1/fraud/score", "sg_zqxplant_1234_zqxplantsecret", refused), rest),
        (OpenLoop(port, "/v1/fraud/score?account=zqxplant_1234", own.key, refused), rest),
        (OpenLoop(port, "/v1/fraud/decisions/zqxplant_1234", own.key, lambda: b"", method="GET"), rest),
    ]
    sending = asyncio.gather(*(one.send(per_s * share, requests / per_s) for one, share in loops))
    while not sending.done():
        await asyncio.wait([sending], timeout=LOOK_S)
        await asyncio.to_thread(search.look)
        print(f"{search.bytes / 1e6:.0f} MB searched, found {dict(search.found)}", file=sys.stderr, flush=True)
    return dict(sum((Counter(one.run.statuses()) for one, _ in loops), Counter()))


def metrics(own: Own, search: Search) -> int:
    """Search what every part says under /metrics; return how much that was."""
    at, said = ports(own.settings, catalog.services()), 0
    for name, port in at.stable.items():
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10).read()
        search.search(f"metrics of {name}", text)
        said += len(text)
    return said


def spans(folder: Path, seen: Any, search: Search) -> int:
    """Search what arrived by OTLP; return how many spans that was. An amount is one where a whole value is it."""
    if (file := folder / "spans.json").exists():
        search.search("spans", file.read_bytes())
    count = 0
    for span in seen():
        count += 1
        values = [str(value) for value in span.attributes.values()]
        search.search("spans", json.dumps([span.name, *values]).encode())
        if str(AMOUNT) in values:
            search.found["spans: an amount"] += 1
    return count


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="state folder of a stack of its own")
    parser.add_argument("--requests", type=int, default=100_000, help="(%(default)s)")
    parser.add_argument("--rate", type=float, default=250.0, help="requests a second (%(default)s)")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    with TemporaryDirectory(prefix="scoregate-leaks-") as name, endpoint(Path(name), free_ports(1)[0]) as received:
        more = {"OTLP_ENDPOINT": received.endpoint, "TRACE_RATIO": "1", "AUTH_FAILURES_PER_MIN": "1000000"}
        with own_stack(asked.home, **more) as own:
            search = Search(own.settings.home / "run")
            search.look()
            search.requests_logged = 0
            statuses = asyncio.run(load(own, asked.requests, asked.rate, search))
            measured = metrics(own, search)
        search.look()
        exported = spans(Path(name), received.seen, search)
    said = {
        "requests": sum(statuses.values()),
        "statuses": statuses,
        "requests_logged": search.requests_logged,
        "log_and_trace_bytes": search.bytes,
        "spans": exported,
        "metrics_bytes": measured,
        "found": dict(search.found),
        "load": os.getloadavg()[0],
    }
    print(json.dumps(said, indent=2) if asked.json else "\n".join(f"{what}: {value}" for what, value in said.items()))
    is_whole = search.requests_logged >= 0.99 * said["requests"] and exported > said["requests"]
    return 0 if is_whole and not search.found else 1


if __name__ == "__main__":
    sys.exit(main())
