"""Which model a service would serve, read from the artefact's own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scoregate.local.champions import Champion, champion_of
from scoregate.settings import Settings


def write(home: Path, metrics: object) -> Settings:
    folder = home / "models" / "fraud" / "0123456789ab"
    folder.mkdir(parents=True)
    (folder.parent / "champion").write_text("0123456789ab\n")
    (folder / "metrics.json").write_text(json.dumps(metrics))
    return Settings(home=home)


def test_headline_has_its_interval(tmp_path: Path) -> None:
    """The metric is shown with its 95 % interval."""
    settings = write(tmp_path, {"headline": {"name": "ROC-AUC", "value": 0.9114, "low": 0.9, "high": 0.921}})

    assert Champion("0123456789ab", "ROC-AUC 0.911 [0.900, 0.921]") == champion_of(settings, "fraud")


@pytest.mark.parametrize("metrics", [{}, {"headline": None}, {"headline": {"name": "ROC-AUC"}}])
def test_model_without_headline_is_still_a_model(tmp_path: Path, metrics: object) -> None:
    """Metrics that are not there are shown as such."""

    assert Champion("0123456789ab", "-") == champion_of(write(tmp_path, metrics), "fraud")


def test_service_without_model_has_no_champion(tmp_path: Path) -> None:
    """Nothing trained, and a champion whose folder was deleted, both mean: train."""
    settings = Settings(home=tmp_path)
    settings.models("kyc").mkdir(parents=True)
    (settings.models("kyc") / "champion").write_text("gone")

    assert [None, None] == [champion_of(settings, "fraud"), champion_of(settings, "kyc")]
