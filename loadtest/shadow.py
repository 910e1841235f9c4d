"""A shadow through a running stack, under load: it fails and delays nobody, and its verdict says what it is.

    make up && python loadtest/shadow.py fraud_feature another --json    a model with these two features swapped

Makes its own challengers out of fraud's champion: a copy, which has to be clear, and one with two features swapped,
which has to go back. Times of answers are taken before and while the copy looks on, in turns.
Exit code 1 when a request failed, a verdict is another one, or replay derives anything otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
import uuid
from typing import Any

import numpy as np
from canary import SERVICE, WHO, Load, approve, challenger, load, scoregate

from scoregate.settings import Settings

SETTLE_S = 3.0
LOOK_S = 5.0


def times(traffic: Load, since_s: float) -> dict[str, float]:
    taken_ms = [1000 * (a.answered_s - a.asked_s) for a in traffic.since(since_s) if a.status == 200]
    return {f"p{q}_ms": round(float(np.percentile(taken_ms, q)), 2) for q in (50, 99)} | {"answers": len(taken_ms)}


async def look_on(traffic: Load, model: str, patience_s: float) -> dict[str, Any]:
    """Let a model look on until its verdict is no longer to hold, and take it away again."""
    await approve(model)
    began_s = time.time()
    await scoregate("canary", "start", SERVICE, "--model", model, "--shadow", *WHO)
    await asyncio.sleep(SETTLE_S)
    looked_s, verdict = time.time(), {"verdict": "hold", "why": "", "gates": []}
    while verdict["verdict"] == "hold" and time.time() - looked_s < patience_s:
        await asyncio.sleep(LOOK_S)
        verdict = json.loads(await scoregate("canary", "verdict", SERVICE, "--json", codes=(0, 3, 4)))
    while_s = times(traffic, looked_s)
    await scoregate("canary", "rollback", SERVICE, *WHO)
    failed = [answer for answer in traffic.since(began_s) if answer.status != 200]
    pairs = {gate["gate"]: dict(zip(gate["categories"], gate["canary"], strict=True)) for gate in verdict["gates"]}
    said = {"verdict": verdict["verdict"], "why": verdict["why"], "pairs": pairs, "failed": len(failed), **while_s}
    print(time.strftime("%X"), said, file=sys.stderr, flush=True)
    return said


async def rehearse(settings: Settings, per_s: float, swap: tuple[str, str], patience_s: float) -> dict[str, Any]:
    same, swapped = challenger(settings, uuid.uuid4().hex), challenger(settings, "a shadow", swap=swap)
    since_s = time.time()
    async with load(settings, per_s) as traffic:
        await asyncio.sleep(SETTLE_S)
        alone_s = time.time()
        await asyncio.sleep(30)
        said: dict[str, Any] = {"alone": times(traffic, alone_s)}
        said["the same model"] = await look_on(traffic, same, patience_s)
        said["a swapped model"] = await look_on(traffic, swapped, patience_s)
    since = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(since_s))
    said["replay"] = json.loads(await scoregate("ledger", "replay", "--service", SERVICE, "--since", since, "--json"))
    return said


def holds(said: dict[str, Any]) -> bool:
    """Whether every figure is as it must be."""
    same, swapped = said["the same model"], said["a swapped model"]
    expected = (("promote", 0), ("rollback", 0))
    return expected == tuple((one["verdict"], one["failed"]) for one in (same, swapped))


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("swap", nargs=2, metavar="FEATURE", help="two features that the wrong model mixes up")
    parser.add_argument("--per-s", type=float, default=50.0, help="requests a second (%(default)s)")
    parser.add_argument("--patience-s", type=float, default=600.0, help="longest wait for a verdict (%(default)s)")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    said = asyncio.run(rehearse(Settings(), asked.per_s, tuple(asked.swap), asked.patience_s))
    print(json.dumps(said, indent=2) if asked.json else "\n".join(f"{what}: {one}" for what, one in said.items()))
    return 0 if holds(said) else 1


if __name__ == "__main__":
    sys.exit(main())
