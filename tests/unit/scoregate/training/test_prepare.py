"""How settings become Feast's configuration."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from scoregate.settings import ROOT, Settings
from scoregate.training.repository import REPO, connection_string, repo_config


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://127.0.0.1:6390/0", "127.0.0.1:6390,db=0"),
        ("redis://store", "store:6379,db=0"),
        ("rediss://user:p%40ss@store:1/3", "store:1,db=3,username=user,password=p@ss,ssl=true"),
    ],
)
def test_a_store_url_becomes_a_connection_string(url: str, expected: str) -> None:
    """Host, port, database, credentials and TLS of the one setting reach Feast."""
    assert expected == connection_string(url)


def test_the_command_line_of_feast_means_the_default_stack(monkeypatch: pytest.MonkeyPatch) -> None:
    """`feature_store.yaml` says what the default settings say, only relative to its own folder."""
    for name in ("HOME", "STORE_URL", "PROJECT", "REGISTRY"):
        monkeypatch.delenv(f"SCOREGATE_{name}", raising=False)
    said = yaml.safe_load((REPO / "feature_store.yaml").read_text())

    config = repo_config(Settings())

    assert said["project"] == config.project
    assert said["entity_key_serialization_version"] == config.entity_key_serialization_version
    assert (REPO / said["registry"]).resolve() == Path(config.registry.path)
    assert said["online_store"]["connection_string"] == config.online_store.connection_string
    assert said["offline_store"]["type"] == config.offline_store.type
    assert (REPO / said["offline_store"]["root"]).resolve() == Path(config.offline_store.root)
    assert ROOT / "feature_repo" == REPO
