"""Metrics agree with scikit-learn, and their intervals behave as intervals do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

from scoregate.training.evaluate import (
    BINS,
    FPR_LIMITS,
    METRICS,
    measure,
    measure_with_intervals,
    reliability,
    stability,
)
from scoregate.training.resample import Draws, Measured


def scored(seed: int, rows: int = 3_000, decimals: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = (rng.random(rows) < 0.1).astype(np.int64)
    score = np.round(1 / (1 + np.exp(-(rng.normal(size=rows) + 1.5 * label - 2))), decimals)
    return label, score


def expected_error(label: np.ndarray, score: np.ndarray) -> float:
    """ECE the long way: sorted records cut into tenths."""
    parts = np.array_split(np.argsort(score), BINS)
    return sum(abs(label[part].mean() - score[part].mean()) * len(part) for part in parts) / len(label)


@pytest.mark.parametrize("decimals", [6, 1])
def test_metrics_agree_with_an_independent_implementation(decimals: int) -> None:
    """Every rank metric and Brier equal scikit-learn's or SciPy's, with few ties and with many."""
    label, score = scored(1, decimals=decimals)
    fpr, tpr, _ = roc_curve(label, score, drop_intermediate=False)
    expected = {
        "roc_auc": roc_auc_score(label, score),
        "gini": 2 * roc_auc_score(label, score) - 1,
        "ks": ks_2samp(score[label == 1], score[label == 0]).statistic,
        "brier": brier_score_loss(label, score),
        "average_precision": average_precision_score(label, score),
        **{f"recall_at_fpr_{limit}": tpr[fpr <= limit].max() for limit in FPR_LIMITS},
    }

    actual = measure(label, score)

    assert expected == pytest.approx({name: actual[name] for name in expected}, abs=1e-12)
    assert {*METRICS} == {*expected, "ece"}


def test_calibration_error_is_over_bins_of_equal_mass() -> None:
    """Without ties it equals the mean distance over tenths of the sorted records."""
    label, score = scored(5)

    assert expected_error(label, score) == pytest.approx(measure(label, score)["ece"], abs=1e-12)


def test_equal_scores_share_a_bin() -> None:
    """One score for all, equal to the share of bad, is calibrated; bins by position alone would deny it."""
    label = np.array([1] * 100 + [0] * 300)

    assert 0.0 == pytest.approx(measure(label, np.full(400, 0.25))["ece"])


def test_a_weight_counts_as_copies() -> None:
    """A record of weight 3 measures as three records."""
    label, score = scored(6, rows=400)
    weight = np.where(label == 1, 1, 3)
    copied = {
        name: value
        for name, value in measure(np.repeat(label, weight), np.repeat(score, weight)).items()
        if name != "ece"  # a bin's edge may fall between the copies of one record
    }

    weighed = measure(label, score, weight.astype(np.float64))
    assert copied == pytest.approx({name: weighed[name] for name in copied})


def test_a_score_that_knows_everything_is_perfect() -> None:
    """Scores equal to the labels give the best value of every metric."""
    label = np.array([0, 1, 0, 1])

    assert {**dict.fromkeys(METRICS, 1.0), "brier": 0.0, "ece": 0.0} == measure(label, label.astype(np.float64))


def test_a_share_of_false_positives_equal_to_the_limit_is_within_it() -> None:
    """One good record of 200 above the bad ones is 0.5 %, and still counts."""
    label = np.array([0] + [1] * 10 + [0] * 199)
    score = np.array([0.9] + [0.8] * 10 + [0.1] * 199)

    assert 1.0 == measure(label, score)["recall_at_fpr_0.005"]
    assert 0.0 == measure(label, score)["recall_at_fpr_0.001"]


def test_one_class_alone_has_no_metrics() -> None:
    """Without a bad record nothing can be measured, and that is said as nan."""
    assert np.isnan(list(measure(np.zeros(5, np.int64), np.linspace(0, 1, 5)).values())).all()


def test_intervals_hold_their_value_and_repeat_with_the_seed() -> None:
    """An interval surrounds its value and is a function of the seed."""
    label, score = scored(2)
    first = measure_with_intervals(label, score, seed=7, resamples=60)

    assert first == measure_with_intervals(label, score, seed=7, resamples=60)
    assert all(m.low <= m.value <= m.high for m in first.values())
    assert first != measure_with_intervals(label, score, seed=8, resamples=60)


def test_an_interval_of_what_was_never_measured_is_nan() -> None:
    """Resamples that gave nothing are left out; when none gave anything, nothing is claimed."""
    assert Measured(2.0, 1.0, 3.0) == Measured.of(2.0, [1.0, np.nan, 3.0, 1.0, 3.0])
    assert np.isnan(Measured.of(2.0, [np.nan]).low)


def test_intervals_of_the_rank_metrics_have_the_width_that_theory_gives() -> None:
    """The AUC's interval is as wide as Hanley and McNeil's standard error says, within a quarter."""
    label, score = scored(3, rows=4_000)
    m = measure_with_intervals(label, score, seed=1)["roc_auc"]
    bad, good, a = label.sum(), (1 - label).sum(), m.value
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    error = np.sqrt((a * (1 - a) + (bad - 1) * (q1 - a * a) + (good - 1) * (q2 - a * a)) / (bad * good))

    assert 2 * 1.96 * error == pytest.approx(m.high - m.low, rel=0.25)


def test_records_that_come_together_are_drawn_together() -> None:
    """Ten copies of every record carry no more information than one, so the interval must not shrink."""
    label, score = scored(4, rows=500)
    single = measure_with_intervals(label, score, seed=1)["roc_auc"]
    groups = [str(i) for i in range(500)] * 10
    tenfold = measure_with_intervals(np.tile(label, 10), np.tile(score, 10), seed=1, groups=groups)["roc_auc"]
    careless = measure_with_intervals(np.tile(label, 10), np.tile(score, 10), seed=1)["roc_auc"]

    assert single.high - single.low == pytest.approx(tenfold.high - tenfold.low, rel=0.2)
    assert careless.high - careless.low < 0.5 * (tenfold.high - tenfold.low)


def test_totals_of_draws_are_those_of_weighing_each_record() -> None:
    """Sums by cluster, multiplied, equal sums over records, each as often as it was drawn."""
    rng = np.random.default_rng(8)
    columns = rng.normal(size=(300, 2))
    draws = Draws.of(300, 3, rng.integers(0, 40, 300).tolist(), resamples=70)

    total, drawn = draws.totals(columns)

    assert columns.sum(axis=0) == pytest.approx(total)
    assert np.array([times @ columns for times in draws.each()]) == pytest.approx(drawn)


def test_points_of_the_reliability_curve_are_mean_score_and_bad_share() -> None:
    """Each tenth of the scores, lowest first, with an interval around what happened."""
    label, score = scored(7)
    points = reliability(label, score, np.ones(len(label)), Draws.of(len(label), 1, resamples=50))
    parts = np.array_split(np.argsort(score), BINS)

    assert [score[part].mean() for part in parts] == pytest.approx([point["predicted"] for point in points])
    assert [label[part].mean() for part in parts] == pytest.approx([point["observed"]["value"] for point in points])
    assert all(point["observed"]["low"] <= point["observed"]["high"] for point in points)
    assert 3_000 == sum(point["records"] for point in points)


def test_stability_is_mean_and_deviation_over_folds() -> None:
    """A fold of one class says nothing and is left out."""
    found = stability([{"ks": 0.4}, {"ks": 0.6}, {"ks": float("nan")}], "ks")

    assert {"metric": "ks", "folds": [0.4, 0.6]} == {name: found[name] for name in ("metric", "folds")}
    assert (0.5, np.std([0.4, 0.6], ddof=1)) == pytest.approx((found["mean"], found["sd"]))
