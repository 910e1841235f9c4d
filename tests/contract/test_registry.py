"""The registry in a database is the registry in a file: what Feast puts into either is read as the same plans."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from postgres import Server, postgres  # noqa: F401  a fixture
from scoregate.features.plan import compile_plan, services
from scoregate.features.registry import RegistryUnreachable, registry_of
from scoregate.settings import ROOT, Settings


def applied(home: Path, **more: str) -> None:
    """Run what the cluster's Job runs."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("SCOREGATE_")}
    command = [sys.executable, "-m", "scoregate", "features", "apply"]
    done = subprocess.run(
        command,
        cwd=ROOT / "services",
        env={**env, "SCOREGATE_HOME": str(home), **more},
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()


def test_a_database_holds_what_a_file_holds(postgres: Server, tmp_path: Path) -> None:  # noqa: F811
    """The repository of this checkout, applied to both, and to the database once more: the same services and plans."""
    name = f"registry_{uuid.uuid4().hex[:12]}"
    postgres.run(f"CREATE DATABASE {name}")
    url = postgres.url.removesuffix("postgres") + name
    applied(tmp_path)
    for _ in range(2):
        applied(tmp_path / "nothing", SCOREGATE_REGISTRY_URL=url)
    file = registry_of(Settings(home=tmp_path))
    database = registry_of(Settings(home=tmp_path, registry_url=url))

    assert ["credit_v1", "fraud_v1", "kyc_v1"] == services(file) == services(database)
    for service in services(file):
        assert compile_plan(file, service) == compile_plan(database, service)
    assert [] == services(registry_of(Settings(home=tmp_path, registry_url=url, project="another")))


def test_a_database_that_is_not_there_is_said_without_its_address(tmp_path: Path) -> None:
    """Whoever reads the log learns what is wrong, and no password."""
    with pytest.raises(RegistryUnreachable) as told:
        registry_of(Settings(home=tmp_path, registry_url="postgresql://user:secret@127.0.0.1:1/registry"))

    assert "the feature registry's database: ConnectionRefusedError" == told.value.detail
