"""Which canary a service has, and the journal of all that was done to canaries: files in `<home>/rollout/`.

<service>.json     the canary of now; gone when there is none
<service>.leaving  one that has lost its weight, until the rollback that took it is written down
<service>.jsonl    every action: when, what, who, why, and the verdict with its evidence; only ever added to
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from scoregate.local.state import write_atomically
from scoregate.rollout.flip import leaving_file, rollout_dir, state_file
from scoregate.values import frozen

Reading = dict[str, dict[str, float]]
"""Gate → category → what a counter stands at."""


@frozen
class Canary:
    """`weight_percent` is 0 until its process is ready; `since_s` when it took this weight, from when it is judged.

    `before` are the arms' metrics at that time. `started_s` tells one canary from the next.
    """

    service: str
    model: str
    weight_percent: int
    started_s: float
    since_s: float
    before: Mapping[str, Reading]
    who: str
    why: str
    shadow: bool = False
    """Whether it scores beside the champion, in the stable process, and answers nobody."""


def read(home: Path, service: str) -> Canary | None:
    return _canary(state_file(home, service))


def leaving(home: Path, service: str) -> Canary | None:
    """Return a canary that `flip` has taken the weight of, and nothing else yet."""
    return _canary(leaving_file(home, service))


def write(home: Path, canary: Canary) -> None:
    write_atomically(state_file(home, canary.service), json.dumps(asdict(canary), indent=2))


def remove(home: Path, service: str) -> None:
    state_file(home, service).unlink(missing_ok=True)


def forget_leaving(home: Path, service: str) -> None:
    leaving_file(home, service).unlink(missing_ok=True)


def action(name: str, canary: Canary, *, who: str, why: str, verdict: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return what the journal says of an action that was just done to a canary."""
    return {
        "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "action": name,
        "service": canary.service,
        "model": canary.model,
        "weight_percent": canary.weight_percent,
        "who": who,
        "why": why,
        "evidence": verdict,
    }


def note(home: Path, done: Mapping[str, Any]) -> None:
    """Add an action to the journal; durable when this returns."""
    rollout_dir(home).mkdir(parents=True, exist_ok=True, mode=0o700)
    with _journal(home, done["service"]).open("a") as file:
        file.write(json.dumps(done, ensure_ascii=False) + "\n")
        file.flush()
        os.fsync(file.fileno())


def journal(home: Path, service: str) -> list[dict[str, Any]]:
    """Return every action on a service's canaries, oldest first."""
    try:
        return [json.loads(line) for line in _journal(home, service).read_text().splitlines()]
    except FileNotFoundError:
        return []


def _canary(file: Path) -> Canary | None:
    try:
        return Canary(**json.loads(file.read_text()))
    except FileNotFoundError:
        return None


def _journal(home: Path, service: str) -> Path:
    return rollout_dir(home) / f"{service}.jsonl"
