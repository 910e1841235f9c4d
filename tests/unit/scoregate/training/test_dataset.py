"""Which records are trained on, which are tested on, and what was known of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from scoregate.features import Status
from scoregate.features.plan import FeaturePlan, ViewPlan
from scoregate.settings import Settings
from scoregate.training import ByTime, HeldOut, Problem
from scoregate.training.dataset import DAY_US, _feature_rows, _folds, _learned, _sample

US = pa.timestamp("us", tz="UTC")


def records(days: int = 40, per_day: int = 50, bad_every: int = 25, label_days: float = 3.0) -> pa.Table:
    at = np.arange(days * per_day) * (DAY_US // per_day) + 20_000 * DAY_US
    bad = np.arange(len(at)) % bad_every == 0
    label_at = pa.array(at + int(label_days * DAY_US), mask=~bad).cast(US)
    return pa.table({"event_at": pa.array(at).cast(US), "is_bad": pa.array(bad), "label_at": label_at})


def problem(**changes: Any) -> Problem:
    return Problem(
        **{
            "load": lambda _: None,
            "label": "is_bad",
            "known_at": "label_at",
            "split": ByTime(train_days=20, gap_days=5, test_days=10),
            "headline": "roc_auc",
            "parameters": {},
            **changes,
        }
    )


def at_us(rows: pa.Table) -> np.ndarray:
    return np.asarray(rows["event_at"].cast(pa.int64()).to_numpy())


def test_what_is_tested_comes_after_what_is_trained_on_with_a_gap() -> None:
    """No record of the training days is younger than the gap before the first tested one."""
    rows = records()
    fold, turns = _folds(rows, problem(), seed=1)
    at = at_us(rows)

    assert at[fold >= 0].max() + 5 * DAY_US <= at[fold == -1].min()
    assert 20 * 50 == (fold >= 0).sum()
    assert {-2, -1, *turns} == set(fold.tolist())


def test_training_days_are_validated_in_blocks_of_time() -> None:
    """Neighbours in time stay in one fold: one is not validated by its twin."""
    fold, turns = _folds(records(), problem(), seed=1)
    trained = fold[fold >= 0]

    assert (0, 1, 2) == turns
    assert (np.diff(trained) >= 0).all()


def test_a_held_out_share_is_exact_and_repeats_with_the_seed() -> None:
    """The same quarter is tested on whenever the seed is the same."""
    asked = problem(split=HeldOut(share=0.25, folds=5))
    fold, turns = _folds(records(), asked, seed=1)

    assert 0.25 == (fold == -1).mean()
    assert set(turns) == set(fold[fold >= 0].tolist())
    assert (fold == _folds(records(), asked, seed=1)[0]).all()
    assert (fold != _folds(records(), asked, seed=2)[0]).any()


def test_sampling_keeps_every_bad_record_and_the_total() -> None:
    """Good records are thinned; with their weights each period counts as many as it had."""
    rows = records()
    asked = problem(rows_at_most=100)
    fold, _ = _folds(rows, asked, seed=1)
    kept, weight = _sample(rows, fold, asked, Settings(seed=1))
    bad = rows["is_bad"].to_numpy(zero_copy_only=False)

    for period in (fold >= 0, fold == -1):
        inside = period[kept]
        assert period.sum() == pytest.approx(weight[inside].sum())
        assert (period & bad).sum() == bad[kept][inside].sum()
        assert 100 == (~bad[kept][inside]).sum()
    assert (fold[kept] > -2).all()


def test_the_settings_can_bound_a_sample_further() -> None:
    """A small machine may train on less than the problem would, and never on more."""
    rows = records()
    asked = problem(rows_at_most=100)
    fold, _ = _folds(rows, asked, seed=1)

    for bound, expected in ((60, 60), (500, 100)):
        kept, _ = _sample(rows, fold, asked, Settings(seed=1, train_rows=bound))
        bad = rows["is_bad"].to_numpy(zero_copy_only=False)[kept]
        assert expected == (~bad & (fold[kept] == -1)).sum()


def test_anomalies_are_not_sampled_by_label() -> None:
    """A model that may not see labels must not see them through its sample either."""
    rows = records(bad_every=2)
    asked = problem(objective="anomaly", rows_at_most=200)
    fold, _ = _folds(rows, asked, seed=1)
    kept, _ = _sample(rows, fold, asked, Settings(seed=1))

    assert [200, 200] == [period[kept].sum() for period in (fold >= 0, fold == -1)]


def test_a_label_that_arrives_after_training_is_not_learned() -> None:
    """What becomes known once the test period has begun counts as good in training, and as bad in the test."""
    rows = records(label_days=9.0)
    fold, _ = _folds(rows, problem(), seed=1)
    bad = rows["is_bad"].to_numpy(zero_copy_only=False).astype(np.int64)
    learned, _ = _learned(rows, fold, bad, problem())
    starts = at_us(rows)[fold == -1].min()
    late = (fold >= 0) & (bad == 1) & (at_us(rows) + 9 * DAY_US >= starts)

    assert 0 < late.sum() < bad[fold >= 0].sum()
    assert (learned[fold >= 0] == (bad * ~late)[fold >= 0]).all()


def test_labels_that_have_come_stand_for_those_that_are_to_come() -> None:
    """In training alone: what is learned has as many bad records as there are, and the test is counted as it is."""
    rows = records(days=400, bad_every=10)
    wait_us = np.random.default_rng(1).exponential(10 * DAY_US, rows.num_rows).astype(np.int64)
    bad = rows["is_bad"].to_numpy(zero_copy_only=False).astype(np.int64)
    rows = rows.set_column(2, "label_at", pa.array(at_us(rows) + wait_us, mask=bad == 0).cast(US))
    asked = problem(split=ByTime(train_days=60, gap_days=5, test_days=10))
    fold, _ = _folds(rows, asked, seed=1)
    learned, ripe = _learned(rows, fold, bad, asked)
    train = fold >= 0

    assert learned[train].sum() < 0.95 * bad[train].sum()
    assert bad[train].sum() == pytest.approx((learned / ripe)[train].sum(), rel=0.05)
    assert {1.0} == set(ripe[fold == -1].tolist())


def test_an_absent_row_of_facts_is_missing_and_of_tiles_is_nothing() -> None:
    """History is whole: without tiles nothing happened, without facts nothing is known."""
    plan = FeaturePlan(
        "toy_v1",
        "test",
        (
            ViewPlan("known", "facts", "facts", ("id",), (("limit", "int64"), ("name", "string")), 0.0),
            ViewPlan("tiles", "tiles", "events", ("id",), (("days", "int64_list"),), 0.0),
        ),
    )
    views = pa.table(
        {
            "id": ["a", "b", "c"],
            "known__limit": pa.chunked_array([[5, None], [None]]),
            "known__name": pa.chunked_array([["a", "b"], [None]], pa.string()),
            "tiles__days": pa.chunked_array([[[1, 2], []], [None]], pa.list_(pa.int64())),
        }
    )
    first, second, third = _feature_rows(plan, views)

    assert {"limit": 5, "name": "a"} == first.views["known"].values
    assert [1, 2] == first.get("tiles", "days")
    assert (Status.FRESH, None, []) == (
        second.views["known"].status,
        second.get("known", "limit"),
        second.get("tiles", "days"),
    )
    assert ["known"] == third.missing
    assert [{"id": "a"}, {"id": "b"}, {"id": "c"}] == [row.entities for row in (first, second, third)]
    assert third.usable("tiles")
