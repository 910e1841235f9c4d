"""A service, its online store and the worker in containers, made from this checkout and a home with a champion."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import free_ports
from container import engine
from fraud.contract import EXAMPLE
from scoregate import __version__, catalog
from scoregate.local.credentials import ensure_credentials
from scoregate.models.artefact import CHAMPION, champion
from scoregate.settings import Settings

FOLDER = Path(__file__).resolve().parent
PARTS = {name: f"scoregate-test/{name}" for name in ("valkey", "postgres", "traefik", "prometheus")}
"""What others make, each a target of parts.Dockerfile."""
VALKEY = PARTS["valkey"]
FRAUD = "scoregate-test/fraud"
WORKER = "scoregate-test/worker"
FEATURES = "scoregate-test/features"


@pytest.fixture(scope="session", autouse=True)
def running_engine() -> None:
    """These tests are asked for by name: without an engine they fail, they are not skipped."""
    if not engine.answers():
        pytest.fail(engine.NO_ENGINE, pytrace=False)


@pytest.fixture(scope="session")
def images(running_engine: None) -> None:
    """All images but those of the whole stack; they stay when the tests are over, so that the next run has them."""
    engine.build_part("valkey", VALKEY)
    version = ("--build-arg", f"VERSION={__version__}")
    engine.build(FRAUD, "--build-arg", "SERVICE=fraud", *version, ".")
    engine.build(WORKER, "--target", "worker", *version, ".")
    engine.build(FEATURES, "--target", "features", *version, ".")


@pytest.fixture(scope="session")
def deployed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the containers mount; empty until there is a model."""
    folder = tmp_path_factory.mktemp("deployed")
    for name in ("models", "secrets", "data"):
        (folder / name).mkdir()
    return folder


@pytest.fixture(scope="session")
def ports() -> dict[str, int]:
    """Ports of this machine, the same after a restart of a container."""
    return dict(zip(("VALKEY_PORT", "FRAUD_PORT"), free_ports(2), strict=True))


@pytest.fixture(scope="session")
def docker_compose_file() -> str:
    return str(FOLDER / "compose.yaml")


@pytest.fixture(scope="session")
def docker_compose_command(tmp_path_factory: pytest.TempPathFactory, deployed: Path, ports: dict[str, int]) -> str:
    """Compose, with the values that compose.yaml leaves open."""
    images = {"VALKEY_IMAGE": VALKEY, "FRAUD_IMAGE": FRAUD, "WORKER_IMAGE": WORKER}
    values = {**images, "DEPLOYED": deployed, **ports}
    file = tmp_path_factory.mktemp("compose") / "values.env"
    file.write_text("".join(f"{name}={value}\n" for name, value in values.items()))
    return f'docker compose --progress quiet --env-file "{file}"'


@pytest.fixture(scope="session")
def docker_setup(images: None) -> list[str]:
    """The store alone: the service waits for what is loaded into it and trained from it."""
    return ["up --detach --wait --no-build valkey"]


@pytest.fixture(scope="session")
def docker_cleanup() -> list[str]:
    return ["down --volumes --timeout 10"]


@pytest.fixture(scope="session")
def home(docker_services: Any, ports: dict[str, int], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with a champion for each service, whose features are in the container's store.

    One that a developer keeps between runs saves data and training; its own store is filled anew when it is next used.
    """
    kept = os.environ.get("SCOREGATE_TEST_HOME")
    folder = Path(kept) if kept else tmp_path_factory.mktemp("home")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("SCOREGATE_", "OTEL_"))}
    env |= {
        "SCOREGATE_HOME": str(folder),
        "SCOREGATE_STORE_URL": f"redis://127.0.0.1:{ports['VALKEY_PORT']}/0",
        "SCOREGATE_TRAIN_ROWS": "8000",
    }
    engine.run(sys.executable, "-m", "scoregate", "features", "load", env=env, timeout_s=600)
    for name in catalog.services():
        if not (folder / "models" / name / CHAMPION).exists():
            engine.run(sys.executable, "-m", "scoregate", "train", name, env=env, timeout_s=600)
    return folder


@pytest.fixture(scope="session")
def service(docker_services: Any, deployed: Path, home: Path, ports: dict[str, int]) -> engine.Service:
    """The running service, on features that the worker keeps fresh. A test that stops something starts it again."""
    settings = Settings(home=home)
    key = ensure_credentials(settings)
    shutil.copytree(champion(settings.models("fraud")), deployed / "models" / "fraud")
    shutil.copy(settings.registry_path, deployed / "models")
    for secret in (settings.keys_path, settings.hash_key_path):
        shutil.copy(secret, deployed / "secrets")
    # Whatever Feast alone reads stays here: it is most of the history.
    skipped = shutil.ignore_patterns("tiles")
    shutil.copytree(settings.data, deployed / "data", dirs_exist_ok=True, ignore=skipped)
    # As root of this machine wrote it, another user could not use it. Nobody comes this far: pytest keeps the folder
    # above to the one who runs it.
    engine.run("chmod", "--recursive", "a+rX", str(deployed / "models"), str(deployed / "secrets"))
    engine.run("chmod", "--recursive", "a+rwX", str(deployed / "data"))
    running = engine.Service(docker_services._docker_compose, f"http://127.0.0.1:{ports['FRAUD_PORT']}", key, EXAMPLE)
    running.up("worker")
    running.up("fraud")
    return running
