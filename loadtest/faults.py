"""Faults under load: what callers get while a part is broken, and how soon all is well again.

    python loadtest/faults.py --home /tmp/faults --json

Starts a stack of its own in --home, with fault switches. For each fault: calm, the harm, and then load until for a
second every answer is the model's, with nothing stale or missing, again. All through the gateway, at --rate.
The exit code is 1 when

  late    more than 1 in 1,000 answers came later than the deadline and 10 ms, and more often than on an empty route of
          the same gateway, asked in the same run: what that shows is the machine
  mild    a decision with low confidence, or by rules alone, had the mildest outcome
  stuck   all was not well again within --patience
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from openloop import OpenLoop, Sample, quantile
from ownstack import Own, own_stack

from scoregate.models.artefact import champion
from scoregate.settings import ROOT

SERVICE = "fraud"
CALM_S, TROUBLE_S, WELL_S = 3.0, 5.0, 1.0
SLACK_S = 0.010
LEDGER_BYTES = 256 << 20
HOGS = 8

Harm = Callable[[Own], Awaitable[None]]
"""Does harm, and returns when its cause is gone."""


@dataclass(slots=True)
class Row:
    """One fault. Times in ms; `empty_*` are those of the empty route; recovery in seconds from the end of the cause."""

    fault: str
    requests: int = 0
    statuses: dict[int, int] = field(default_factory=dict)
    said: dict[str, int] = field(default_factory=dict)
    p50: float = 0.0
    p99: float = 0.0
    worst: float = 0.0
    late: int = 0
    mild: int = 0
    empty_requests: int = 0
    empty_p99: float = 0.0
    empty_late: int = 0
    recovery_s: float | None = None
    generator_cpu: float = 0.0

    @property
    def holds(self) -> bool:
        in_time = self.late <= max(
            self.requests // 1_000, self.empty_late * self.requests // max(self.empty_requests, 1)
        )
        return in_time and not self.mild and self.recovery_s is not None


# Harms


async def _kill(own: Own, name: str, which: int = 0) -> None:
    os.kill(own.pids(name)[which], signal.SIGKILL)
    await asyncio.sleep(0)


async def store_killed(own: Own) -> None:
    await _kill(own, "valkey")


async def store_paused(own: Own) -> None:
    pid = own.pids("valkey")[0]
    os.kill(pid, signal.SIGSTOP)
    try:
        await asyncio.sleep(TROUBLE_S)
    finally:
        os.kill(pid, signal.SIGCONT)


async def store_emptied(own: Own) -> None:
    shutil.rmtree(own.settings.home / "valkey" / "appendonlydir")
    await _kill(own, "valkey")


async def registry_gone(own: Own) -> None:
    """A process that starts without it serves by the plan in its artefact, and says that it is degraded."""
    path = own.settings.registry_path
    aside = path.with_suffix(".aside")
    path.rename(aside)
    try:
        await asyncio.to_thread(own.scoregate, "restart", SERVICE)
    finally:
        aside.rename(path)


async def model_corrupted(own: Own) -> None:
    """A process that would serve it never becomes ready, and the one that serves goes on."""
    path = champion(own.settings.models(SERVICE)) / "model.ubj"
    whole = path.read_bytes()
    path.write_bytes(whole[:1_000] + bytes([whole[1_000] ^ 1]) + whole[1_001:])
    try:
        refused = await asyncio.to_thread(own.scoregate, "restart", SERVICE, check=False)
    finally:
        path.write_bytes(whole)
    if refused.returncode == 0:
        raise AssertionError("a corrupted model was brought into service")


async def ledger_full(own: Own) -> None:
    ballast = own.settings.home / "ledger" / "ballast"
    try:
        await asyncio.to_thread(_fill, ballast)
        await asyncio.sleep(TROUBLE_S)
    finally:
        ballast.unlink()


def _fill(path: Path) -> None:
    """Write until not a sector is left."""
    for piece in (b"0" * 65_536, b"0" * 512):
        with contextlib.suppress(OSError), path.open("ab", buffering=0) as file:
            while True:
                file.write(piece)


async def service_killed(own: Own) -> None:
    await _kill(own, f"{SERVICE}-stable", -1)


async def processor_starved(own: Own) -> None:
    hogs = [await asyncio.create_subprocess_exec(sys.executable, "-c", "while True: pass") for _ in range(HOGS)]
    try:
        await asyncio.sleep(TROUBLE_S)
    finally:
        for hog in hogs:
            hog.kill()
            await hog.wait()


def _switch(fault: str) -> Harm:
    async def harm(own: Own) -> None:
        await asyncio.to_thread(own.scoregate, "chaos", SERVICE, fault, "--seconds", str(TROUBLE_S))
        await asyncio.sleep(TROUBLE_S)

    return harm


HARMS: dict[str, Harm] = {
    "store killed": store_killed,
    "store paused 5 s": store_paused,
    "store restarted empty": store_emptied,
    "store slow": _switch("store=slow"),
    "registry unreachable": registry_gone,
    "model file corrupted": model_corrupted,
    "model absent": _switch("model=absent"),
    "ledger disk full": ledger_full,
    "service process killed": service_killed,
    "processor starved": processor_starved,
    "clock an hour ahead": _switch("clock=ahead"),
    "clock an hour behind": _switch("clock=behind"),
}


# One fault


async def under(own: Own, fault: str, per_s: float, deadline_ms: int, patience_s: float) -> Row:
    """Do harm once, under load, and see what it did."""
    row = Row(fault)
    async with _load(own, row, per_s, deadline_ms) as load:
        await asyncio.sleep(CALM_S)
        await HARMS[fault](own)
        row.recovery_s = await _recovery_s(load, patience_s)
    return row


@contextlib.asynccontextmanager
async def _load(own: Own, row: Row, per_s: float, deadline_ms: int) -> AsyncIterator[OpenLoop]:
    port, key = own.settings.gateway_port, own.key
    load = OpenLoop(port, f"/v1/{SERVICE}/score", key, own.bodies(SERVICE), deadline_ms=deadline_ms)
    empty = OpenLoop(port, "/empty", key, lambda: b"", method="GET")
    sending = [asyncio.create_task(load.send(per_s, 3_600)), asyncio.create_task(empty.send(per_s, 3_600))]
    cpu_s, began_s = time.process_time(), time.monotonic()
    try:
        yield load
    finally:
        row.generator_cpu = round((time.process_time() - cpu_s) / (time.monotonic() - began_s), 3)
        for task in sending:
            task.cancel()
        await asyncio.gather(load.settled(), empty.settled())
        _count(row, load.run.samples, empty.run.samples, deadline_ms / 1000 + SLACK_S)


async def _recovery_s(load: OpenLoop, patience_s: float) -> float | None:
    """Return after how long the first second began in which everything was well."""
    began_s = time.monotonic()
    while time.monotonic() - began_s < patience_s:
        await asyncio.sleep(0.05)
        bad = max((s.due_s for s in load.run.samples if not _is_well(s)), default=0.0)
        newest = max(s.due_s for s in load.run.samples)
        if newest - max(bad, began_s) > WELL_S:
            return round(max(bad - began_s, 0.0), 2)
    return None


def _is_well(sample: Sample) -> bool:
    return sample.status == 200 and sample.said.startswith(("model/full/", "model/unusual/"))


def _count(row: Row, samples: list[Sample], empty: list[Sample], limit_s: float) -> None:
    mildest = _mildest()
    times, empty_times = sorted(s.seconds for s in samples), sorted(s.seconds for s in empty)
    row.requests, row.empty_requests = len(samples), len(empty)
    for sample in samples:
        row.statuses[sample.status] = row.statuses.get(sample.status, 0) + 1
        row.said[sample.said] = row.said.get(sample.said, 0) + 1
        row.mild += sample.said.endswith(f"/{mildest}") and not sample.said.startswith("model/full/")
    row.p50, row.p99, row.worst, row.empty_p99 = (
        round(seconds * 1000, 1)
        for seconds in (quantile(times, 0.5), quantile(times, 0.99), times[-1], quantile(empty_times, 0.99))
    )
    row.late = sum(seconds > limit_s for seconds in times)
    row.empty_late = sum(seconds > limit_s for seconds in empty_times)


def _mildest() -> str:
    return str(tomllib.loads((ROOT / "services" / SERVICE / "policy.toml").read_text())["outcomes"][0])


@contextlib.contextmanager
def _small_disk(path: Path) -> Iterator[None]:
    """Put the ledgers on a disk that can be filled (a tmpfs, which takes root)."""
    path.mkdir(parents=True, exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={LEDGER_BYTES}", "scoregate", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, required=True, help="state folder of a stack of its own")
    parser.add_argument("--rate", type=float, default=50.0, help="requests a second (%(default)s)")
    parser.add_argument("--deadline-ms", type=int, default=1_000, help="(%(default)s)")
    parser.add_argument("--patience", type=float, default=120.0, help="seconds until all must be well (%(default)s)")
    parser.add_argument("--fault", choices=HARMS, action="append", help="only this; may be said again (all)")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    rows = []
    with contextlib.ExitStack() as stack:
        faults = asked.fault or list(HARMS)
        if "ledger disk full" in faults:
            stack.enter_context(_small_disk(asked.home / "ledger"))
        own = stack.enter_context(own_stack(asked.home, CHAOS="true"))
        for fault in faults:
            rows.append(asyncio.run(under(own, fault, asked.rate, asked.deadline_ms, asked.patience)))
            print(json.dumps(asdict(rows[-1])), file=sys.stderr, flush=True)
    if asked.json:
        print(json.dumps({"load": os.getloadavg()[0], "faults": [asdict(row) for row in rows]}, indent=2))
    else:
        for row in rows:
            print(", ".join(f"{name} {value}" for name, value in asdict(row).items()))
    return 0 if all(row.holds for row in rows) else 1


if __name__ == "__main__":
    sys.exit(main())
