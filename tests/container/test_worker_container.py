"""The image of the worker: what is in it, how it runs, and what a service's next decision knows because of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis import Redis

from container import engine
from container.conftest import WORKER
from fraud.features import FEATURES
from scoregate import __version__
from stack.running import eventually

REBUILD_S = 300.0
"""More than a lost store takes to be filled on a busy machine."""
FRESH: dict[str, list[str]] = {"stale": [], "missing": [], "supplied": [], "outside": []}
READ = "import sys, urllib.request as u; print(u.urlopen('http://127.0.0.1:3001' + sys.argv[1]).read().decode())"
ASK = f'python -c "{READ}" /readyz 2>/dev/null'


def seen(service: engine.Service, decision_id: str) -> tuple[float | None, str | None]:
    """What a decision knew of its account: payments in 30 days, and the id of the last event counted in the tiles."""
    entry = json.loads(service.sh(f"python -m scoregate ledger show {decision_id}"))
    named = dict(zip(FEATURES, entry["vector"].values(), strict=True))
    return named["account_count_30d"], entry["ages"]["account_tiles"][2]


def decide(service: engine.Service) -> dict[str, Any]:
    answer: dict[str, Any] = service.post(service.fresh()).json()
    return answer


def known(service: engine.Service) -> float | None:
    """How many payments of the account the next decision knows of; None while something is stale or missing."""
    answer = decide(service)
    return seen(service, answer["decision_id"])[0] if answer["features"] == FRESH else None


def test_the_next_decision_knows_of_the_last_one(service: engine.Service) -> None:
    """A payment that was scored is counted by the worker, and is there when the account pays again."""
    before, version = seen(service, decide(service)["decision_id"])
    eventually(lambda: (known(service) or 0) > (before or 0))
    _, later = seen(service, decide(service)["decision_id"])

    assert later != version


def test_a_lost_store_is_filled_again(service: engine.Service, ports: dict[str, int]) -> None:
    """Flushed, features are missing and never zero; the worker fills it, and what was decided meanwhile counts once."""
    counts: list[float | None] = [None]

    def none_on_its_way() -> bool:
        counts.append(known(service))
        return None not in counts[-2:] and counts[-1] - counts[-2] == 1  # type: ignore[operator]

    eventually(none_on_its_way)
    before, decided = counts[-1], len(counts)
    with service.paused("worker"), Redis(port=ports["VALKEY_PORT"]) as store:
        store.flushall()
        blind = decide(service)
    eventually(lambda: service.sh(ASK, "worker").strip() == "ok", REBUILD_S)
    eventually(none_on_its_way, REBUILD_S)

    assert "account_tiles" in blind["features"]["missing"]
    # All that were asked since, and the blind one.
    assert counts[-1] == before + (len(counts) - decided) + 1  # type: ignore[operator]


def test_features_are_stale_without_it(service: engine.Service) -> None:
    """Where nobody counts, an answer says that its features are old; back again, they are fresh."""
    service.stop("worker")
    try:
        eventually(lambda: "account_tiles" in decide(service)["features"]["stale"])
    finally:
        service.up("worker")
    eventually(lambda: decide(service)["features"] == FRESH)


def test_sigterm_ends_it_well(service: engine.Service) -> None:
    """On SIGTERM it writes what it has, lets go, and ends with exit code 0."""
    service.signal("worker", "SIGTERM")
    try:
        eventually(lambda: not service.inspect("worker")["State"]["Running"])
        state = service.inspect("worker")["State"]
    finally:
        service.up("worker")

    assert (0, False) == (state["ExitCode"], state["OOMKilled"])


def test_it_says_what_it_counted(service: engine.Service) -> None:
    """Metrics, life and readiness on its own port."""

    def said(path: str) -> str:
        return service.sh(f'python -c "{READ}" {path}', "worker").strip()

    decide(service)

    assert ("ok", "ok") == (said("/livez"), said("/readyz"))
    eventually(lambda: 'stream="transactions"' in said("/metrics"))


def test_it_runs_with_no_rights(service: engine.Service) -> None:
    """Not root, no capability, no way to get one; process 1 is the worker itself."""
    status = service.sh("cat /proc/1/status", "worker")
    found = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    command = service.sh("tr '\\0' ' ' < /proc/1/cmdline", "worker")

    assert ("10001", "0" * 16, "1") == (found["Uid"].split()[0], found["CapEff"], found["NoNewPrivs"])
    assert "scoregate features run" in command


@pytest.mark.parametrize("folder", ["/", "/app/services/scoregate", "/models", "/opt/venv", "/var/lib/scoregate"])
def test_it_can_write_nothing_but_data(service: engine.Service, folder: str) -> None:
    """The root is read-only; only the folder of data is not."""
    assert "refused" == service.sh(f"touch {folder}/new 2>/dev/null && echo written || echo refused", "worker").strip()


def test_the_image_runs_as_nobody_without_being_told(images: None) -> None:
    """User, health check, version and licence are the image's own."""
    config = json.loads(engine.run("docker", "image", "inspect", WORKER))[0]["Config"]
    label = "org.opencontainers.image."

    assert "10001:10001" == config["User"]
    assert "/livez" in config["Healthcheck"]["Test"][-1]
    assert (__version__, "Apache-2.0") == (config["Labels"][label + "version"], config["Labels"][label + "licenses"])


@pytest.mark.parametrize("program", ["gcc", "cc", "g++", "ld", "as", "make", "pip", "pip3", "wheel"])
def test_the_image_has_no_tools_to_build_with(service: engine.Service, program: str) -> None:
    """Who gets in finds nothing to build or install with."""
    assert "none" == service.sh(f"command -v {program} || echo none", "worker").strip()


@pytest.mark.parametrize("module", ["pip", "setuptools", "bentoml", "treelite", "feast", "xgboost", "pandas", "duckdb"])
def test_the_image_has_nothing_that_others_need(service: engine.Service, module: str) -> None:
    """It can neither serve nor train."""
    script = f"import importlib.util as u; print(u.find_spec({module!r}))"

    assert "None" == service.sh(f'python -c "{script}"', "worker").strip()


def test_a_start_compiles_nothing(service: engine.Service) -> None:
    """All bytecode is in the image: a read-only root could not keep it, and every start would pay for it."""
    modules = "scoregate.streaming.run, scoregate.training.backfill, pyarrow.parquet, fraud.events"
    told = service.sh(f"python -v -c 'import {modules}' 2>&1 | grep '^# code object from'", "worker")
    origins = [line.removeprefix("# code object from ").strip("'") for line in told.splitlines()]

    assert origins
    assert [] == [origin for origin in origins if origin.endswith(".py")]
