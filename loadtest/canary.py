"""Canaries through the real gateway of a running stack, under load: shares, rollbacks, failures, a wrong model.

    make up && python loadtest/canary.py --json              start, 10,000 requests, step, rollbacks, a kill, promote
    python loadtest/canary.py --swap a_feature another       a model with two features swapped, against --auto

Makes its own challengers out of fraud's champion, and promotes one of them: run it on a stack of its own. Load is what
the generator of demo payments makes for today, in its order, each under a new id.
Exit code 1 when a request failed, a share is off by more than a point, an answer of the canary came a second or more
after a rollback was asked for, or the wrong model was not rolled back.
"""

from __future__ import annotations

import argparse
import asyncio
import datetime as dt
import itertools
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import xgboost

from fraud.simulate import day
from scoregate.local.state import read_status
from scoregate.models import Signature
from scoregate.models.artefact import MANIFEST, champion
from scoregate.models.forest import Forest
from scoregate.models.ranges import Ranges
from scoregate.policy import Policy
from scoregate.scoring.goldens import row_of
from scoregate.settings import Settings
from scoregate.training import artefact
from scoregate.training.registry import Registry

SERVICE = "fraud"
WHO = ("--who", "loadtest", "--why", "a rehearsal")
FIELDS = ("account_id", "device_id", "merchant_id", "amount_minor", "currency", "channel", "country")


@dataclass(frozen=True)
class Answer:
    asked_s: float
    answered_s: float
    status: int
    arm: str


class Load:
    """A steady stream of payments; every answer is kept."""

    def __init__(self, settings: Settings, client: httpx.AsyncClient, per_s: float) -> None:
        self._client, self._per_s = client, per_s
        table = day(dt.datetime.now(dt.UTC).date(), settings.seed).select(FIELDS).to_pylist()
        self._payments = itertools.cycle(table)
        self._run, self._serial = uuid.uuid4().hex[:8], itertools.count()
        self.answers: list[Answer] = []
        self._answered = asyncio.Event()

    async def run(self) -> None:
        begin_s = time.monotonic()
        under_way: set[asyncio.Task[None]] = set()
        try:
            for number in itertools.count():
                await asyncio.sleep(max(begin_s + number / self._per_s - time.monotonic(), 0))
                task = asyncio.create_task(self._ask())
                under_way.add(task)
                task.add_done_callback(under_way.discard)
        finally:
            await asyncio.gather(*under_way)

    async def _ask(self) -> None:
        body = {**next(self._payments), "transaction_id": f"canary-{self._run}-{next(self._serial)}"}
        asked_s = time.time()
        try:
            answer = await self._client.post("score", json=body)
            arm = answer.json().get("arm", "") if answer.status_code == 200 else answer.text[:200]
            self.answers.append(Answer(asked_s, time.time(), answer.status_code, arm))
        except httpx.TransportError as problem:
            self.answers.append(Answer(asked_s, time.time(), 0, type(problem).__name__))
        self._answered.set()

    def since(self, at_s: float) -> list[Answer]:
        return [answer for answer in self.answers if answer.asked_s >= at_s]

    async def take(self, count: int) -> list[Answer]:
        """Return so many answers, the first of them asked for now."""
        at_s = time.time()
        while len(found := self.since(at_s)) < count:
            self._answered.clear()
            await self._answered.wait()
        return found[:count]


@asynccontextmanager
async def load(settings: Settings, per_s: float) -> AsyncIterator[Load]:
    key = (settings.home / "demo.key").read_text().strip()
    url = f"http://127.0.0.1:{settings.gateway_port}/v1/{SERVICE}/"
    bounds = httpx.Limits(max_connections=64, max_keepalive_connections=64)
    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=10, limits=bounds) as client:
        made = Load(settings, client, per_s)
        running = asyncio.create_task(made.run())
        await made.take(20)
        try:
            yield made
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)


async def scoregate(*words: str, codes: tuple[int, ...] = (0,)) -> str:
    """Run a command as a person would, in a process of its own; return what it prints."""
    made = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "scoregate", *words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    output, _ = await made.communicate()
    assert made.returncode in codes, f"{' '.join(words)}: {made.returncode} {output.decode()}"
    return output.decode()


class Rehearsal:
    """Every verb under load; `said` is what came of each."""

    def __init__(self, settings: Settings, traffic: Load) -> None:
        self._settings, self._traffic = settings, traffic
        self.said: dict[str, dict[str, Any]] = {}

    async def begin(self, model: str, weight: int) -> None:
        await approve(model)
        await scoregate("canary", "start", SERVICE, "--model", model, "--weight", str(weight), *WHO)

    async def share(self, weight: int, count: int) -> None:
        shares = Counter(answer.arm for answer in await self._traffic.take(count))
        self._say(f"share at {weight} %", requests=count, canary_percent=round(100 * shares["canary"] / count, 2))

    async def failed(self, what: str, since_s: float, settle_s: float = 2.0) -> None:
        """Count what failed since then, and until things have settled."""
        await asyncio.sleep(settle_s)
        found = self._traffic.since(since_s)
        wrong = Counter(f"{a.status} {a.arm}" for a in found if a.status != 200)
        self._say(what, requests=len(found), failed=sum(wrong.values()), **({"how": dict(wrong)} if wrong else {}))

    async def back(self, what: str) -> None:
        asked_s = time.time()
        await scoregate("canary", "rollback", SERVICE, *WHO)
        done_s = time.time()
        await asyncio.sleep(1.5)
        answers = self._traffic.since(asked_s - 5)
        last = max((a.answered_s for a in answers if a.arm == "canary"), default=asked_s)
        self._say(what, last_canary_answer_s=round(max(last - asked_s, 0), 3), command_s=round(done_s - asked_s, 3))
        await self.failed(what, asked_s)

    async def steps(self, model: str, count: int) -> None:
        at_s = time.time()
        await self.begin(model, 10)
        await self.failed("start", at_s)
        await self.share(10, count)
        at_s = time.time()
        await scoregate("canary", "start", SERVICE, "--weight", "50", *WHO)
        await self.share(50, count)
        await self.failed("step", at_s)
        await self.back("rollback")

    async def quick_rollback(self, model: str) -> None:
        await self.begin(model, 10)
        await scoregate("canary", "start", SERVICE, "--weight", "50", *WHO)
        await asyncio.sleep(0.2)
        await self.back("rollback 0.2 s after a step")

    async def death(self, model: str) -> None:
        await self.begin(model, 50)
        at_s = time.time()
        kill(self._settings)
        await self.failed("a canary that is killed", at_s, settle_s=10.0)
        kill(self._settings)
        await asyncio.sleep(0.5)
        await self.back("rollback while the canary restarts")

    async def renewal(self, model: str) -> None:
        await self.begin(model, 50)
        at_s = time.time()
        restart = asyncio.create_task(scoregate("restart", SERVICE))
        await asyncio.sleep(1.0)
        what = "rollback while the stable process restarts"
        await self.back(what)
        await restart
        await self.failed(what, at_s)

    async def promote(self, model: str) -> None:
        await self.begin(model, 10)
        at_s = time.time()
        await scoregate("canary", "promote", SERVICE, "--anyway", *WHO)
        await self.failed("promote", at_s)
        version = Registry(self._settings).resolve(SERVICE, model)
        served = champion(self._settings.models(SERVICE)).name
        self._say("promote", alias=list(version.aliases), served=served == model)

    def _say(self, what: str, **figures: Any) -> None:
        self.said[what] = {**self.said.get(what, {}), **figures}
        print(time.strftime("%X"), what, self.said[what], file=sys.stderr, flush=True)


async def rehearse(settings: Settings, per_s: float, count: int) -> dict[str, Any]:
    first, second = (challenger(settings, f"rehearsal {uuid.uuid4().hex}") for _ in range(2))
    async with load(settings, per_s) as traffic:
        rehearsal = Rehearsal(settings, traffic)
        await rehearsal.steps(first, count)
        await rehearsal.quick_rollback(first)
        await rehearsal.death(first)
        await rehearsal.renewal(first)
        await rehearsal.promote(second)
    return rehearsal.said


def kill(settings: Settings) -> None:
    """End a canary's worker and what manages it, as a machine that fails would."""
    status = read_status(settings.home)
    assert status is not None
    running = next(each for each in status.running if each.name == f"{SERVICE}-canary")
    for mark in (*running.offspring, *([running.mark] if running.mark else [])):
        try:
            os.kill(mark.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


async def judge_wrong_model(settings: Settings, per_s: float, features: list[str], patience_s: float) -> dict[str, Any]:
    wrong = challenger(settings, "swapped", swap=(features[0], features[1]))
    await approve(wrong)
    async with load(settings, per_s) as traffic:
        at_s = time.time()
        begin = ("canary", "start", SERVICE, "--model", wrong, "--weight", "10", "--auto", *WHO)
        try:
            output = await asyncio.wait_for(scoregate(*begin, codes=(0, 4)), patience_s)
        except TimeoutError:
            await scoregate("canary", "rollback", SERVICE, *WHO)
            output = "not decided"
        found = traffic.since(at_s)
    print(output, file=sys.stderr)
    arms = Counter(answer.arm for answer in found if answer.status == 200)
    return {
        "swapped": features,
        "rolled_back": output.rstrip().endswith("rollback"),
        "canary_answers": arms["canary"],
        "requests": len(found),
        "failed": sum(answer.status != 200 for answer in found),
        "seconds": round(time.time() - at_s, 1),
    }


async def approve(model: str) -> None:
    await scoregate("models", "promote", SERVICE, model, "--approver", "loadtest", "--reason", "a rehearsal")


def challenger(settings: Settings, note: str, swap: tuple[str, str] | None = None) -> str:
    """Make a version of the champion, the same but for its card, or with two features swapped; register it."""
    models = settings.models(SERVICE)
    of = champion(models)
    files = {name: (of / name).read_bytes() for name in json.loads((of / MANIFEST).read_text())}
    files["card.md"] += f"\n{note}\n".encode()
    if swap is not None:
        files |= swapped(files, swap)
    folder = artefact.write(models, files)
    Registry(settings).record(SERVICE, folder, params={}, metrics={}, lineage={"made_by": "loadtest/canary.py"})
    return folder.name


def swapped(files: dict[str, bytes], swap: tuple[str, str]) -> dict[str, bytes]:
    """Let the forest read each of two features where it means the other, as training on a mixed-up column would."""
    signature = json.loads(files["signature.json"])
    names = [feature["name"] for feature in signature["features"]]
    one, other = map(names.index, swap)
    booster = xgboost.Booster()
    booster.load_model(bytearray(files["model.ubj"]))
    trees = json.loads(booster.save_raw("json"))
    for tree in trees["learner"]["gradient_booster"]["model"]["trees"]:
        tree["split_indices"] = [{one: other, other: one}.get(index, index) for index in tree["split_indices"]]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.json"
        path.write_text(json.dumps(trees))
        booster.load_model(path)
    raw = bytes(booster.save_raw("ubj"))
    forest = Forest.from_bytes(raw, signature["calibrator"]["a"], signature["calibrator"]["b"])
    return {"model.ubj": raw, "golden.json": artefact.as_bytes(rescored(files, forest, names))}


def rescored(files: dict[str, bytes], forest: Forest, names: list[str]) -> list[dict[str, Any]]:
    policy = Policy.from_toml(files["policy.toml"].decode())
    ranges = Ranges.of(policy, Signature.from_json(json.loads(files["signature.json"])).features)
    goldens = json.loads(files["golden.json"])
    for golden in goldens:
        vector = [float("nan") if value is None else value for value in golden["vector"]]
        golden["score"] = float(forest.predict(np.array([vector], dtype=np.float32))[0])
        row = row_of(golden)
        values = dict(zip(names, vector, strict=True))
        degraded = [*row.stale, *row.missing]
        outside = ranges.outside(vector) if ranges else []
        golden["outcome"] = policy.decide(golden["score"], values, degraded, outside).outcome.name
    return list(goldens)


def holds(said: dict[str, Any]) -> bool:
    """Whether every figure is as it must be."""
    shares = {"share at 10 %": 10, "share at 50 %": 50}
    return all(
        one.get("failed", 0) == 0
        and one.get("last_canary_answer_s", 0) < 1
        and abs(one.get("canary_percent", shares.get(what, 0)) - shares.get(what, 0)) <= 1
        and one.get("rolled_back", True)
        and one.get("served", True)
        for what, one in said.items()
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--per-s", type=float, default=100.0, help="requests a second (%(default)s)")
    parser.add_argument("--requests", type=int, default=10_000, help="over which the share is counted (%(default)s)")
    parser.add_argument("--swap", nargs=2, metavar="FEATURE", help="judge a model with these two features swapped")
    parser.add_argument("--patience-s", type=float, default=900.0, help="longest wait for --auto (%(default)s)")
    parser.add_argument("--json", action="store_true")
    return parser


def main() -> int:
    asked = _parser().parse_args()
    settings = Settings()
    if asked.swap:
        said = {"wrong model": asyncio.run(judge_wrong_model(settings, asked.per_s, asked.swap, asked.patience_s))}
    else:
        said = asyncio.run(rehearse(settings, asked.per_s, asked.requests))
    print(json.dumps(said, indent=2) if asked.json else "\n".join(f"{what}: {one}" for what, one in said.items()))
    return 0 if holds(said) else 1


if __name__ == "__main__":
    sys.exit(main())
