"""A benchmark says so when a ratio does not hold, and asks what a service takes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from loadtest import customers, measures, results, stages, wrk

from fraud.contract import EXAMPLE, Request


def seen(ours_per_s: float, *, failed: int = 0, kinds: dict[str, int] | None = None) -> dict[str, Any]:
    """What a run saw in which the tutorial made 300 answers a second, the empty endpoint 1,000, MLServer 1,500."""

    def rounds(per_s: float, wrong: int = 0) -> list[dict[str, float]]:
        return [{"per_s": per_s, "failed": wrong, "cpu_us": 1e6 / per_s, "p50_ms": 1, "p99_ms": 2, "p999_ms": 3}]

    return {
        "load": 0.5,
        "throughput": {
            "fraud 16": rounds(ours_per_s, failed),
            "tutorial 16": rounds(290),
            "tutorial async 16": rounds(300),
            "empty 16": rounds(1_000),
            "MLServer, model only 16": rounds(1_500),
        },
        "memory": {"fraud": 100.0},
        "answers": {"fraud": kinds or {"model/fresh/approve": 9}},
    }


def test_what_holds_is_said_and_ends_with_0(tmp_path: Path) -> None:
    """Ten times the faster of the tutorial's endpoints holds."""
    assert 0 == results.write(seen(3_000), tmp_path / "RESULTS.md")
    written = (tmp_path / "RESULTS.md").read_text()
    assert "| throughput, tutorial's = 1, 16 connections | 10.00 | >= 8 | yes |" in written
    assert "| throughput, MLServer's = 1, 16 connections | 2.00 |  |  |" in written


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (seen(2_000), "| throughput, tutorial's = 1, 16 connections | 6.67 | >= 8 | no |"),
        (seen(3_000, failed=1), "- 1 answers to fraud 16 connections were errors"),
        (seen(3_000, kinds={"fallback/rules/step_up": 1}), "- 1 decisions of fraud were made without its model"),
    ],
)
def test_what_does_not_hold_is_said_and_ends_with_1(said: dict[str, Any], line: str, tmp_path: Path) -> None:
    """Too slow, an error, or a decision without the model: the run is red, and says why."""
    assert 1 == results.write(said, tmp_path / "RESULTS.md")
    assert line in (tmp_path / "RESULTS.md").read_text()


def steady(p99_ms: float, *, failed: int = 0, errors: int = 0) -> list[dict[str, float]]:
    return [
        {"per_s": 800, "p50_ms": p99_ms / 2, "p99_ms": p99_ms, "p99.9_ms": 2 * p99_ms, "failed": failed}
        | {"answered_per_s": 700.0, "late_ms": 0.5, "core": 0.2, "errors": errors}
    ]


def timed(ours_ms: float, *, failed: int = 0, errors: int = 0) -> dict[str, Any]:
    """What a run saw in which the tutorial's p99 was 40 ms at its own rate, and 5,000 ms at ours."""
    return seen(3_000) | {
        "latency": {
            "tutorial async, half of the tutorial's rate": steady(40),
            "fraud, half of the tutorial's rate": steady(5),
            "tutorial async, half of our rate": steady(5_000, failed=99),
            "fraud, half of our rate": steady(ours_ms, failed=failed, errors=errors),
            "fraud by gateway, half of our rate": steady(ours_ms + 1),
        }
    }


def test_times_are_held_against_the_baseline_at_the_same_rate(tmp_path: Path) -> None:
    """At half of what ours can do; at half of what the tutorial's can do the share is said, and nothing is wanted."""
    assert 0 == results.write(timed(4), tmp_path / "RESULTS.md")
    written = (tmp_path / "RESULTS.md").read_text()
    assert "| p99 at half of our rate, of the tutorial's at the same | 0.0008 | <= 0.1 | yes |" in written
    assert "| p99 at half of the tutorial's rate, of the tutorial's at the same | 0.12 |  |  |" in written
    assert "| p99.9 at half of our rate, ms | 8.00 | <= 10 | yes |" in written
    assert "| the gateway's share of p99 | 0.20 |  |  |" in written
    assert "| tutorial async, half of our rate | 800 | 2500.00 | 5000.00 | 10000.00 | 99 | 0.50 |" in written


@pytest.mark.parametrize(
    ("said", "line"),
    [
        (timed(600), "| p99 at half of our rate, of the tutorial's at the same | 0.12 | <= 0.1 | no |"),
        (timed(6), "| p99.9 at half of our rate, ms | 12.00 | <= 10 | no |"),
        (timed(4, failed=2), "- 2 requests to fraud, half of our rate, were not answered"),
    ],
)
def test_slow_answers_end_with_1(said: dict[str, Any], line: str, tmp_path: Path) -> None:
    """Ours have to come in time, and have to come; that the tutorial's do not is what is shown."""
    assert 1 == results.write(said, tmp_path / "RESULTS.md")
    assert line in (tmp_path / "RESULTS.md").read_text()


def test_a_short_run_fails_on_what_is_wrong_and_not_on_speed(tmp_path: Path) -> None:
    """It may run on a machine that does other work, without MLServer, and into a folder that is not there yet."""
    out = tmp_path / "report" / "bench.md"
    short = timed(600, failed=2) | {"short": True}
    del short["throughput"]["MLServer, model only 16"]
    assert 0 == results.write(short, out)
    assert "| p99.9 at half of our rate, ms | 1200.00 | <= 10 | no |" in out.read_text()
    assert "A short run" in out.read_text()

    assert 1 == results.write(timed(4, failed=1, errors=1) | {"short": True}, out)
    assert 1 == results.write(seen(3_000, failed=1) | {"short": True}, out)
    assert 1 == results.write(seen(3_000, kinds={"fallback/rules/step_up": 1}) | {"short": True}, out)


def test_generators_stand_beside_each_other(tmp_path: Path) -> None:
    """Two that flood, and the open loop by what it reached; an error that one of them saw is one."""

    def rounds(per_s: float, failed: int = 0) -> list[dict[str, float]]:
        return [{"per_s": per_s, "failed": failed, "p50_ms": 5, "p99_ms": 9, "core": 0.25}]

    said = timed(4) | {"generators": {"wrk": rounds(1_500), "k6": rounds(1_200)}}
    assert 0 == results.write(said, tmp_path / "RESULTS.md")
    written = (tmp_path / "RESULTS.md").read_text()
    assert "| wrk, 16 connections | 1500 | 1500-1500 | 5.00 | 9.00 | 25% |" in written
    assert "| open loop, 800/s | 700 | 700-700 | 2.00 | 4.00 | 20% |" in written
    assert "| throughput by k6, wrk's = 1 | 0.80 |  |  |" in written

    said["generators"]["k6"] = rounds(1_200, failed=3)
    assert 1 == results.write(said, tmp_path / "RESULTS.md")
    assert "- 3 answers to fraud by k6 were errors" in (tmp_path / "RESULTS.md").read_text()


def test_size_start_and_memory_say_what_was_done(tmp_path: Path) -> None:
    """Beside each figure; an image that was not there says which command makes it."""
    images = {"fraud": {"name": "scoregate/fraud:v1", "megabytes": 401.2}}
    started = {"fraud": {"ready_s": 2.5, "resident_mb": 229.0}}
    results.write(seen(3_000) | {"images": images, "started": started}, tmp_path / "RESULTS.md")
    written = (tmp_path / "RESULTS.md").read_text()

    assert f"| fraud | 401 | scoregate/fraud:v1 | {measures.IMAGES['fraud']} |" in written
    assert f"| worker | not measured | `make containers` builds it | {measures.IMAGES['worker']} |" in written
    assert f"| fraud | 2.5 | 229 | {measures.START} |" in written
    assert f"| fraud | 100 | {measures.MEMORY['fraud']} |" in written


def test_both_generators_end_with_the_same_words() -> None:
    """Whatever they say before."""
    said = 'words\nRESULT {"requests":40,"us":2000000,"failed":1,"p50_us":1500,"p99_us":2500,"p999_us":3500}\n'

    assert wrk.Flood(40, 2.0, 1, 1.5, 2.5, 3.5) == wrk.Flood.of(said)


def test_a_drawn_body_is_a_request_once_it_has_an_id() -> None:
    """The generator adds an id and two characters; what comes of it the service takes."""
    paid = {name: value for name, value in EXAMPLE.items() if name != "transaction_id"}
    who = customers.customers([paid], 50)
    drawn = [Request.model_validate_json(line + b'id-7"}') for line in customers.by_zipf(who, 2_000)]
    counts = [sum(one.account_id == each.request["account_id"] for one in drawn) for each in who]

    assert {one.request["device_id"] for one in who} >= {one.device_id for one in drawn}
    assert 50 == len({json.dumps(one.request) for one in who})
    assert max(counts) > 5 * sorted(counts)[25]


def test_a_sample_belongs_to_the_innermost_stage() -> None:
    """What a library that many use takes is its caller's."""
    door = "run (asyncio/runners.py:1);__call__ (scoregate/serving/door.py:1)"
    samples = [
        f"{door};answer (scoregate/deciding.py:1);encode (json/encoder.py:2) 30",
        f"{door};inc (prometheus_client/values.py:3) 10",
        "run (asyncio/runners.py:1) 9",
        "run (nobody/knows.py:1) 1",
    ]
    expected = {"policy and reasons": 600.0, "count": 200.0, "event loop": 180.0, "other": 20.0}

    assert expected == pytest.approx(stages.budget(samples, 1_000.0))


SAMPLED = """
import os, signal, sys, time
def busy(until_s):
    while time.process_time() < until_s:
        pass
os.kill(os.getpid(), signal.SIGUSR1)
busy(time.process_time() + 0.3)
os.kill(os.getpid(), signal.SIGUSR2)
"""


def test_a_worker_samples_itself(tmp_path: Path) -> None:
    """Nearly all of the processor time is found where it went; and a process that is no worker is left alone."""
    script, into = tmp_path / "busy.py", tmp_path / "samples"
    script.write_text(SAMPLED)
    env = {"PYTHONPATH": str(stages.SAMPLER), "SAMPLES": str(into)}
    subprocess.run([sys.executable, str(script), "_bentoml_impl.worker.service"], env=env, check=True)
    seen = [line.rpartition(" ") for line in into.read_text().splitlines()]
    other = subprocess.run([sys.executable, "-c", "import os; os.kill(os.getpid(), 10)"], env=env, check=False)

    assert 150_000 < sum(int(us) for stack, _, us in seen if "busy (" in stack) < 450_000
    assert -signal.SIGUSR1 == other.returncode
