"""Approaches to anomalies: compared on unseen records, and the one that is kept serves like any other."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from scoregate.features.plan import FeaturePlan
from scoregate.models.forest import Forest
from scoregate.training import ByTime, Problem, anomaly
from scoregate.training.anomaly import Unseen, choose, scaled
from scoregate.training.approaches import approaches
from scoregate.training.boosting import Boosting, Sample
from scoregate.training.dataset import Dataset
from scoregate.training.evaluate import measure
from scoregate.training.fit import fit

NAMES = ("one", "other", "third")
ROWS = 6_000


def problem(**changes: Any) -> Problem:
    said = {
        "load": lambda _: None,
        "label": "is_bad",
        "objective": "anomaly",
        "split": ByTime(1, 1, 1),
        "headline": "average_precision",
        "parameters": {"max_depth": 4, "eta": 0.2, "min_child_weight": 5},
        "label_parameters": {"min_child_weight": 1},
        "spread": 0.1,
        "rounds_at_most": 40,
    }
    return Problem(**{**said, **changes})


def records(*, learned: bool = True) -> Dataset:
    """Two features that go together; bad of one kind break that, bad of the other kind have much of the third."""
    rng = np.random.default_rng(7)
    shared = rng.normal(size=ROWS)
    matrix = np.column_stack([shared, shared + 0.2 * rng.normal(size=ROWS), rng.poisson(1.0, ROWS)]).astype(float)
    kind = np.where(rng.random(ROWS) < 0.02, "broken", np.where(rng.random(ROWS) < 0.02, "many", ""))
    broken = kind == "broken"
    matrix[broken, 1] = rng.normal(size=broken.sum())
    matrix[kind == "many", 2] += rng.poisson(3.0, (kind == "many").sum())
    label = (kind != "").astype(np.int64)
    return Dataset(
        plan=FeaturePlan("none_v1", "test", ()),
        rows=pa.table({"kind": [one or None for one in kind]}),
        views=None,
        matrix=matrix,
        label=label,
        learned=label if learned else np.zeros_like(label),
        ripe=np.ones(ROWS),
        weight=np.ones(ROWS),
        fold=np.arange(ROWS) % 3 - 1,
        turns=(0, 1),
    )


def test_every_approach_is_measured_and_one_is_kept() -> None:
    """With kinds also on those that its labels never showed; the isolation forest is measured and never kept."""
    data = records()
    fitted = fit(problem(kind="kind"), data, NAMES, 1, lambda _: None)
    found = approaches(problem(kind="kind"), data, fitted, 1)

    assert {"contrast", "supervised", "guided", "isolation"} == set(found["figures"])
    assert found["kept"] in {"contrast", "supervised", "guided"}
    assert all(one["new"] for one in found["figures"].values())
    shown, hidden = (found["figures"]["supervised"][key]["value"] for key in ("known", "new"))
    assert hidden < shown


def test_what_is_kept_serves_and_is_calibrated_where_labels_are() -> None:
    """The forest on disk gives the probabilities that labels say, whichever approach made it."""
    data = records()
    fitted = fit(problem(), data, NAMES, 1, lambda _: None)
    score = Forest.from_bytes(fitted.ubj, fitted.a, fitted.b).predict(data.matrix[data.test].astype(np.float32))

    assert fitted.is_probability
    assert score.mean() == pytest.approx(data.label[data.test].mean(), rel=0.3)
    assert measure(data.label[data.test], score)["average_precision"] > 0.4


def test_without_labels_the_contrast_is_kept() -> None:
    """Nothing can be measured, so the approach that needs none is kept, and its score is a rank."""
    fitted = fit(problem(), records(learned=False), NAMES, 1, lambda _: None)

    assert fitted.choice is not None
    assert ("contrast", False) == (fitted.choice.kept, fitted.is_probability)
    assert "fewer than 20 labels" in fitted.choice.why


def test_the_best_of_known_and_new_is_kept() -> None:
    """An approach that only knows what it was shown loses to one that also finds what is new."""
    rng = np.random.default_rng(2)
    label = (rng.random(2_000) < 0.1).astype(np.int64)
    good, poor = label + 0.5 * rng.normal(size=2_000), label + 2.0 * rng.normal(size=2_000)
    one = np.ones(2_000)
    known = Unseen({"supervised": good + 0.2 * label, "guided": good, "isolation": good}, label, one)
    new = Unseen({"supervised": poor, "guided": good, "isolation": good}, label, one)

    assert "supervised" == choose(known, None, 1).kept
    assert "guided" == choose(known, new, 1).kept


def test_a_better_isolation_forest_is_said() -> None:
    """It is not served, and the evidence must not hide that it ranks better."""
    rng = np.random.default_rng(3)
    label = (rng.random(2_000) < 0.1).astype(np.int64)
    margins = {"contrast": label + 2.0 * rng.normal(size=2_000), "isolation": label + 0.3 * rng.normal(size=2_000)}

    assert "ranks them better still" in choose(Unseen(margins, label, np.ones(2_000)), None, 1).why


def test_a_scaled_forest_has_scaled_margins() -> None:
    """Times a plus b, for every record, also where values are missing."""
    data = records()
    boosting = Boosting.of(problem(), NAMES, 1)
    sample = Sample.of(data, data.train)
    forest = boosting.fit(sample, None, 20)
    holes = rng().random(sample.matrix.shape) < 0.2
    some = Sample(np.where(holes, np.nan, sample.matrix), sample.label, sample.weight)

    expected = 0.7 * boosting.margin(forest, some) - 1.5
    assert boosting.margin(scaled(forest, 0.7, -1.5), some) == pytest.approx(expected, abs=1e-5)


def test_labels_go_on_from_the_contrast_s_trees() -> None:
    """A guided forest begins with them, so what they knew is not forgotten."""
    data = records()
    found = anomaly.forests(
        Boosting.of(problem(), NAMES, 1),
        Sample.of(data, data.train),
        None,
        {"contrast": 15, "supervised": 10, "guided": 10},
        np.random.default_rng(1),
    )

    rounds = {name: booster.num_boosted_rounds() for name, booster in found.items()}
    assert {"contrast": 15, "supervised": 10, "guided": 25} == rounds


def test_a_monotone_constraint_holds_in_a_guided_forest() -> None:
    """In the trees that are kept and in those that labels added."""
    data = records()
    asked = problem(monotone={"third": 1})
    rounds = dict.fromkeys(("contrast", "supervised", "guided"), 20)
    found = anomaly.forests(Boosting.of(asked, NAMES, 1), Sample.of(data, data.train), None, rounds, rng())
    model = Forest.from_bytes(bytes(found["guided"].save_raw("ubj")), 1.0, 0.0)
    low = data.matrix.astype(np.float32)
    more = low + np.array([0, 0, 2], np.float32)

    assert (model.predict(more) >= model.predict(low)).all()


def rng() -> np.random.Generator:
    return np.random.default_rng(1)


def test_kinds_are_those_that_training_knows() -> None:
    """A kind whose labels come after training is not one."""
    data = records()
    assert ("broken", "many") == anomaly.kinds_of(problem(kind="kind"), data)
    assert () == anomaly.kinds_of(problem(), data)
    assert () == anomaly.kinds_of(problem(kind="kind"), SimpleNamespace(rows=pa.table({"a": [1]})))  # type: ignore[arg-type]
