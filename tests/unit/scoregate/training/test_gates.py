"""Each gate stops a model that was made to fail it, and lets a sound one pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from scoregate.errors import ScoregateError
from scoregate.features.plan import FeaturePlan, ViewPlan
from scoregate.training import ByTime, Problem, drift, gates
from scoregate.training.alone import alone, known_early
from scoregate.training.dataset import DAY_US, Dataset
from scoregate.training.evaluate import measure_drawn
from scoregate.training.fairness import fairness
from scoregate.training.gates import Bounds, Gate
from scoregate.training.resample import Draws, Measured

ROWS, DAYS = 4_000, 40
NAMES = ("amount", "count_1d")
US = pa.timestamp("us", tz="UTC")
PLAN = FeaturePlan(
    "toy_v1", "test", (ViewPlan("payer_tiles", "tiles", "payments", ("payer_id",), (("hours", "int64_list"),), 60.0),)
)
BOUNDS = Bounds()


def records(*, last_event_s: float = -60.0, **columns: np.ndarray) -> Dataset:
    """Forty days of requests; two honest features, and whatever columns are planted."""
    rng = np.random.default_rng(1)
    # The last ten days are tested on, after a gap of three.
    day = np.where(np.arange(ROWS) < 3_000, rng.uniform(0, DAYS - 13, ROWS), rng.uniform(DAYS - 10, DAYS, ROWS))
    at = np.sort((day * DAY_US).astype(np.int64)) + 20_000 * DAY_US
    label = (rng.random(ROWS) < 0.1).astype(np.int64)
    matrix = np.stack(
        [rng.lognormal(8, 1, ROWS) * (1 + label), rng.poisson(2 + label, ROWS), *columns.values()], axis=1
    )
    rows = pa.table(
        {
            "event_at": pa.array(at).cast(US),
            "is_bad": pa.array(label.astype(bool)),
            "label_at": pa.array(at + 2 * DAY_US, mask=label == 0).cast(US),
        }
    )
    fold = np.where(np.arange(ROWS) < 3_000, np.arange(ROWS) % 3, -1)
    return Dataset(
        plan=PLAN,
        rows=rows,
        views=pa.table({"payer_tiles__last_event_us": pa.array(at + int(last_event_s * 1e6))}),
        matrix=matrix.astype(np.float64),
        label=label,
        learned=label,
        ripe=np.ones(ROWS),
        weight=np.ones(ROWS),
        fold=fold,
        turns=(0, 1, 2),
    )


PROBLEM = Problem(
    load=lambda _: pa.table({}),
    label="is_bad",
    known_at="label_at",
    split=ByTime(train_days=27, gap_days=3, test_days=10),
    headline="roc_auc",
    parameters={},
)


def scored(*, seed: int = 2, skill: float = 2.0, rows: int = 2_000) -> tuple[Any, Any, Any, Draws]:
    """Labels drawn from their own scores: calibrated, and more telling with more skill."""
    rng = np.random.default_rng(seed)
    score = 1 / (1 + np.exp(2 - skill * rng.normal(size=rows)))
    label = (rng.random(rows) < score).astype(np.int64)
    return label, score, np.ones(rows), Draws.of(rows, 1, resamples=100)


def test_data_that_fails_its_checks_is_stopped() -> None:
    """The sentence says which check, and what was observed; no other gate can make up for it."""
    good, bad = {"check": "a", "ok": True, "observed": ""}, {"check": "id is unique", "ok": False, "observed": "2 of 9"}

    assert gates.data([good]).status == "passed"
    assert gates.data([good, bad]) == Gate(
        "data", "failed", 1.0, 0.0, "1 of 2 data checks failed: id is unique: 2 of 9"
    )


def test_a_planted_leak_is_caught() -> None:
    """A column that was written after the outcome is named with its figure; honest ones pass."""
    honest = records()
    planted = honest.label + np.random.default_rng(3).normal(0, 0.2, ROWS)
    stopped = gates.leakage(alone(records(refund=planted), (*NAMES, "refund")), {}, BOUNDS)

    assert gates.leakage(alone(honest, NAMES), {}, BOUNDS).status == "passed"
    assert (stopped.status, stopped.bound) == ("failed", 0.97)
    assert stopped.figure is not None
    assert stopped.figure > 0.99
    assert "refund alone has a ROC-AUC" in stopped.sentence


def test_without_labels_nobody_can_say_what_leaks() -> None:
    """The gate is skipped, and does not pass as if it had looked."""
    data = records()
    unlabelled = Dataset(**{**{f: getattr(data, f) for f in data.__slots__}, "label": np.zeros_like(data.label)})

    assert "skipped" == gates.leakage(alone(unlabelled, NAMES), {}, BOUNDS).status


def test_a_leak_that_is_only_there_for_some_of_the_bad_is_caught() -> None:
    """Set for four in five bad records and for no good one, it ranks no more than well, but never errs."""
    honest = records()
    some = np.where((honest.label > 0) & (np.random.default_rng(3).random(ROWS) < 0.8), 1.0, np.nan)
    found = alone(records(chargeback=some), (*NAMES, "chargeback"))
    stopped = gates.leakage(found, {}, BOUNDS)

    assert found["chargeback"][0] < BOUNDS.alone_auc
    assert stopped.status == "failed"
    assert "chargeback alone has a recall at 0.1 % false positives" in stopped.sentence


def test_a_feature_may_predict_alone_only_for_a_reason() -> None:
    """What a person allows stands in the evidence."""
    bounds = Bounds(allowed={"refund": "known at the time"})
    gate = gates.leakage({"refund": (1.0, 1.0), "amount": (0.6, 0.1)}, {}, bounds)

    assert gate.status == "passed"
    assert "refund is allowed: known at the time" in gate.sentence


def test_a_feature_newer_than_its_request_is_caught() -> None:
    """A tile that holds the request itself, or anything later, knows the future."""
    assert {"an event of payer_tiles": 0} == {k: v for k, v in known_early(records(), PROBLEM).items() if "tiles" in k}
    early = known_early(records(last_event_s=0.0), PROBLEM)
    stopped = gates.leakage({"amount": (0.6, 0.1)}, early, BOUNDS)

    assert early["an event of payer_tiles"] == ROWS
    assert (stopped.status, stopped.figure) == ("failed", float(ROWS))
    assert "an event of payer_tiles in 4,000 records" in stopped.sentence


def test_a_label_that_training_could_not_have_known_is_caught() -> None:
    """It counts as good in training until it arrives; learnt before, it comes from the test period."""
    data = records()
    late = data.rows.set_column(2, "label_at", pa.array(np.full(ROWS, (20_000 + DAYS) * DAY_US)).cast(US))
    moved = Dataset(**{**{f: getattr(data, f) for f in data.__slots__}, "rows": late})

    assert known_early(data, PROBLEM)["a label that training learnt"] == 0
    assert known_early(moved, PROBLEM)["a label that training learnt"] == int(data.learned[data.train].sum())


def test_a_model_below_the_floor_is_stopped() -> None:
    """The end of the interval counts: what may be chance is not claimed."""
    bounds = Bounds(floor={"roc_auc": 0.6, "ece": 0.1})
    fine = {"roc_auc": Measured(0.7, 0.65, 0.75), "ece": Measured(0.02, 0.01, 0.05)}

    assert gates.floor(fine, bounds).status == "passed"
    below = gates.floor({**fine, "roc_auc": Measured(0.65, 0.59, 0.7)}, bounds)
    assert (below.status, below.figure, below.bound) == ("failed", 0.59, 0.6)
    assert gates.floor({**fine, "ece": Measured(0.09, 0.05, 0.11)}, bounds).status == "failed"
    assert gates.floor({"gini": Measured(0.1, 0.0, 0.2)}, bounds).status == "skipped"


def test_a_model_worse_than_the_champion_is_stopped() -> None:
    """On the same records, by a paired bootstrap: more noise in the score loses, the same score does not."""
    label, score, weight, drawn = scored()
    noisy = np.clip(score + np.random.default_rng(4).normal(0, 0.3, len(score)), 0, 1)

    def against(mine: Any, theirs: Any) -> Gate:
        return gates.champion("roc_auc", label, mine, theirs, weight, drawn, BOUNDS, "0123")

    assert against(score, score).status == "passed"
    assert against(score, noisy).status == "passed"
    stopped = against(noisy, score)
    assert (stopped.status, stopped.bound) == ("failed", -0.02)
    assert "the champion 0123 on the same 2,000 records: -0." in stopped.sentence


def test_a_lower_brier_score_beats_the_champion() -> None:
    """Less is better for errors: the sign follows the metric."""
    label, score, weight, drawn = scored()
    worse = np.clip(score + 0.3, 0, 1)

    assert gates.champion("brier", label, score, worse, weight, drawn, BOUNDS, "").status == "passed"
    assert gates.champion("brier", label, worse, score, weight, drawn, BOUNDS, "").status == "failed"


@pytest.mark.parametrize("change", [lambda s: s / 2, lambda s: np.where(s > 0.3, 0.9, 0.02)])
def test_scores_that_are_no_probabilities_are_stopped(change: Any) -> None:
    """Half of what happens is wrong in the large, exaggeration is wrong bin by bin."""
    label, score, weight, drawn = scored()

    def judged(score: Any) -> Gate:
        ece = measure_drawn(label, score, weight, drawn)["ece"]
        return gates.calibration(ece, label, score, weight, drawn, BOUNDS)

    assert judged(score).status == "passed"
    assert judged(change(score)).status == "failed"


def fair(approve_b: float, *, small: bool = False) -> dict[str, Any]:
    rng = np.random.default_rng(5)
    group = np.where(np.arange(2_000) % (40 if small else 2) == 0, "b", "a")
    approved = rng.random(2_000) < np.where(group == "b", approve_b, 0.8)
    label = (rng.random(2_000) < 0.2).astype(np.int64)
    return fairness(
        {"origin": group.tolist()},
        approved=approved,
        bad=label,
        score=np.full(2_000, 0.2),
        weight=np.ones(2_000),
        draws=Draws.of(2_000, 1, resamples=100),
    )


def test_a_model_that_refuses_one_segment_more_often_is_stopped() -> None:
    """Below four fifths with the whole interval; a small cell that may be there by chance passes."""
    stopped = gates.fairness(fair(0.4), BOUNDS)

    assert (stopped.status, stopped.bound) == ("failed", 0.8)
    assert "adverse-impact ratio of origin b: 0.4" in stopped.sentence
    assert gates.fairness(fair(0.8), BOUNDS).status == "passed"
    assert gates.fairness(fair(0.6, small=True), BOUNDS).status == "passed"
    assert gates.fairness(None, BOUNDS).status == "skipped"


@pytest.mark.parametrize(("approve_b", "is_near"), [(0.62, True), (0.8, False)])
def test_a_bound_within_the_interval_is_no_proof_of_fairness(approve_b: float, *, is_near: bool) -> None:
    """The gate passes, and says that it could not tell; a segment above the bound has nothing said of it."""
    gate = gates.fairness(fair(approve_b), BOUNDS)

    assert ("passed", is_near, is_near) == (gate.status, (gate.figure or 0) < 0.8, "too near to tell" in gate.sentence)


def test_a_person_may_accept_a_segment_for_a_reason() -> None:
    """The gate passes, and says what was accepted and why; another segment is still asked."""
    accepted = gates.fairness(fair(0.4), Bounds(accepted={"origin b": "law 7 asks for it"}))

    assert accepted.status == "passed"
    assert "origin b: 0.4" in accepted.sentence
    assert "accepted: law 7 asks for it" in accepted.sentence
    assert gates.fairness(fair(0.4), Bounds(accepted={"origin c": "no"})).status == "failed"


def test_records_that_moved_are_stopped() -> None:
    """A feature or a score that is distributed otherwise in the test period is named with its PSI."""
    data = records()
    steady = drift.of_features(data, NAMES)
    data.matrix[data.test, 1] += 3
    moved = drift.of_features(data, NAMES)

    assert gates.stability({}, steady, BOUNDS).status == "passed"
    stopped = gates.stability({}, moved, BOUNDS)
    assert (stopped.status, stopped.bound) == ("failed", 0.25)
    assert "count_1d" in stopped.sentence
    assert gates.stability({}, moved, Bounds(drifting={"count_1d": "it grows by itself"})).status == "passed"


def test_a_fold_whose_scores_differ_is_stopped() -> None:
    """A model that scores one stretch of time otherwise than the rest is not stable, whatever its mean."""
    data = records()
    score = np.random.default_rng(6).beta(1, 8, ROWS)
    assert gates.stability(drift.of_score(data, score), {}, BOUNDS).status == "passed"

    score[data.fold == 2] = 1 - score[data.fold == 2]
    stopped = gates.stability(drift.of_score(data, score), {}, BOUNDS)
    assert stopped.status == "failed"
    assert "the score in fold 3" in stopped.sentence


def test_missing_values_are_a_bin_of_their_own() -> None:
    """A feature that is no longer filled has moved, though what is there has not."""
    rng = np.random.default_rng(7)
    before, after = rng.normal(size=2_000), rng.normal(size=2_000)
    one = np.ones(2_000)
    assert drift.psi(before, after, one, one) < 0.02

    after[:600] = np.nan
    assert drift.psi(before, after, one, one) > 0.25


@pytest.mark.parametrize(("differences", "status"), [([0.0, 1e-9], "passed"), ([0.0, 1e-3], "failed"), ([], "failed")])
def test_golden_scores_that_do_not_come_out_again_are_stopped(differences: list[float], status: str) -> None:
    """A model that scores otherwise elsewhere, or has nothing to show it by, is not served."""
    assert status == gates.golden(differences, 1e-6).status
    assert gates.golden([float("nan")], 1e-6).status == "failed"


def test_the_first_gate_that_failed_is_named() -> None:
    """Skipped gates stop nothing; gates read back from an artefact as they were written."""
    found = [
        Gate.skipped("champion", "none"),
        Gate.judged("data", False, 1, 0, "x"),
        Gate.judged("golden", False, 1, 0, "y"),
    ]
    written = gates.Found(found, [], {}, {}, {}).as_json()

    assert gates.first_failed(found) == found[1]
    assert not written["passed"]
    assert found == gates.from_json(written)
    assert gates.passed(found[:1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("floor = ", "gates.toml"),
        ("flor = 1", "no gate knows: flor"),
        ("[floor]\nluck = 1", "nobody measures: luck"),
        ('[accepted]\n"age young" = "we like it so"', "accepts age young without"),
        ('[accepted]\n"age young" = {by = " ", why = "we like it so"}', "accepts age young without"),
    ],
)
def test_bounds_that_mean_nothing_are_refused(text: str, message: str) -> None:
    """A misspelt bound would be no bound, and an acceptance without a reason is none."""
    with pytest.raises(ScoregateError, match=message):
        Bounds.from_toml(text)


def test_bounds_are_the_library_s_unless_said() -> None:
    """A service says only what differs."""
    bounds = Bounds.from_toml("psi = 0.4\nratio = [0.5, 2.0]\n[floor]\nks = 0.2\n")

    assert (0.4, (0.5, 2.0), {"ks": 0.2}, 0.05) == (bounds.psi, bounds.ratio, bounds.floor, bounds.ece)
