"""The registry and a running version: what is unrelated never takes it down, what is its own does."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from conftest import ROOT, Stack
from scoregate import catalog

SERVICE = "fraud"

UNRELATED = """
from datetime import timedelta
from feast import Entity, FeatureService, FeatureView, Field, FileSource, ValueType
from feast.types import Int64
from account_features import account_profile, account_tiles
branch = Entity(name="branch", join_keys=["branch_id"], value_type=ValueType.STRING)
branch_facts = FeatureView(
    name="branch_facts", entities=[branch], ttl=timedelta(days=1), schema=[Field(name="tellers", dtype=Int64)],
    source=FileSource(name="branches", path="branches.parquet", timestamp_field="event_timestamp"),
)
fraud_v2 = FeatureService(name="fraud_v2", features=[account_profile, account_tiles, branch_facts])
"""

APPLY = """
import sys
from pathlib import Path
from feast.repo_operations import apply_total
from scoregate.settings import Settings
from scoregate.training.repository import repo_config
repo = Path(sys.argv[1])
sys.path.append(str(repo))
apply_total(repo_config(Settings()), repo, skip_source_validation=True)
"""


def apply(stack: Stack, repo: Path) -> None:
    """Do what `feast apply` does in a repository, to the stack's registry."""
    done = subprocess.run(
        [sys.executable, "-c", APPLY, str(repo)], env=stack.env, cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def readyz(stack: Stack) -> httpx.Response:
    """Ask the service itself: the gateway does not route health paths."""
    port = int(stack.env["SCOREGATE_BASE_PORT"]) + 1 + catalog.services().index(SERVICE)
    return httpx.get(f"http://127.0.0.1:{port}/readyz?verbose", timeout=60)


@pytest.fixture
def repo(stack: Stack, tmp_path: Path) -> Iterator[Path]:
    """A copy of the feature repository; afterwards the registry is as it was, and the service ready."""
    copy = tmp_path / "repo"
    shutil.copytree(ROOT / "feature_repo", copy, ignore=shutil.ignore_patterns("__pycache__"))
    yield copy
    apply(stack, ROOT / "feature_repo")
    assert stack.scoregate("restart", SERVICE).returncode == 0


def test_an_unrelated_view_and_a_next_version_change_nothing(stack: Stack, repo: Path) -> None:
    """fraud_v1 stays ready after a restart when something else, and a fraud_v2, are applied."""
    (repo / "branch_features.py").write_text(UNRELATED)
    apply(stack, repo)
    restarted = stack.scoregate("restart", SERVICE)

    assert (0, 200) == (restarted.returncode, readyz(stack).status_code), restarted.stderr
    assert [] == readyz(stack).json()["degraded"]


def test_a_changed_dtype_of_its_own_is_never_served(stack: Stack, repo: Path) -> None:
    """One dtype of a view that fraud_v1 reads differs: a new process is refused and told why, the old serves."""
    file = repo / "account_features.py"
    text = file.read_text()
    assert '"opened_at": Int64' in text
    file.write_text(text.replace('"opened_at": Int64', '"opened_at": String'))
    apply(stack, repo)
    restarted = stack.scoregate("restart", SERVICE)

    assert 0 != restarted.returncode
    assert "account_profile" in restarted.stderr
    assert "opened_at" in restarted.stderr
    assert 200 == readyz(stack).status_code
