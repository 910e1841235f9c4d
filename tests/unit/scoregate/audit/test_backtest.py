"""Backtest: what another policy or model would have decided on the same vectors, counted."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import toy
from scoregate.audit.backtest import Backtest, Segment
from scoregate.audit.backtest_report import lines
from scoregate.errors import ArtefactCorrupt, SignatureMismatch
from scoregate.events import Effect, Event
from scoregate.ledger import Entry
from scoregate.ledger.history import History
from scoregate.ledger.sqlite import SqliteLedger

from .recorded import decisions, stored

HARSH = toy.POLICY.replace("fixed_minor = 300", "fixed_minor = 0")
"""A review costs nothing: whatever might be bad is looked at."""


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module")
def entries(models: Path) -> list[Entry]:
    return decisions(stored(models))


def counted(
    entries: list[Entry], models: Path, policy: str | None = None, labels: dict[str, bool] | None = None
) -> dict[str, Any]:
    test = Backtest.of(stored(models), models, policy)
    for entry in entries:
        test.add([entry], labels or {})
    return test.found()


def test_the_same_model_and_policy_move_nothing(entries: list[Entry], models: Path) -> None:
    """The matrix is its diagonal, costs are equal, reasons are the same."""
    found = counted(entries, models)

    assert (0, len(entries), 0) == (found["moved"], found["decided"], found["reasons"]["changed"])
    assert 0.0 == found["expected"]["change_minor"]
    assert len(entries) == sum(found["matrix"][name][name] for name in found["outcomes"])


def test_another_policy_moves_outcomes_workload_and_money(entries: list[Entry], models: Path) -> None:
    """Free reviews: approvals become reviews, and by that policy's costs all of it is cheaper."""
    found = counted(entries, models, HARSH)
    approved = sum(entry.outcome == "approve" for entry in entries)

    assert 0 < approved == found["matrix"]["approve"]["review"] < found["moved"]
    assert found["moved"] == found["workload"]["review"]["after"] - found["workload"]["review"]["before"]
    assert found["expected"]["change_minor"] < 0
    assert approved == sum(segment["harsher"] for segment in found["segments"])
    assert found["reasons"]["by_code"]


def test_segments_are_read_from_mild_to_harsh_and_from_small_to_large(models: Path) -> None:
    """Amounts are told apart at the edges of their bands, and stand in the order of numbers, not of their names."""
    test = Backtest.of(stored(models), models)
    for was, amount in (("review", 1.0), ("approve", 1e6), ("approve", 10_000.0), ("approve", 999.0), ("approve", 5e4)):
        test.segments[was, test._band(amount)] = Segment(decisions=1)

    assert [
        ("approve", "below 1,000"),
        ("approve", "below 100,000"),
        ("approve", "from 1,000,000"),
        ("review", "below 1,000"),
    ] == [(one["outcome"], one["amount_minor"]) for one in test.found()["segments"]]


def test_pages_add_up(entries: list[Entry], models: Path) -> None:
    """History in one piece or in many is the same history."""
    whole = Backtest.of(stored(models), models, HARSH)
    whole.add(entries, {})
    one_by_one, found = counted(entries, models, HARSH), whole.found()

    assert one_by_one["matrix"] == found["matrix"]
    assert one_by_one["expected"]["after_minor"] == pytest.approx(found["expected"]["after_minor"])


def test_labels_say_what_it_cost(entries: list[Entry], models: Path) -> None:
    """An approval that went bad cost its amount; a review would have cost nothing under the tested policy."""
    entry = next(e for e in entries if e.outcome == "approve")
    amount = toy_amount(entry)
    found = counted([entry], models, HARSH, {entry.natural_key: True})

    assert {"decisions": 1, "before_minor": amount, "after_minor": 0.0, "change_minor": -amount} == found["realised"]
    assert [{"before": "approve", "after": "review", "is_bad": True, "decisions": 1}] == found["labelled"]


def toy_amount(entry: Entry) -> float:
    return float(entry.natural_key.partition("-")[2])


def test_what_was_forgotten_is_counted_and_left_out(entries: list[Entry], models: Path) -> None:
    """Nothing is silently missing from a backtest."""
    found = counted([replace(entries[0], vector=b""), replace(entries[1], model_digest="e" * 64)], models)

    assert (2, 0, 2) == (found["entries"], found["decided"], sum(found["skipped"].values()))


def test_a_model_of_other_features_is_refused(entries: list[Entry], models: Path) -> None:
    """A vector means nothing under other names; the message names one."""
    other = stored(models, names=("amount_minor", "limit_minor", "count_7d"))
    policy = toy.POLICY.replace("+count_1d", "+count_7d")

    with pytest.raises(SignatureMismatch, match="count_1d, count_7d"):
        Backtest.of(other, models, policy).add(entries, {})


def test_a_policy_of_other_features_is_refused(models: Path) -> None:
    """Before anything is counted."""
    with pytest.raises(ArtefactCorrupt, match="count_9d"):
        Backtest.of(stored(models), models, toy.POLICY.replace("+count_1d", "+count_9d"))


def test_what_was_found_is_said_in_lines(entries: list[Entry], models: Path) -> None:
    """The matrix, workload, money and segments stand there."""
    text = "\n".join(lines(counted(entries, models, HARSH)))

    assert all(word in text for word in ("was \\ would be", "a day", "expected cost", "segments"))


def test_the_last_label_of_a_decision_holds(tmp_path: Path) -> None:
    """Labels are read from the outbox, each by its decision's key alone."""

    def label(subject: str, known_us: int, is_bad: bool) -> Event:
        key = f"label:{subject}:{known_us}"
        return Event("toy", "payments", Effect.LABEL, key, subject, 1, known_us, {}, is_bad=is_bad)

    async def fill() -> None:
        ledger = await SqliteLedger.open(tmp_path / "toy.db", "toy")
        await ledger.record([label("p1", 30, True), label("p1", 200, False), label("p1:x", 9, True)])
        await ledger.record([label("p2", 5, True), label("p11", 5, True)])
        await ledger.close()

    asyncio.run(fill())
    with History(f"sqlite:///{tmp_path}/toy.db", "toy") as history:
        assert {"p1": False, "p2": True} == {key: one.is_bad for key, one in history.labels(["p1", "p2", "p3"]).items()}
