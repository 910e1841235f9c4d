"""Promotion needs passed gates and a person; MLflow keeps who, why, and what of."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import toy
from scoregate.errors import ArtefactCorrupt, ScoregateError
from scoregate.models.artefact import champion
from scoregate.settings import Settings
from scoregate.training import artefact, registry
from scoregate.training.gates import Found, Gate
from scoregate.training.registry import Registry

NAMES = ("data", "leakage", "floor", "champion", "calibration", "fairness", "stability", "golden")
LINEAGE = {"data_digest": "d" * 64, "registry_digest": "r" * 64, "code_version": "0", "read_by": "somebody"}
WHO, WHY = "A. Person", "better in every segment"


@pytest.fixture(scope="module")
def books(tmp_path_factory: pytest.TempPathFactory) -> Registry:
    """One registry for all tests: making its tables takes seconds. Each test has a service of its own."""
    return Registry(Settings(home=tmp_path_factory.mktemp("home")))


def settings_of(books: Registry) -> Settings:
    return books._settings


def made(books: Registry, service: str, *, failing: str | None = None, seed: int = 1) -> str:
    """Write and record an artefact whose gates passed, or all but one."""
    found = [Gate.judged(name, name != failing, 0.5, 0.25, f"the figure of {name} is 0.5") for name in NAMES]
    sample = toy.artefact()
    signature = {
        "service": service,
        "feature_service": "toy_v1",
        "plan": toy.PLAN.as_json(),
        "features": [
            {"name": f.name, "low": f.low, "high": f.high, "median": f.median} for f in sample.signature.features
        ],
        "calibrator": {"a": 1.0, "b": 0.0},
        "training": {"seed": seed},
    }
    files = {
        "model.ubj": toy.booster(),
        "signature.json": artefact.as_bytes(signature),
        "policy.toml": toy.POLICY.encode(),
        "golden.json": b"[]",
        "metrics.json": artefact.as_bytes({"roc_auc": {"value": 0.7, "low": 0.6, "high": 0.8}}),
        registry.GATES: artefact.as_bytes(Found(found, [], {}, {}, {}).as_json()),
    }
    folder = artefact.write(settings_of(books).models(service), files)
    books.record(service, folder, params={"seed": seed}, metrics={"roc_auc": 0.7}, lineage=LINEAGE)
    return folder.name


def test_a_run_holds_figures_and_lineage(books: Registry) -> None:
    """Who read which data, and what came of it, stays with the run of every training."""
    version = books.resolve("lineage", made(books, "lineage"))
    run = books._client.get_run(version.run_id).data

    assert {"roc_auc": 0.7} == run.metrics
    assert "1" == run.params["seed"]
    assert LINEAGE.items() <= run.tags.items()
    assert ("passed", version.version) == (run.tags["gates"], run.tags["digest"])


def test_the_same_artefact_is_one_version(books: Registry) -> None:
    """Trained again it is another run, read by somebody again, of the same version."""
    first = books.resolve("again", made(books, "again"))
    made(books, "again")
    experiment = books._client.get_experiment_by_name("again")
    assert experiment is not None

    assert [first] == books.versions("again")
    assert 2 == len(books._client.search_runs([experiment.experiment_id]))


def test_promotion_makes_a_challenger_and_moves_no_champion(books: Registry) -> None:
    """Eligible is not served: only a canary crowns."""
    version = made(books, "eligible")
    done = books.promote("eligible", version[:6], WHO, WHY)

    assert ("challenger",) == done.aliases
    assert (WHO, WHY) == (done.tags["approved_by"], done.tags["approved_because"])
    assert not (settings_of(books).models("eligible") / "champion").exists()


@pytest.mark.parametrize("failing", NAMES)
def test_a_failed_gate_stops_promotion(books: Registry, failing: str) -> None:
    """Whichever gate failed, no name and no reason helps, neither for a challenger nor for a champion."""
    service = f"failing_{failing}"
    version = made(books, service, failing=failing)
    message = f"{service} {version} is not promoted: the {failing} gate failed: the figure of {failing} is 0.5"
    for promote in (books.promote, books.crown):
        with pytest.raises(ScoregateError, match=message):
            promote(service, version, WHO, WHY)

    assert () == books.resolve(service, version).aliases
    assert not (settings_of(books).models(service) / "champion").exists()
    assert (settings_of(books).models(service) / version / registry.GATES).exists()


def test_gates_are_read_from_the_artefact_itself(books: Registry) -> None:
    """Whoever edits the result breaks the digest: the evidence cannot be talked round."""
    version = made(books, "edited", failing="leakage")
    path = settings_of(books).models("edited") / version / registry.GATES
    path.write_text(path.read_text().replace("failed", "passed"))

    with pytest.raises(ArtefactCorrupt, match=r"gates\.json"):
        books.promote("edited", version, WHO, WHY)


def test_an_artefact_without_gates_is_not_promoted(books: Registry) -> None:
    """No result is no pass."""
    version = made(books, "bare")
    folder = settings_of(books).models("bare") / version
    files = {name: (folder / name).read_bytes() for name in json.loads((folder / "MANIFEST.json").read_text())}
    bare = artefact.write(folder.parent, {k: v for k, v in files.items() if k != registry.GATES})

    with pytest.raises(ScoregateError, match="without gates"):
        registry.gates_of(bare)


@pytest.mark.parametrize(("who", "why"), [("", WHY), ("  ", WHY), (WHO, " ")])
def test_nobody_approves_without_name_and_reason(books: Registry, who: str, why: str) -> None:
    """Somebody answers for it, or it does not happen."""
    version = made(books, "nameless")
    for act in (books.promote, books.crown):
        with pytest.raises(ScoregateError, match="name and a reason"):
            act("nameless", version, who, why)


def test_crowning_moves_what_is_served_and_its_alias(books: Registry) -> None:
    """File and alias name the same version; the challenger is one no more."""
    first, second = made(books, "crowned"), made(books, "crowned", seed=2)
    books.crown("crowned", first, WHO, "the first")
    books.promote("crowned", second, WHO, WHY)
    done = books.crown("crowned", second, WHO, WHY)

    assert ("champion",) == done.aliases
    assert () == books.resolve("crowned", first).aliases
    assert second == champion(settings_of(books).models("crowned")).name
    with pytest.raises(ScoregateError, match="the champion already"):
        books.promote("crowned", second, WHO, WHY)


def test_a_challenger_can_be_demoted_and_a_champion_not(books: Registry) -> None:
    """What is served is replaced by a canary, and not by taking a word away."""
    first, second = made(books, "demoted"), made(books, "demoted", seed=2)
    books.crown("demoted", first, WHO, WHY)
    books.promote("demoted", second, WHO, WHY)
    with pytest.raises(ScoregateError, match="only a canary replaces"):
        books.demote("demoted", first, WHO, WHY)
    done = books.demote("demoted", None, WHO, "slower")

    assert ((), "slower") == (done.aliases, done.tags["demoted_because"])
    with pytest.raises(ScoregateError, match="has no challenger"):
        books.demote("demoted", None, WHO, WHY)


def test_a_version_that_nobody_made_is_named(books: Registry) -> None:
    """A misspelt digest promotes nothing."""
    version = made(books, "known")
    with pytest.raises(ScoregateError, match=f"0 versions of known are called zzz; there are {version}"):
        books.promote("known", "zzz", WHO, WHY)


def test_the_database_is_for_its_owner_alone(books: Registry) -> None:
    """It names approvers and what data was read."""
    path = settings_of(books).home / "mlflow.db"

    assert 0o600 == path.stat().st_mode & 0o777


def test_mlflow_reports_to_nobody(books: Registry) -> None:
    """Whoever opens the registry has its telemetry switched off."""
    assert os.environ["MLFLOW_DISABLE_TELEMETRY"] == "true"


def test_another_server_may_keep_the_records(tmp_path: Path) -> None:
    """SQLite in the state folder is the default, not the rule."""
    settings = Settings(home=tmp_path)

    assert f"sqlite:///{tmp_path.resolve() / 'mlflow.db'}" == settings.mlflow
    assert "http://mlflow:5000" == settings.model_copy(update={"mlflow_url": "http://mlflow:5000"}).mlflow
