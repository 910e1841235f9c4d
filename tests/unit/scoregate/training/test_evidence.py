"""The evidence of one training is measured on the records it says, and reads as JSON and as a card."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

import toy
from scoregate.errors import ScoregateError
from scoregate.features.plan import FeaturePlan
from scoregate.policy import Policy
from scoregate.settings import Settings
from scoregate.training import ByTime, Problem, artefact
from scoregate.training.card import Figures, card
from scoregate.training.dataset import DAY_US, Dataset
from scoregate.training.evidence import _in_whole_days, details, metrics
from scoregate.training.fit import Fitted

US = pa.timestamp("us", tz="UTC")
ROWS, ACCOUNTS, DAYS = 6_000, 80, 40
NAMES = ("amount_minor",)
SETTINGS = Settings(seed=1)
POLICY = Policy.from_toml(toy.POLICY + '[override.review]\nabove = 0.5\nreason = "The queue is full"\n')


def records() -> tuple[Dataset, np.ndarray]:
    """Forty days of payments, the last ten tested on; scores are the probabilities that labels were drawn with."""
    rng = np.random.default_rng(1)
    at = np.sort(rng.integers(0, DAYS * DAY_US, ROWS)) + 20_000 * DAY_US
    score = rng.beta(0.3, 3.0, ROWS)
    label = (rng.random(ROWS) < score).astype(np.int64)
    account = rng.integers(0, ACCOUNTS, ROWS)
    rows = pa.table(
        {
            "event_at": pa.array(at).cast(US),
            "is_bad": pa.array(label.astype(bool)),
            "label_at": pa.array(at + 2 * DAY_US, mask=label == 0).cast(US),
            "account_id": pa.array([f"a{i}" for i in account]),
        }
    )
    fold = np.where(at >= (20_000 + DAYS - 10) * DAY_US, -1, np.arange(ROWS) % 3)
    data = Dataset(
        plan=FeaturePlan("toy_v1", "test", ()),
        rows=rows,
        views=None,
        matrix=np.round(rng.lognormal(9, 1, ROWS))[:, None],
        label=label,
        learned=label,
        ripe=np.ones(ROWS),
        weight=np.ones(ROWS),
        fold=fold,
        turns=(0, 1, 2),
    )
    return data, score


def problem(data: Dataset, **changes: Any) -> Problem:
    return Problem(
        **{
            "load": lambda _: data.rows,
            "label": "is_bad",
            "known_at": "label_at",
            "group": "account_id",
            "split": ByTime(train_days=30, gap_days=0, test_days=10),
            "headline": "average_precision",
            "parameters": {},
            **changes,
        }
    )


def fitted(data: Dataset, score: np.ndarray) -> Fitted:
    margin = np.log(score / (1 - score))
    turns = tuple((np.flatnonzero(data.fold == turn), margin[data.fold == turn]) for turn in data.turns)
    return Fitted(b"", 1.0, 0.0, 1, turns)


def protected(_: Settings) -> pa.Table:
    ids = [f"a{i}" for i in range(ACCOUNTS)]
    return pa.table({"account_id": ids, "region": [("north", "south")[i % 2] for i in range(ACCOUNTS)]})


def evidence(data: Dataset, score: np.ndarray, **changes: Any) -> dict[str, Any]:
    model, floor = fitted(data, score), np.zeros(ROWS, np.int64)
    return details(problem(data, **changes), data, model, POLICY, NAMES, score, floor, SETTINGS)


def test_known_accounts_leave_the_list_of_cards() -> None:
    """Nearly every account is compromised before the test: what is left cannot fill a list of a hundred."""
    data, score = records()
    found = metrics(problem(data), data, score, SETTINGS)
    nothing_known = metrics(problem(data, known_at=None), data, score, SETTINGS)

    assert found["card_precision_at_100"].value < 0.1 * nothing_known["card_precision_at_100"].value
    assert found["roc_auc"] == nothing_known["roc_auc"]


def test_a_day_that_was_hardly_begun_is_no_day_of_cards() -> None:
    """The last minutes of a day before the first whole one, and the first of one after the last, count for nothing."""
    at = np.array([0.99, 1.0, 1.9, 2.5, 3.1]) * DAY_US

    assert [False, True, True, True, False] == _in_whole_days(at.astype(np.int64)).tolist()
    assert [True] == _in_whole_days(np.array([int(0.99 * DAY_US)])).tolist()


def test_records_without_accounts_have_no_cards() -> None:
    """Card precision is said of accounts over days, and of nothing else."""
    data, score = records()

    assert "card_precision_at_100" not in metrics(problem(data, group=None), data, score, SETTINGS)


def test_a_test_period_of_one_class_is_refused() -> None:
    """Nothing can be measured without a bad record, and a model without measure is none."""
    data, score = records()
    data.label[data.test] = 0
    with pytest.raises(ScoregateError, match=r"all 1,\d+ test records are good"):
        metrics(problem(data), data, score, SETTINGS)


def test_evidence_is_json_and_counts_the_records_it_names() -> None:
    """Reliability is of tested records, fairness of all that were scored out of sample."""
    data, score = records()
    found = evidence(data, score, protected=protected)

    assert found == json.loads(artefact.as_bytes(found))
    assert int(data.test.sum()) == sum(point["records"] for point in found["reliability"])
    segments = found["fairness"]["attributes"]["region"]["segments"]
    assert ROWS == sum(cell["records"] for cell in segments.values())
    assert 3 == len(found["stability"]["folds"])
    assert ["review"] == [one["outcome"] for one in found["thresholds"]["overrides"]]


def test_without_protected_attributes_nothing_is_said_of_fairness() -> None:
    """An absent report is absent, not empty."""
    assert "fairness" not in evidence(*records())


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (pa.table({"somebody": ["a1"], "region": ["north"]}), "share 0 columns"),
        (pa.table({"account_id": ["a1", "a1"], "region": ["north", "south"]}), "twice"),
        (pa.table({"account_id": ["b1"], "region": ["north"]}), "name no account_id"),
    ],
)
def test_attributes_that_belong_to_nobody_are_refused(table: pa.Table, message: str) -> None:
    """Fairness of records that could not be told apart would read as fair."""
    with pytest.raises(ScoregateError, match=message):
        evidence(*records(), protected=lambda _: table)


def test_the_card_shows_money_thresholds_overrides_and_fairness() -> None:
    """What a committee asks first stands on the card, the override with its reason."""
    data, score = records()
    figures = Figures(
        service="toy",
        feature_service="toy_v1",
        objective="supervised",
        metrics=metrics(problem(data), data, score, SETTINGS),
        shares={"approve": 1.0},
        training={"code_version": "0", "seed": 1, "rows": 1, "bad": 1, "start": "", "end": "", "data_digest": ""},
        tested={"rows": 1, "bad": 1, "start": "", "end": ""},
        rounds=1,
        details=evidence(data, score, protected=protected),
    )
    text = card(figures)

    assert "| card precision at 100 a day |" in text
    assert "| the mildest outcome for all |" in text
    assert "review begins above 0.5, because: The queue is full" in text
    assert "| region | north | " in text
