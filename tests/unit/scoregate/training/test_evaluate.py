"""Metrics agree with scikit-learn, and their intervals behave as intervals do."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ks_2samp
from sklearn.metrics import average_precision_score, brier_score_loss, roc_auc_score, roc_curve

from scoregate.training.evaluate import FPR_LIMIT, METRICS, measure, measure_with_intervals


def scored(seed: int, rows: int = 3_000, decimals: int = 6) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    label = (rng.random(rows) < 0.1).astype(np.int64)
    score = np.round(1 / (1 + np.exp(-(rng.normal(size=rows) + 1.5 * label - 2))), decimals)
    return label, score


@pytest.mark.parametrize("decimals", [6, 1])
def test_metrics_agree_with_an_independent_implementation(decimals: int) -> None:
    """Every metric equals scikit-learn's or SciPy's, with few ties and with many."""
    label, score = scored(1, decimals=decimals)
    fpr, tpr, _ = roc_curve(label, score, drop_intermediate=False)
    expected = {
        "auc": roc_auc_score(label, score),
        "gini": 2 * roc_auc_score(label, score) - 1,
        "ks": ks_2samp(score[label == 1], score[label == 0]).statistic,
        "brier": brier_score_loss(label, score),
        "average_precision": average_precision_score(label, score),
        "recall_at_fpr": tpr[fpr <= FPR_LIMIT].max(),
    }

    actual = measure(label, score)

    assert expected == pytest.approx(actual, abs=1e-12)


def test_a_score_that_knows_everything_is_perfect() -> None:
    """Scores equal to the labels give the best value of every metric."""
    label = np.array([0, 1, 0, 1])

    assert {**dict.fromkeys(METRICS, 1.0), "brier": 0.0} == measure(label, label.astype(np.float64))


def test_a_share_of_false_positives_equal_to_the_limit_is_within_it() -> None:
    """One good record of 200 above the bad ones is 0.5 %, and still counts."""
    label = np.array([0] + [1] * 10 + [0] * 199)
    score = np.array([0.9] + [0.8] * 10 + [0.1] * 199)

    assert 1.0 == measure(label, score)["recall_at_fpr"]


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


def test_intervals_of_the_rank_metrics_have_the_width_that_theory_gives() -> None:
    """The AUC's interval is as wide as Hanley and McNeil's standard error says, within a quarter."""
    label, score = scored(3, rows=4_000)
    m = measure_with_intervals(label, score, seed=1)["auc"]
    bad, good, a = label.sum(), (1 - label).sum(), m.value
    q1, q2 = a / (2 - a), 2 * a * a / (1 + a)
    error = np.sqrt((a * (1 - a) + (bad - 1) * (q1 - a * a) + (good - 1) * (q2 - a * a)) / (bad * good))

    assert 2 * 1.96 * error == pytest.approx(m.high - m.low, rel=0.25)


def test_records_that_come_together_are_drawn_together() -> None:
    """Ten copies of every record carry no more information than one, so the interval must not shrink."""
    label, score = scored(4, rows=500)
    single = measure_with_intervals(label, score, seed=1)["auc"]
    groups = [str(i) for i in range(500)] * 10
    tenfold = measure_with_intervals(np.tile(label, 10), np.tile(score, 10), seed=1, groups=groups)["auc"]
    careless = measure_with_intervals(np.tile(label, 10), np.tile(score, 10), seed=1)["auc"]

    assert single.high - single.low == pytest.approx(tenfold.high - tenfold.low, rel=0.2)
    assert careless.high - careless.low < 0.5 * (tenfold.high - tenfold.low)
