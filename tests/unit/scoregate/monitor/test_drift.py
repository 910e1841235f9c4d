"""Drift: what is moved, what is only a season, and what is read of a ledger."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

import toy
from scoregate.errors import ScoregateError
from scoregate.hashing import KeyedHash
from scoregate.ledger.cipher import FieldCipher
from scoregate.ledger.opening import open_ledger
from scoregate.monitor.history import History
from scoregate.monitor.look import BUCKET_S, HOUR, HOUR_S, WEEK, WEEK_S, Triggers, look
from scoregate.monitor.tally import OUTCOME, SCORE, Reference, Tally, psi
from scoregate.scoring import Asked
from scoregate.scoring.scorer import Scorer
from scoregate.settings import Settings
from scoregate.telemetry.metrics import Metrics
from scoregate.telemetry.tracing import UNTRACED

REFERENCE = Reference.of(
    {
        "score": {"edges": [0, 0.5, 1], "counts": [700, 300]},
        "outcomes": {"approve": 0.7, "decline": 0.3},
        "features": {
            "amount_minor": {"edges": [0, 10, 100], "counts": [500, 450], "missing": 50},
            "limit_minor": {"edges": [0, 1], "counts": [1], "missing": 0},
            "count_1d": {"edges": [0, 1], "counts": [1], "missing": 0},
        },
    }
)
NOW_S = 1_700_000_000 // BUCKET_S * BUCKET_S


def of(share: float, decisions: int = 1_000) -> Tally:
    """Decisions of which a share has a high score."""
    counts = {subject: counts / counts.sum() * decisions for subject, counts in REFERENCE.counts.items()}
    return Tally(decisions, {**counts, SCORE: np.array([1 - share, share]) * decisions})


def weeks(share_at: Callable[[int], float]) -> dict[int, Tally]:
    """Two weeks and an hour of decisions, the share of high scores by the seconds that are left."""
    starts = range(NOW_S - 2 * WEEK_S - HOUR_S, NOW_S, BUCKET_S)
    return {start: of(share_at(NOW_S - start)) for start in starts}


def test_psi_is_zero_for_the_same_and_by_hand_for_another() -> None:
    """Shares count, not how many there are; missing is a bin."""
    expected = (0.4 - 0.7) * np.log(0.4 / 0.7) + (0.6 - 0.3) * np.log(0.6 / 0.3)

    assert 0 == psi(REFERENCE.counts[SCORE], of(0.3, 77).counts[SCORE])
    assert pytest.approx(expected) == psi(REFERENCE.counts[SCORE], of(0.6).counts[SCORE])


def test_what_moved_is_due_within_the_hour_and_stays_due() -> None:
    """Fresh drift shows in the hour; when a week before was like it already, in the week."""
    fresh = look(REFERENCE, weeks(lambda left_s: 0.6 if left_s <= HOUR_S else 0.3), NOW_S)
    old = look(REFERENCE, weeks(lambda _: 0.6), NOW_S)

    assert fresh.psi[HOUR][SCORE] > 0.3
    assert fresh.psi[WEEK][SCORE] < 0.01
    (due,) = fresh.due(Triggers())
    assert due.startswith("score of the last hour has a PSI of")
    assert old.psi[HOUR][SCORE] == 0
    assert old.psi[WEEK][SCORE] > 0.3


def test_a_season_is_no_drift() -> None:
    """The same hour was like this a week ago, and the whole week is as ever."""
    found = look(REFERENCE, weeks(lambda left_s: 0.6 if (left_s - 1) % WEEK_S < HOUR_S else 0.3), NOW_S)

    assert [] == found.due(Triggers())


def test_what_was_odd_last_week_is_not_odd_now() -> None:
    """Back to what the hour always was is no drift either."""
    found = look(REFERENCE, weeks(lambda left_s: 0.6 if 0 <= left_s - WEEK_S <= HOUR_S else 0.3), NOW_S)

    assert [] == found.due(Triggers())


def test_little_is_no_evidence() -> None:
    """A window of few decisions, or a week that is not over, is not compared."""
    few = {start: replace(tally, decisions=1) for start, tally in weeks(lambda _: 0.9).items()}
    young = {start: tally for start, tally in weeks(lambda _: 0.9).items() if start > NOW_S - WEEK_S / 2}

    assert set() == {HOUR} & look(REFERENCE, young, NOW_S).psi.keys()
    assert {WEEK} == look(REFERENCE, few, NOW_S).psi.keys()
    assert {} == look(REFERENCE, young, NOW_S).psi


def test_a_service_declares_its_triggers(tmp_path: Path) -> None:
    """What it does not say is as for all, and what is no trigger is an error."""
    (tmp_path / "triggers.toml").write_text("score = 0.5\n")

    assert Triggers(score=0.5) == Triggers.of(tmp_path)
    (tmp_path / "triggers.toml").write_text("scores = 0.5\n")
    with pytest.raises(ScoregateError, match="scores"):
        Triggers.of(tmp_path)


async def _decide(settings: Settings, payments: int) -> None:
    ledger = await open_ledger(settings.ledger("toy"), "toy", cipher=FieldCipher.load(None))
    metrics = Metrics("toy", "stable", CollectorRegistry())
    code = cast("Any", toy.CODE)
    source = toy.source(at_s=time.time())
    scorer = Scorer(toy.artefact(), code, source, ledger, KeyedHash(b"k" * 32), metrics, arm="stable")
    for n in range(payments):
        request = toy.Request.model_validate_json(
            toy.body(payment_id=f"p{n}-{time.time_ns()}", amount_minor=5 + 40 * (n % 2))
        )
        await scorer.decide(Asked(request, None, time.time(), UNTRACED.begin(None, "", {})))
    await ledger.close()


def test_each_decision_of_the_ledger_is_counted_once(tmp_path: Path) -> None:
    """What was read is kept beside the ledger, and the next look begins where the last one ended."""
    settings = Settings(home=tmp_path)
    reference = replace(REFERENCE, outcomes=("approve", "review", "decline"))
    reference = replace(reference, counts={**REFERENCE.counts, OUTCOME: np.ones(3)})

    def seen() -> Tally:
        history = History(settings, toy.artefact(), reference)
        history.catch_up(time.time() + 60)
        (tally,) = [reference.empty(), *history.by_start.values()][-1:]
        return tally if len(history.by_start) == 1 else sum_of(list(history.by_start.values()))

    (tmp_path / "ledger").mkdir()
    asyncio.run(_decide(settings, 4))
    first = seen()
    again = seen()
    asyncio.run(_decide(settings, 2))
    more = seen()

    assert (4, 4, 6) == (first.decisions, again.decisions, more.decisions)
    assert [3, 3, 0] == more.counts["feature:amount_minor"].tolist()
    assert 6 == more.counts[OUTCOME].sum()


def sum_of(tallies: list[Tally]) -> Tally:
    """The turn of ten minutes may fall into a test."""
    first, *others = tallies
    for other in others:
        first = first.plus(other)
    return first
