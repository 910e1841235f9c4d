"""Which model a service would serve, read from the artefact's own files."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scoregate.contract import Identifier, ScoreRequest
from scoregate.local.champions import Champion, champion_of, example_of
from scoregate.models.tabular import Column, Tabular
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


def test_a_champion_of_own_columns_brings_an_example_of_its_own(tmp_path: Path) -> None:
    """Usual numbers and words and nobody's record; any other champion answers what its service's contract says."""
    settings = write(tmp_path, {})
    folder = settings.models("fraud") / "0123456789ab"
    assert {"amount": 1} == example_of(settings, "fraud", {"amount": 1})

    columns = (
        Column("income", "number", "income", ("unknown",)),
        Column("home", "category", "home", ("rent", "own")),
        Column("insured", "flag", "insured"),
        Column("seen", "number", "seen"),
    )
    tabular = Tabular(columns)
    medians = {"income": 1_200.0}
    features = [{"name": name, "median": medians.get(name)} for name in tabular.FEATURES]
    (folder / "columns.json").write_text(json.dumps(tabular.as_json()))
    (folder / "signature.json").write_text(json.dumps({"features": features}))
    found = example_of(settings, "fraud", {"amount": 1})

    assert {"income": 1_200.0, "home": "rent", "insured": False} == found["facts"]
    assert tabular.request_type(ScoreRequest, Identifier).model_validate(found).facts == found["facts"]
