"""Every comparison in one run: scoregate beside a tutorial-style service, BentoML's empty endpoint, and itself.

    make bench                 # starts its own stack, and needs wrk; about fifteen minutes
    make bench SHORT=1         # one round of a second each, without MLServer, into report/bench.md; about two

What is measured has one core to itself, generator, store and gateway share the other, with those whose turn it is not.
At a steady rate what else the machine does has to wait for them, where that is permitted, see `quiet.py`. Contenders
take turns, in the opposite order every other round, and what is quoted is the median over rounds with the lowest and
highest.
Everything is on: keys, features, a durable ledger, events, metrics, a log line a request, and one trace in a hundred.
Each request has a new id and is about one of 100,000 customers, drawn by Zipf's law. Nothing is measured before our
scores and the tutorial's of the same payments agree within 1e-6.

The exit code is 1 when an answer was a fallback or an error, when scores differ, or when what must hold does not. Of a
short run the speeds are shown and fail nothing, nor does a refusal for want of time at a steady rate: it may run on a
machine that does other work.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests"))

import k6
import wrk
from arena import EMPTY, GATE, OURS, TUTORIAL, TUTORIAL_ASYNC, answers, arena
from contenders import OTHERS, SERVICES, Contender, apart, cpu_s, family, pin, resident_mb
from images import images
from ownstack import Own
from quiet import foremost, ordinary
from replicas import Replica
from results import write
from stages import budget, sampled, sampling
from steady import steadily

from conftest import free_ports
from scoregate import catalog
from scoregate.settings import ROOT

RESULTS, REPORT = Path(__file__).with_name("RESULTS.md"), Path(__file__).with_name("report") / "bench.md"


SAME, TRIES = 0.1, 5
"""By what share the speed before and after a stretch may differ, and how often one is tried; then the last counts."""
LONGEST_REST_S, RESTING_SHARE = 20, 0.2
"""How long contenders may take to come to rest, and what share of a core all of them take then."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """One contender under load for a few seconds."""

    per_s: float
    failed: int
    cpu_us: float
    p50_ms: float
    p99_ms: float
    p999_ms: float = 0.0


def flooded(contender: Contender, connections: int, seconds: float) -> Stretch:
    before_s = cpu_s(contender.pids())
    found = wrk.flood(
        contender.url, contender.bodies, contender.headers, connections=connections, seconds=seconds, core=OTHERS
    )
    return _stretch(found, cpu_s(contender.pids()) - before_s)


def _stretch(found: wrk.Flood, took_s: float) -> Stretch:
    answered = max(found.requests - found.failed, 1)
    return Stretch(
        answered / found.seconds, found.failed, took_s / answered * 1e6, found.p50_ms, found.p99_ms, found.p999_ms
    )


def _let_rest(contenders: Iterable[Contender]) -> None:
    """Wait until nobody works off what came before: who could not keep up has a queue left, and all share a core."""
    pids = sorted({pid for contender in contenders for pid in contender.pids()})
    for _ in range(LONGEST_REST_S):
        before_s = cpu_s(pids)
        time.sleep(1)
        if cpu_s(pids) - before_s < RESTING_SHARE:
            return
    print("The contenders did not come to rest before the next stretch.", file=sys.stderr)


def _alone(one: Contender, found: Iterable[Contender]) -> None:
    """Give the core for what is measured to one of them; the others rest on the other core, and in nobody's way."""
    taking, pids = one.pids(), {pid for contender in found for pid in contender.pids()}
    ordinary(pids)
    pin([*pids.difference(taking)], OTHERS)
    pin(taking, SERVICES)


def throughput(found: dict[str, Contender], asked: argparse.Namespace) -> dict[str, list[dict[str, Any]]]:
    """Return the stretches of each contender by `<name> <connections>`, one for each round."""
    said: dict[str, list[dict[str, Any]]] = {}
    for contender in found.values():
        # A process begins with few places; as many callers as come later, and it finds out how many it has.
        _alone(contender, found.values())
        flooded(contender, max(asked.connections), 2)
    for turn in range(asked.rounds):
        names = list(found)[:: -1 if turn % 2 else 1]
        for connections, name in itertools.product(asked.connections, names):
            _alone(found[name], found.values())
            stretch = flooded(found[name], connections, asked.seconds)
            one = {field: getattr(stretch, field) for field in Stretch.__slots__}
            said.setdefault(f"{name} {connections}", []).append(one)
            print(f"{name} {connections}: {one}", file=sys.stderr, flush=True)
    return said


def latency(
    found: dict[str, Contender], best: Callable[[str], float], asked: argparse.Namespace
) -> dict[str, list[dict[str, float]]]:
    """At half of what the tutorial's can do, both; at half of what ours can, both, and ours by the gateway.

    What ours can do is found out anew for each round, see `_at_half`. The empty endpoint at half of its own stands
    beside. Where the tutorial's cannot keep up, its times grow for as long as the stretch lasts, to little more than
    the generator waits.
    """
    tutorial = max((TUTORIAL, TUTORIAL_ASYNC), key=best)
    slow = best(tutorial) / 2, "half of the tutorial's rate"
    said: dict[str, list[dict[str, float]]] = {}

    def note(name: str, where: str, one: dict[str, float]) -> None:
        said.setdefault(f"{name}, {where}", []).append(one)
        print(f"{name}, {where}: {one}", file=sys.stderr, flush=True)

    for _ in range(asked.rounds):
        one = _at_half(found, asked)
        fast = one["per_s"], "half of our rate"
        note(OURS, fast[1], one)
        plan = [(GATE, *fast), (tutorial, *fast), (OURS, *slow), (tutorial, *slow)]
        for name, per_s, where in [*plan, (EMPTY, best(EMPTY) / 2, "half of its rate")]:
            note(name, where, _steadily(found, name, per_s, asked))
    return said


def _at_half(found: dict[str, Contender], asked: argparse.Namespace) -> dict[str, float]:
    """Ours at half of what it can do.

    The machine's speed changes within minutes: half of what could be done before may be all that can be done now. So
    a stretch counts where ours could do as much after it as before it, and else another is tried.
    """
    for tried in range(1, 2 if asked.short else TRIES + 1):
        before = _best_now(found, asked)
        one = _steadily(found, OURS, before / 2, asked)
        after = _best_now(found, asked)
        if abs(after - before) <= SAME * before:
            break
        print(f"{OURS} could do {before:.0f}/s before and {after:.0f}/s after try {tried}: {one}", file=sys.stderr)
    return one


def _best_now(found: dict[str, Contender], asked: argparse.Namespace) -> float:
    _let_rest(found.values())
    _alone(found[OURS], found.values())
    return flooded(found[OURS], 16, asked.seconds).per_s


def _steadily(found: dict[str, Contender], name: str, per_s: float, asked: argparse.Namespace) -> dict[str, float]:
    _let_rest(found.values())
    _alone(found[name], found.values())
    # Not in a flood: who takes all of a core must not come before the kernel's own work for the network.
    foremost(found[name].pids())
    return steadily(found[name], per_s, 2 * asked.seconds)


def started(own: Own, folder: Path) -> dict[str, dict[str, float]]:
    """Seconds from nothing to ready, and memory then, of each service."""
    said = {}
    for name, port in zip(catalog.services(), free_ports(len(catalog.services())), strict=True):
        replica = Replica(own.settings, name, folder / f"cold-{name}", port)
        began_s = time.monotonic()
        with replica.running():
            said[name] = {
                "ready_s": time.monotonic() - began_s,
                "resident_mb": resident_mb(family(replica.pid)),
            }
    return said


def paired(own: Own, ours: Contender, folder: Path, asked: argparse.Namespace) -> dict[str, float]:
    """Processor time of a request by one process, and by two that share ledger and store, both under load."""
    [port] = free_ports(1)
    second = Replica(own.settings, OURS, folder / "second", port, ledger_url=own.settings.ledger(OURS))
    with second.running():
        other = _warmed(ours, second, OTHERS)
        found = []
        for _ in range(asked.rounds):
            one = flooded(ours, 16, asked.seconds).cpu_us
            found.append((one, _both(ours, other, asked.seconds)))
    one_us, two_us = (median(each) for each in zip(*found, strict=True))
    return {"one_us": one_us, "two_us": two_us, "ratio": median(two / one for one, two in found)}


def budgeted(
    own: Own, ours: Contender, folder: Path, code: Path, seconds: float, connections: Sequence[int] = (16,)
) -> list[dict[str, float]]:
    """Microseconds of processor time that a request spends in each stage, under load by so many connections each; in a
    process of its own."""
    [port], samples = free_ports(1), folder / "samples"
    replica = Replica(own.settings, OURS, folder, port, log_requests=True)
    replica.spec = sampled(replica.spec, samples, code)
    found = []
    with replica.running():
        one = _warmed(ours, replica, SERVICES)
        for each in connections:
            cpu_us = flooded(one, each, seconds).cpu_us
            with sampling(one.pids()[-1], samples):
                flooded(one, each, seconds)
            with samples.open() as lines:
                found.append(budget(lines, cpu_us))
            samples.unlink()
    return found


def _warmed(ours: Contender, replica: Replica, core: int) -> Contender:
    """Return a process of the script's own as one that takes part, on its core and warm."""
    one = replace(ours, url=f"{replica.url}{ours.path}", pids=lambda: family(replica.pid))
    pin(one.pids(), core)
    ordinary(one.pids())
    flooded(one, 16, 2)
    return one


def _both(one: Contender, other: Contender, seconds: float) -> float:
    async def both() -> list[Stretch]:
        return await asyncio.gather(*(asyncio.to_thread(flooded, each, 16, seconds) for each in (one, other)))

    stretches = asyncio.run(both())
    answered = sum(each.per_s for each in stretches)
    return sum(each.cpu_us * each.per_s for each in stretches) / answered


def generators(ours: Contender, asked: argparse.Namespace) -> dict[str, list[dict[str, float]]]:
    """What two generators find of ours in turn; `core`: what each took of the core that generators have."""
    floods = {"wrk": wrk.flood, "k6": k6.flood}
    said: dict[str, list[dict[str, float]]] = {name: [] for name in floods}
    for turn in range(asked.rounds):
        for name in list(floods)[:: -1 if turn % 2 else 1]:
            began = os.times()
            sent = floods[name](ours.url, ours.bodies, ours.headers, connections=16, seconds=asked.seconds, core=OTHERS)
            took = [after - before for before, after in zip(began, os.times(), strict=True)]
            stretch = _stretch(sent, 0.0)
            one = {field: getattr(stretch, field) for field in ("per_s", "failed", "p50_ms", "p99_ms")}
            said[name].append(one | {"core": sum(took[2:4]) / took[4]})
            print(f"by {name}: {said[name][-1]}", file=sys.stderr, flush=True)
    return said


def _checkout(said: str) -> Path:
    folder = Path(said).resolve()
    if not (folder / "services" / OURS).is_dir():
        raise argparse.ArgumentTypeError(f"{folder} is no checkout of this project")
    return folder


def measured(folder: Path, asked: argparse.Namespace) -> dict[str, Any]:
    """Start all, measure all, stop all."""
    with arena(asked.home, folder, mlserver=not asked.short) as (own, found):
        said: dict[str, Any] = {"short": asked.short, "load": os.getloadavg()[0]}
        # Nobody who asks may keep the store from answering.
        said["first"] = foremost([os.getpid()]) and foremost((*own.pids("valkey"), *own.pids("gateway")), 2)
        said["throughput"] = throughput(found, asked)

        def best(name: str) -> float:
            return median(one["per_s"] for one in said["throughput"][f"{name} 16"])

        said["latency"] = latency(found, best, asked)
        _alone(found[OURS], found.values())
        said["generators"] = generators(found[OURS], asked)
        said["started"] = started(own, folder)
        said["two processes"] = paired(own, found[OURS], folder, asked)
        budgets = budgeted(own, found[OURS], folder / "now", ROOT, 5 * asked.seconds, (16, 1))
        said["budget"], said["alone"] = budgets
        if asked.before:
            [said["before"]] = budgeted(own, found[OURS], folder / "before", asked.before, 5 * asked.seconds)
        said["images"] = {kind: asdict(image) for kind, image in images().items()}
        said["memory"] = {one: resident_mb(found[one].pids()) for one in (*catalog.services(), TUTORIAL, EMPTY)}
        said["answers"] = answers(found)
    return said


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--home", type=Path, default=ROOT / ".scoregate-bench", help="of the stack; made where absent")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=4, help="of one stretch")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64])
    parser.add_argument("--short", action="store_true", help="one round of a second each, which no speed fails")
    parser.add_argument("--before", type=_checkout, help="another checkout of this project: its stages stand beside")
    parser.add_argument("--out", type=Path, help="where the tables go: RESULTS.md, or of a short run report/bench.md")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    if asked.short:
        asked.rounds, asked.seconds, asked.connections = 1, 1, [16]
    out = asked.out or (REPORT if asked.short else RESULTS)
    try:
        _ = wrk.program(), apart("k6"), asked.short or apart("mlserver")
    except LookupError as missing:
        print(missing, file=sys.stderr)
        return 2
    with TemporaryDirectory(prefix="scoregate-bench-") as name:
        said = measured(Path(name), asked)
    if asked.json:
        print(json.dumps(said, indent=2))
    ended = write(said, out)
    if asked.short:
        print(out.read_text())
    return ended


if __name__ == "__main__":
    sys.exit(main())
