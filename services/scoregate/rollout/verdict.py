"""The verdict on a canary: promote, hold or roll back, from what both arms did; one pure function.

Each gate gathers two e-values as requests come: against "the canary is within what is tolerated", and against "the
canary does harm". The first one beyond gates/α of any gate rolls back: over all gates and looks together, a canary that
is within what is tolerated is rolled back with probability α at most. The second must be beyond 1/β in every gate to
promote: each must be shown to be clear by itself, so that nothing adds up, and one that does harm is promoted with
probability β at most. Until either happens the verdict is to hold, and looking again costs nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any, Final

from scoregate.rollout.gates import GATES, Gate
from scoregate.values import frozen

ALPHA: Final = 0.005
BETA: Final = 0.05


class Action(StrEnum):
    PROMOTE = "promote"
    HOLD = "hold"
    ROLLBACK = "rollback"


class State(StrEnum):
    """What is known of one gate: beyond what is tolerated, shown to be harmless, or neither yet."""

    WORSE = "worse"
    CLEAR = "clear"
    OPEN = "open"


@frozen
class Sample:
    """What both arms did, counted by category; the canary's counts in the same order as the stable arm's."""

    categories: tuple[str, ...]
    stable: tuple[int, ...]
    canary: tuple[int, ...]


Evidence = Mapping[str, Sample]
"""Gate → sample; a gate that nothing was seen of may be absent."""


@frozen
class Finding:
    """One gate. `e_worse` and `e_clear` are e-values as powers of ten; each is held against what it has to reach."""

    gate: str
    state: State
    e_worse: float
    worse_from: float
    e_clear: float
    clear_from: float
    sample: Sample

    def __str__(self) -> str:
        s, c = self.sample.stable, self.sample.canary
        return (
            f"{self.gate:<13} {self.state:<6} stable {_shares(self.sample.categories, s)} · "
            f"canary {_shares(self.sample.categories, c)} · "
            f"worse {_power(self.e_worse)} of 10^{self.worse_from:.1f}, "
            f"clear {_power(self.e_clear)} of 10^{self.clear_from:.1f}"
        )


@frozen
class Verdict:
    action: Action
    why: str
    findings: tuple[Finding, ...]

    def as_json(self) -> dict[str, Any]:
        return {"verdict": self.action.value, "why": self.why, "gates": [_as_json(found) for found in self.findings]}


def judge(evidence: Evidence, gates: Sequence[Gate] = GATES) -> Verdict:
    """Judge a canary by what has been seen of it, at any time and as often as one likes."""
    findings = tuple(_find(gate, evidence.get(gate.name, Sample((), (), ())), len(gates)) for gate in gates)
    about_traffic = {gate.name for gate in gates if gate.is_about_traffic}
    worse = [found.gate for found in findings if found.state is State.WORSE]
    open_ = [found.gate for found in findings if found.state is State.OPEN]
    if unlike := [name for name in worse if name in about_traffic]:
        return Verdict(Action.HOLD, f"the arms do not see the same traffic, by {_listed(unlike)}", findings)
    if worse:
        return Verdict(Action.ROLLBACK, f"the canary is beyond what is tolerated in {_listed(worse)}", findings)
    if open_:
        return Verdict(Action.HOLD, f"not enough evidence yet on {_listed(open_)}", findings)
    return Verdict(Action.PROMOTE, "every gate is clear", findings)


def thresholds(gates: int) -> tuple[float, float]:
    """Return what the log e-values against "tolerated" and "harm" have to reach, where so many gates are judged."""
    return math.log(gates / ALPHA), math.log(1 / BETA)


def _find(gate: Gate, sample: Sample, gates: int) -> Finding:
    worse_from, clear_from = thresholds(gates)
    worse = clear = -math.inf
    # One category cannot differ from itself.
    if len(sample.categories) > 1:
        worse = float(gate.against(sample.stable, sample.canary))
        clear = float(gate.clear(sample.stable, sample.canary))
    state = State.WORSE if worse >= worse_from else State.CLEAR if clear >= clear_from else State.OPEN
    ten = math.log(10)
    return Finding(gate.name, state, worse / ten, worse_from / ten, clear / ten, clear_from / ten, sample)


def _as_json(found: Finding) -> dict[str, Any]:
    return {
        "gate": found.gate,
        "state": found.state.value,
        "log10_e_worse": _finite(found.e_worse),
        "worse_from": round(found.worse_from, 3),
        "log10_e_clear": _finite(found.e_clear),
        "clear_from": round(found.clear_from, 3),
        "categories": list(found.sample.categories),
        "stable": list(found.sample.stable),
        "canary": list(found.sample.canary),
    }


def _finite(power: float) -> float | None:
    return round(power, 3) if math.isfinite(power) else None


def _power(power: float) -> str:
    return f"10^{power:.1f}" if power > -100 else "-"


def _shares(categories: Sequence[str], counts: Sequence[int]) -> str:
    """Say how many, and how they are shared out; the largest six."""
    total = sum(counts)
    if not total:
        return "none"
    shares = sorted(zip(counts, categories, strict=True), reverse=True)[:6]
    return f"{total} ({', '.join(f'{name} {100 * count / total:.1f} %' for count, name in shares if count)})"


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
