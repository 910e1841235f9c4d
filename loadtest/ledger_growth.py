"""What a ledger costs as it grows: inserting, looking up, verifying and forgetting at sizes that it is filled to.

    python loadtest/ledger_growth.py --folder /tmp/growth --store sqlite --size 10000 --size 100000 --json
    python loadtest/ledger_growth.py --folder /tmp/growth --store sqlite --size 1000000 --verify --json

A ledger is filled through its port, as a service does it, up to each size in turn; at a size it is measured, one call
at a time and 64 at once, in the order in which the columns are printed. What is in --folder already is gone on with, so
that a large one can be filled in several goes (`--fill` only fills). `at_10m` is where the straight line through the
last two sizes, against the logarithm of the size, comes to at ten million entries. The exit code is 1 when a chain does
not verify, before or after somebody is forgotten.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import os
import random
import sys
import time
import uuid
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from scoregate.errors import LedgerUnavailable
from scoregate.events import Effect, Event
from scoregate.ledger import Entry, Ledger
from scoregate.ledger.archive import Wanted, open_archive
from scoregate.ledger.audit import audit
from scoregate.ledger.forgetting import Person, forget_person
from scoregate.ledger.opening import open_ledger
from scoregate.settings import ROOT

sys.path.insert(0, str(ROOT / "tests"))

from postgres import Server, programs

SERVICE = "fraud"
AT_ONCE = 64
CALLS = 1_000
ACCOUNTS = 100_000
MEDIANS = ("insert_ms", "insert_ms_of_64", "key_ms", "get_ms")
ANSWER = json.dumps({"outcome": "review", "reasons": [{"code": f"reason_{i}", "text": "why " * 15} for i in range(4)]})


class Payments:
    """Entries as the door makes them: random ids, 22 features, an answer of 400 bytes, two persons, an event."""

    def __init__(self, seed: int) -> None:
        self._rng = random.Random(seed)  # noqa: S311 - load, not a secret

    def new(self) -> tuple[Entry, Event]:
        id_, now = str(uuid.UUID(int=self._rng.getrandbits(128))), time.time()
        account, device = (f"k1:{self._rng.randrange(ACCOUNTS):032x}" for _ in range(2))
        entry = Entry(
            decision_id=f"{int(now * 1e6):x}-{id_[:18]}",
            service=SERVICE,
            natural_key=f"txn-{id_}",
            idempotency_key=f"idem-{id_}",
            request_digest=f"{self._rng.getrandbits(128):032x}",
            outcome="review",
            score=self._rng.random(),
            source="model",
            rung="full",
            vector=self._rng.randbytes(22 * 8),
            ages='{"account_tiles":["fresh",0.25,null,[]],"device_tiles":["fresh",0.5,null,[]]}',
            personal={"account_id": account, "device_id": device},
            answer=ANSWER.encode(),
            model_digest="m" * 64,
            policy_digest="p" * 64,
            feature_digest="f" * 64,
            arm="stable",
            trace_id=id_,
            event_at=now,
            decided_at=now,
        )
        at_us = int(now * 1e6)
        row = {"account_key": account[3:], "amount_minor": 1999}
        return entry, Event(SERVICE, "transactions", Effect.COUNT, f"count:txn-{id_}", f"txn-{id_}", at_us, at_us, row)


async def fill(ledger: Ledger, payments: Payments, count: int) -> list[Entry]:
    """Append so many; return the last of them."""
    last: list[Entry] = []
    for start in range(0, count, AT_ONCE * 4):
        some = [payments.new() for _ in range(min(AT_ONCE * 4, count - start))]
        await asyncio.gather(*(_kept(ledger, one) for one in some))
        last = [*last, *(entry for entry, _ in some)][-CALLS:]
    return last


async def _kept(ledger: Ledger, one: tuple[Entry, Event]) -> None:
    """Append until it is: while a machine is busy a group may take longer than it may."""
    while True:
        with suppress(LedgerUnavailable):
            await ledger.append(*one)
            return


async def measured(ledger: Ledger, payments: Payments, known: Sequence[Entry]) -> dict[str, float]:
    """Time inserts, look-ups by a key that is taken, and reads of a decision; milliseconds."""
    new = [payments.new() for _ in range(CALLS)]
    found = {f"insert_{name}": value for name, value in (await _each(lambda one: _kept(ledger, one), new)).items()}
    began_s = time.perf_counter()
    many = [payments.new() for _ in range(AT_ONCE * 32)]
    for start in range(0, len(many), AT_ONCE):
        await asyncio.gather(*(_kept(ledger, one) for one in many[start : start + AT_ONCE]))
    found["insert_ms_of_64"] = round((time.perf_counter() - began_s) * 1e3 / len(many), 4)
    found |= {f"key_{name}": value for name, value in (await _each(ledger.append, known)).items()}
    found |= {f"get_{name}": value for name, value in (await _each(lambda e: ledger.get(e.decision_id), known)).items()}
    return found


async def _each(call: Callable[[Any], Awaitable[Any]], some: Sequence[Any]) -> dict[str, float]:
    took = []
    for one in some:
        began_s = time.perf_counter()
        await call(one)
        took.append((time.perf_counter() - began_s) * 1e3)
    return {"ms": round(float(np.median(took)), 4), "p99_ms": round(float(np.quantile(took, 0.99)), 3)}


def grown(url: str, asked: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """Fill up to each size, and yield what was measured there."""

    async def at(size: int) -> dict[str, Any]:
        ledger = await open_ledger(url, SERVICE)
        try:
            missing = max(0, size - await ledger.count())
            payments, began_s = Payments(size), time.perf_counter()
            known = await fill(ledger, payments, missing)
            took_s = time.perf_counter() - began_s
            done = {"size": size, "filled": missing, "filled_per_s": round(missing / took_s)}
            if asked.fill:
                return done
            # Of all ages, not the last ones, which are at hand.
            known = await asyncio.to_thread(_of_all_ages, url, known)
            return {**done, **await measured(ledger, payments, known)}
        finally:
            await ledger.close()

    for size in asked.size:
        yield asyncio.run(at(size))


def _of_all_ages(url: str, last: Sequence[Entry]) -> list[Entry]:
    with closing(open_archive(url)) as archive:  # type: ignore[type-var]
        first, until = archive.search(SERVICE, Wanted(), limit=1)[0].entry.decided_at, time.time()
        found: list[Entry] = []
        for i in range(40):
            since_s = first + (until - first) * i / 40
            found += [one.entry for one in archive.search(SERVICE, Wanted(since_s=since_s), limit=CALLS // 40)]
    return found or [*last]


def verified(url: str) -> dict[str, Any]:
    """Verify all of it on every core, forget somebody, and verify again."""
    began_s = time.perf_counter()
    before = audit(url, SERVICE)
    found: dict[str, Any] = {"entries": before.walked, "verify_s": round(time.perf_counter() - began_s, 1)}
    with closing(open_archive(url)) as archive:  # type: ignore[type-var]
        one = archive.search(SERVICE, Wanted(whole=True), limit=1)[0].entry
        began_s = time.perf_counter()
        forgotten = forget_person(archive, SERVICE, Person([one.personal["account_id"]], []))
    found |= {"forgotten": forgotten.entries, "forget_s": round(time.perf_counter() - began_s, 1)}
    after = audit(url, SERVICE, since_s=one.decided_at)
    return {**found, "holds": before.holds and after.holds, "cores": os.cpu_count()}


def at_10m(sizes: Sequence[dict[str, Any]]) -> dict[str, float]:
    """Draw a line through the last two sizes; one alone has none."""
    if len(sizes) < 2:
        return {}
    (a, b), names = sizes[-2:], [name for name in sizes[-1] if name in MEDIANS]
    steps = math.log(10_000_000 / b["size"]) / math.log(b["size"] / a["size"])
    return {name: round(b[name] + (b[name] - a[name]) * steps, 3) for name in names}


@contextmanager
def opened(store: str, folder: Path) -> Iterator[str]:
    folder.mkdir(parents=True, exist_ok=True)
    if store == "sqlite":
        yield f"sqlite:///{folder / 'ledger.db'}"
        return
    bin_ = programs()
    if bin_ is None:
        raise FileNotFoundError("PostgreSQL's programs are not in /usr/lib/postgresql/*/bin")
    folder.chmod(0o755)
    data = folder / "postgres"
    data.mkdir(exist_ok=True)
    server = Server(bin_, data)
    server.start()
    try:
        yield server.url
    finally:
        server.stop()


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the ledger is, and stays")
    parser.add_argument("--store", choices=("sqlite", "postgres"), default="sqlite")
    parser.add_argument(
        "--size", type=int, action="append", default=[], help="entries to fill it to; may be said again"
    )
    parser.add_argument("--fill", action="store_true", help="measure nothing")
    parser.add_argument("--verify", action="store_true", help="verify, forget, and verify again")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    kept = asked.folder / asked.store / "sizes.json"
    with opened(asked.store, asked.folder / asked.store) as url:
        sizes = [*(json.loads(kept.read_text()) if kept.exists() else []), *([] if asked.fill else grown(url, asked))]
        for _ in grown(url, asked) if asked.fill else ():
            pass
        kept.write_text(json.dumps(sizes))
        found: dict[str, Any] = {"store": asked.store, "load": os.getloadavg()[0], "sizes": sizes}
        if len(sizes) > 1:
            found["at_10m"] = at_10m(sizes)
        if asked.verify:
            found["verified"] = verified(url)
    print(json.dumps(found, indent=2 if asked.json else None))
    return 0 if found.get("verified", {"holds": True})["holds"] else 1


if __name__ == "__main__":
    sys.exit(main())
