"""How often the canary's verdict is wrong, and how soon it is right: by simulation of whole days, a look every 10 s.

    python loadtest/verdict.py --runs 1000 --json

Two streams of requests: `independent`, and `bursty`, in which payments come as the generator of demo payments makes
them (sessions, card testing, takeovers; accounts resampled), outcome, score, errors, missing facts and latency cling
to bursts and accounts, and arms are drawn at random, which spreads bursts worse over arms than Traefik's exact turn.
A day at 1/s is made request by request; days at 10/s and 100/s are so many days at 1/s, of other accounts, laid over
each other at random offsets.
Exit code 1 when a rate is not as the verdict promises: false rollbacks of a healthy canary at most 1 % (upper 95 %
bound 2 %), a healthy one promoted in 90 %, each fault caught in 95 % within 5,000 canary requests.
"""

from __future__ import annotations

import argparse
import datetime as dt
import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import lgamma, log
from typing import Any

import numpy as np

from fraud.simulate import day
from scoregate.rollout.gates import GATES, Gate
from scoregate.rollout.sequential import Line
from scoregate.rollout.verdict import thresholds

DAY_S, LOOK_S = 86_400, 10
LOOKS = DAY_S // LOOK_S
BURST_S = LOOK_BACK_S = 600
CANARY = 0.1
DAYS = 13
"""So many of the generator's days, over each other, are about one request a second."""
CAUGHT_WITHIN = 5_000
FAULTY_DAYS = 200
"""Enough to draw windows of minutes from."""
AT_ONCE = 64

APPROVE_BELOW = (1.4, 1.9, 2.6)
"""Where the latent risk turns approve into step_up, review, decline."""
SCORE_AT = np.linspace(-1.5, 4.0, 14)
LATENCY_AT = np.log([0.5, 1, 2.5, 5, 10, 25, 50, 100, 250])
REASONS = 6


@dataclass(frozen=True)
class Fault:
    """What is wrong with the canary; the first values are those of the stable arm."""

    name: str = "healthy"
    errors: float = 0.001
    approvals: float = 0.0
    """Points of all requests that are no longer approved."""
    slower: float = 1.0
    shift: float = 0.0
    """Of the latent risk, as far as the score goes."""


@dataclass(frozen=True)
class Requests:
    """A day's requests: times in seconds; indices of account and burst; which are counted once per look-back; the
    request of the same account before (or -1); which are fraud."""

    at_s: np.ndarray[Any, Any]
    account: np.ndarray[Any, Any]
    burst: np.ndarray[Any, Any]
    kept: np.ndarray[Any, Any]
    before: np.ndarray[Any, Any]
    is_fraud: np.ndarray[Any, Any]


def independent(count: int = DAY_S) -> Requests:
    each = np.arange(count)
    yes, no = np.ones(count, bool), np.zeros(count, bool)
    return Requests(each * (DAY_S / count), each, each, yes, np.full(count, -1), no)


@lru_cache(maxsize=1)
def bursty(seed: int = 1) -> Requests:
    """Days of the generator over each other, each account once and in order of its own time."""
    parts = []
    for number in range(DAYS):
        table = day(dt.date(2026, 11, 2) + dt.timedelta(days=number), seed + number)
        account = np.unique(np.array(table["account_id"].to_pylist()), return_inverse=True)[1]
        at_s = np.array(table["event_at"].cast("int64")) / 1e6 % DAY_S
        order = np.lexsort((at_s, account))
        fraud = table["is_fraud"].to_numpy(zero_copy_only=False).astype(bool)
        parts.append((account[order] + number * 1_000_000, at_s[order], fraud[order]))
    account, at_s, is_fraud = (np.concatenate(column) for column in zip(*parts, strict=True))
    account = np.unique(account, return_inverse=True)[1]
    same = np.r_[False, account[1:] == account[:-1]]
    new_burst = ~same | (np.diff(at_s, prepend=0.0) > BURST_S)
    kept = _kept(account, at_s)
    before = np.where(same, np.arange(len(at_s)) - 1, -1)
    return Requests(at_s, account, np.cumsum(new_burst) - 1, kept, before, is_fraud)


def _kept(account: np.ndarray[Any, Any], at_s: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    last: dict[int, float] = {}
    kept = np.zeros(len(at_s), bool)
    for i, (who, at) in enumerate(zip(account.tolist(), at_s.tolist(), strict=True)):
        if at - last.get(who, -DAY_S) >= LOOK_BACK_S:
            kept[i], last[who] = True, at
    return kept


def counts(requests: Requests, fault: Fault, rng: np.random.Generator) -> dict[str, np.ndarray[Any, Any]]:
    """Make one day at 1/s: gate → counts by look, arm (stable, canary) and category."""
    r, n = requests, len(requests.at_s)
    is_independent = r.account is r.burst
    shifts = rng.uniform(0, DAY_S, r.account[-1] + 1)
    at_s = r.at_s if is_independent else (r.at_s + shifts[r.account]) % DAY_S
    canary = (np.arange(n) + rng.integers(10)) % 10 == 0 if is_independent else rng.random(n) < CANARY
    place = (at_s / LOOK_S).astype(np.int64) * 2 + canary

    def latent(own: float, of_burst: float) -> np.ndarray[Any, Any]:
        """Standard normal per request, shared within account and burst."""
        shared = np.sqrt(own) * rng.standard_normal(r.account[-1] + 1)[r.account]
        shared += np.sqrt(of_burst) * rng.standard_normal(r.burst[-1] + 1)[r.burst]
        return shared + np.sqrt(1 - own - of_burst) * rng.standard_normal(n)

    risk = latent(0.25, 0.3) + 3.0 * r.is_fraud
    outcome = np.digitize(risk, APPROVE_BELOW)
    turned = canary & (outcome == 0) & (rng.random(n) < fault.approvals / 0.9)
    score = np.digitize(risk + fault.shift * canary, SCORE_AT)
    fails = rng.random(r.burst[-1] + 1)[r.burst] < np.where(canary, fault.errors, Fault.errors)
    slow = np.log(2.5) + 0.5 * latent(0.1, 0.1) + np.log(fault.slower) * canary
    everything, decided = np.ones(n, bool), r.kept
    previous = np.where(r.before >= 0, canary[r.before], False)
    seen: dict[str, tuple[Any, int, Any]] = {
        "errors": (fails, 2, everything),
        "latency": (np.digitize(slow, LATENCY_AT), 10, everything),
        "fallbacks": (rng.random(n) < 0.002, 2, decided),
        "missing": (latent(0.6, 0.2) > 1.64, 2, decided),
        "outcomes": (np.where(turned, 1, outcome), 4, decided),
        "scores": (score, len(SCORE_AT) + 1, decided),
        "reasons": ((risk * 37).astype(np.int64) % REASONS, REASONS, decided & (outcome > 0)),
        "mixing": (previous, 2, everything if is_independent else r.before >= 0),
    }
    return {
        name: np.bincount((place * size + category)[which], minlength=LOOKS * 2 * size)
        .astype(np.uint8)
        .reshape(LOOKS, 2, size)
        for name, (category, size, which) in seen.items()
    }


Days = Mapping[str, np.ndarray[Any, Any]]
"""Gate → counts by day, look, arm and category."""


def library(requests: Requests, fault: Fault, days: int, seed: int) -> Days:
    rng = np.random.default_rng(seed)
    made = [counts(requests, fault, rng) for _ in range(days)]
    return {gate.name: np.stack([one[gate.name] for one in made]) for gate in GATES}


def streams(days: Days, rate: int, looks: int, runs: int, seed: int) -> Iterator[dict[str, np.ndarray[Any, Any]]]:
    """Yield runs at so many requests a second: cumulated counts by look, arm and category."""
    rng = np.random.default_rng(seed)
    known = len(days["errors"])
    for run in range(runs):
        chosen = [run % known] if rate == 1 else rng.integers(known, size=rate)
        offsets = rng.integers(LOOKS, size=len(chosen))
        yield {
            name: _laid_over(every, chosen, offsets, looks).cumsum(0, dtype=np.int64) for name, every in days.items()
        }


def _laid_over(every: Any, chosen: Any, offsets: Any, looks: int) -> Any:
    total = np.zeros((looks, *every.shape[2:]), np.int32)
    for number, offset in zip(chosen, offsets, strict=True):
        end = min(offset + looks, LOOKS)
        total[: end - offset] += every[number, offset:end]
        total[end - offset :] += every[number, : looks - (end - offset)]
    return total


def bound(a: tuple[Any, Any], b: tuple[Any, Any], line: Line) -> Any:
    """What `log_e_above` cannot be above, quickly: the likelihood ratio of b's own share to the line of a's."""
    x_a, n_a, x_b, n_b = np.broadcast_arrays(*a, *b)
    above = (n_a > 0) & (x_b * n_a > (line.times * x_a + line.plus * n_a) * n_b)
    found = np.zeros(above.shape)
    share = x_b[above] / n_b[above]
    most = np.maximum(line.times * x_a[above] / n_a[above] + line.plus, 1e-12)
    with np.errstate(divide="ignore", invalid="ignore"):
        less = np.where(share < 1, (1 - share) * np.log((1 - share) / (1 - most)), 0.0)
    found[above] = n_b[above] * (share * np.log(share / most) + less)
    return found


@dataclass(frozen=True)
class Run:
    """Looks at which it was first rolled back, and could first be promoted; None for never."""

    rolled_back: int | None
    promoted: int | None
    asked: int | None
    """Canary requests up to the rollback."""
    gate: str | None


def judged(stream: Mapping[str, np.ndarray[Any, Any]], gates: tuple[Gate, ...] = GATES) -> Run:
    """Look every 10 s; whether it may be promoted is looked at less and less often, which can only miss chances."""
    worse_from, clear_from = thresholds(len(gates))
    first: dict[str, int] = {}
    for gate in gates:
        stable, canary = stream[gate.name][:, 0], stream[gate.name][:, 1]
        beyond = gate.asked(bound, stable, canary, gate.tolerated[-1]).max(-1) >= worse_from
        for line in gate.tolerated[:-1]:
            beyond |= gate.asked(bound, stable, canary, line).max(-1) >= worse_from
        look = None if gate.is_about_traffic else _first(gate, stable, canary, np.flatnonzero(beyond), worse_from)
        if look is not None:
            first[gate.name] = look
    some = np.unique(np.geomspace(1, len(stream["errors"]), 24).astype(int)) - 1
    clear = np.all([g.clear(stream[g.name][some, 0], stream[g.name][some, 1]) >= clear_from for g in gates], axis=0)
    promoted = int(some[clear.argmax()]) if clear.any() else None
    if not first:
        return Run(None, promoted, None, None)
    gate_name = min(first, key=lambda name: first[name])
    look = first[gate_name]
    asked = int(stream["errors"][look, 1].sum())
    return Run(look, promoted if promoted is not None and promoted < look else None, asked, gate_name)


def _first(gate: Gate, stable: Any, canary: Any, looks: np.ndarray[Any, Any], worse_from: float) -> int | None:
    """Return the first of these looks at which the gate is worse; what comes after it is never worked out."""
    for some in np.array_split(looks, len(looks) // AT_ONCE + 1):
        worse = gate.against(stable[some], canary[some]) >= worse_from
        if worse.any():
            return int(some[worse.argmax()])
    return None


def upper_bound(hits: int, runs: int) -> float:
    """Clopper and Pearson's one-sided 95 % bound."""
    low, high = hits / runs, 1.0
    for _ in range(60):
        p = (low + high) / 2
        low, high = (p, high) if _at_most(hits, runs, p) > 0.05 else (low, p)
    return high


def _at_most(hits: int, runs: int, p: float) -> float:
    if p >= 1:
        return 0.0
    logs = [lgamma(runs + 1) - lgamma(k + 1) - lgamma(runs - k + 1) + k * log(p) + (runs - k) * log(1 - p) for k in
            range(hits + 1)] if p > 0 else [0.0]  # fmt: skip
    return float(np.exp(logs).sum())


def psi_shift(requests: Requests, psi: float) -> float:
    """Return the shift of the latent risk whose scores have this PSI."""
    rng = np.random.default_rng(0)
    risk = rng.standard_normal(400_000)
    base = _shares(risk)
    low, high = 0.0, 3.0
    for _ in range(30):
        middle = (low + high) / 2
        moved = _shares(risk + middle)
        low, high = (middle, high) if ((moved - base) * np.log(moved / base)).sum() < psi else (low, middle)
    return low


def _shares(risk: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    return (np.bincount(np.digitize(risk, SCORE_AT), minlength=len(SCORE_AT) + 1) + 1) / (len(risk) + len(SCORE_AT) + 1)


def faults() -> list[Fault]:
    return [
        Fault("approval −10 points", approvals=0.10),
        Fault("2 % errors", errors=0.02),
        Fault("latency × 3", slower=3.0),
        Fault("score PSI 0.25", shift=psi_shift(independent(), 0.25)),
    ]


def grid() -> list[Fault]:
    """Smaller and smaller effects, to find the smallest that is seen in a day at 1/s."""
    return [
        *(Fault(f"approval −{100 * x:g} points", approvals=x) for x in (0.08, 0.07, 0.06, 0.05, 0.04)),
        *(Fault(f"{100 * x:g} % errors", errors=x) for x in (0.015, 0.01, 0.0075, 0.005)),
        *(Fault(f"latency × {x:g}", slower=x) for x in (2.5, 2.25, 2.0, 1.75)),
        *(Fault(f"score PSI {x:g}", shift=psi_shift(independent(), x)) for x in (0.15, 0.1, 0.05, 0.03)),
    ]


def healthy_day(days: Days, rate: int, runs: int, hours: float, gates: tuple[Gate, ...] = GATES) -> dict[str, Any]:
    looks = int(hours * 3600 / LOOK_S)
    found = [judged(stream, gates) for stream in streams(days, rate, looks, runs, seed=rate)]
    rolled = sum(run.rolled_back is not None for run in found)
    promoted = [run.promoted for run in found if run.promoted is not None]
    return {
        "rolled_back": rolled / runs,
        "rolled_back_below": round(upper_bound(rolled, runs), 5),
        "promoted": len(promoted) / runs,
        "promoted_after_s": float(np.median(promoted) + 1) * LOOK_S if promoted else None,
        "holds": rolled / runs <= 0.01 and upper_bound(rolled, runs) <= 0.02 and len(promoted) / runs >= 0.9,
    }


def caught(
    days: Days, rate: int, runs: int, within: int = CAUGHT_WITHIN, gates: tuple[Gate, ...] = GATES
) -> dict[str, Any]:
    looks = min(int(within / CANARY / rate / LOOK_S), LOOKS)
    found = [judged(stream, gates) for stream in streams(days, rate, looks, runs, seed=100 + rate)]
    hits = [run for run in found if run.rolled_back is not None and (run.asked or 0) <= within]
    return {
        "caught": len(hits) / runs,
        "promoted": sum(run.promoted is not None for run in found) / runs,
        "after_canary_requests": float(np.median([run.asked for run in hits])) if hits else None,  # type: ignore[arg-type]
        "by": sorted({run.gate for run in hits if run.gate}),
        "holds": len(hits) / runs >= 0.95,
    }


def show(
    kind: str, parts: list[str], runs: int, days: int, hours: float, rates: list[int], only: list[str]
) -> dict[str, Any]:
    requests = independent() if kind == "independent" else bursty()
    found: dict[str, Any] = {}

    def tell(what: str, result: dict[str, Any]) -> None:
        print(f"{time.strftime('%X')} {kind:<12} {what:<28} {result}", file=sys.stderr, flush=True)
        found[what] = result

    if "healthy" in parts:
        healthy = library(requests, Fault(), days, seed=1)
        for rate in rates:
            tell(f"healthy, {rate}/s, {hours:g} h", healthy_day(healthy, rate, runs, hours))
    few = min(days, FAULTY_DAYS)
    for fault in faults() if "faults" in parts else ():
        broken = library(requests, fault, few, seed=2)
        for rate in (rate for rate in rates if rate > 1):
            tell(f"{fault.name}, {rate}/s", caught(broken, rate, runs))
    for fault in grid() if "smallest" in parts else ():
        if only and fault.name not in only:
            continue
        seen = caught(library(requests, fault, days, seed=3), 1, runs, within=DAY_S)
        tell(f"{fault.name}, 1/s, 24 h", {**seen, "holds": None})
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=1_000)
    parser.add_argument("--days", type=int, default=1_000, help="days at 1/s to draw from (%(default)s)")
    parser.add_argument("--hours", type=float, default=24.0)
    parser.add_argument("--rates", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--streams", nargs="+", default=["independent", "bursty"], choices=["independent", "bursty"])
    parser.add_argument("--parts", nargs="+", default=["healthy", "faults"], choices=["healthy", "faults", "smallest"])
    parser.add_argument("--only", nargs="+", default=[], metavar="EFFECT", help="of the smallest, these by name")
    parser.add_argument("--json", action="store_true")
    return parser


def main() -> int:
    asked = _parser().parse_args()
    said = {
        kind: show(kind, asked.parts, asked.runs, asked.days, asked.hours, asked.rates, asked.only)
        for kind in asked.streams
    }
    if asked.json:
        print(json.dumps(said, indent=2))
    return 0 if all(one["holds"] is not False for found in said.values() for one in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
