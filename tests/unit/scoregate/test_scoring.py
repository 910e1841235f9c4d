"""The scoring path over memory adapters: what is said when something is stale, missing, unknown or dead."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

import toy
from scoregate.errors import GoldenMismatch, KeyReused, UnknownEntity
from scoregate.events import Effect, Event
from scoregate.features import Status
from scoregate.features.memory import MemoryFeatures
from scoregate.features.reading import Marker
from scoregate.hashing import KeyedHash
from scoregate.ledger.memory import MemoryLedger
from scoregate.models.artefact import Artefact
from scoregate.scoring import Asked, Decided
from scoregate.scoring.goldens import check_goldens
from scoregate.scoring.scorer import Scorer
from scoregate.telemetry.metrics import Metrics
from scoregate.telemetry.tracing import UNTRACED


def scorer(
    source: MemoryFeatures, ledger: MemoryLedger | None = None, code: Any = toy.CODE, policy: str = toy.POLICY
) -> tuple[Scorer, MemoryLedger]:
    ledger = ledger or MemoryLedger("toy")
    metrics = Metrics("toy", "stable", CollectorRegistry())
    return Scorer(toy.artefact(policy), code, source, ledger, KeyedHash(b"k" * 32), metrics, arm="stable"), ledger


def decide(subject: Scorer, event: Event | None = None, **changes: Any) -> tuple[dict[str, Any], Decided]:
    request = toy.Request.model_validate_json(toy.body(**changes))
    asked = Asked(request, None, toy.NOW_S, UNTRACED.begin(None, "", {}), event)
    decided = asyncio.run(subject.decide(asked))
    return json.loads(decided.answer), decided


def test_fresh_features_answer_by_the_model() -> None:
    """Everything there: full confidence, source model, nothing stale or missing, and the score is the forest's."""
    answer, _ = decide(scorer(toy.source())[0])
    expected = float(toy.artefact().forest.predict(np.array([[2000, 5000, 1]], dtype=np.float32))[0])

    assert ("model", "full", {"stale": [], "missing": [], "supplied": []}) == (
        answer["source"],
        answer["confidence"],
        answer["features"],
    )
    assert answer["score"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("amount", "said"), [(19_900, ("full", [], False)), (20_000, ("low", ["amount_minor"], True))])
def test_a_value_outside_of_training_is_said_and_never_mildest(amount: int, said: tuple[Any, ...]) -> None:
    """More than its whole range above what was seen: named in the answer, low confidence, at least review."""
    subject, _ = scorer(toy.source(), policy=toy.LOOKING)
    answer, decided = decide(subject, amount_minor=amount)

    assert said == (answer["confidence"], answer["features"]["outside"], "partial" == decided.rung)
    assert "approve" != answer["outcome"] or said[0] == "full"


def test_a_stale_view_is_said_and_never_mildest() -> None:
    """Older than its view's largest age: in the answer, low confidence, at least review."""
    answer, _ = decide(scorer(toy.source(at_s=toy.NOW_S - 100))[0])

    assert ["payer_tiles"] == answer["features"]["stale"]
    assert ("low", "review") == (answer["confidence"], answer["outcome"])


def test_an_emptied_store_reads_as_missing_not_as_zero() -> None:
    """Without its marker a store that answers says nothing about anybody, and nobody is unknown to it."""
    source = toy.source(marked=False)
    source.rows.clear()
    answer, _ = decide(scorer(source)[0])

    assert ["payer_facts", "payer_tiles"] == answer["features"]["missing"]
    assert "approve" != answer["outcome"]


def test_no_tile_in_a_whole_store_reads_zero() -> None:
    """Nothing happened, and that is known: fresh, and the count is 0."""
    source = toy.source()
    del source.rows["payer_tiles", ("known",)]
    row = asyncio.run(source.read({"payer_id": "known"}, toy.NOW_S))

    assert Status.FRESH == row.views["payer_tiles"].status
    assert 0.0 == toy.vector(toy.Request(**toy.EXAMPLE), row, toy.NOW_S)[2]


def test_an_unknown_payer_is_the_callers_problem() -> None:
    """A whole store that does not know the payer: refused, naming the field and not its value."""
    with pytest.raises(UnknownEntity) as caught:
        decide(scorer(toy.source())[0], payer_id="stranger")

    assert ["/payer_id"] == [field.pointer for field in caught.value.fields]
    assert "stranger" not in json.dumps(caught.value.as_problem())


def test_a_dead_store_is_answered_by_rules() -> None:
    """The next rung: no score, source fallback, every view missing, never the mildest outcome."""
    source = toy.source()
    source.down = True
    answer, decided = decide(scorer(source)[0])

    assert (None, "fallback", "review", "rules") == (
        answer["score"],
        answer["source"],
        answer["outcome"],
        decided.rung,
    )


def test_rules_hold_without_a_store() -> None:
    """What the request alone shows still counts."""
    source = toy.source()
    source.down = True

    assert "decline" == decide(scorer(source)[0], amount_minor=600_000)[0]["outcome"]


def test_the_answer_is_in_the_ledger_byte_for_byte() -> None:
    """The recorded entry holds the answer, the vector and no raw person."""
    subject, ledger = scorer(toy.source())
    answer, decided = decide(subject)
    recorded = asyncio.run(ledger.get(answer["decision_id"]))
    assert recorded is not None

    assert decided.answer == recorded.entry.answer
    assert [2000.0, 5000.0, 1.0] == np.frombuffer(recorded.entry.vector, "<f8").tolist()
    assert "known" not in repr(recorded.entry.personal)


def test_the_same_payment_is_one_decision() -> None:
    """A repeated request gets the first answer; the same payment with another amount is refused."""
    subject, ledger = scorer(toy.source())
    _, first = decide(subject)
    _, again = decide(subject)

    assert (first.answer, True) == (again.answer, again.replayed)
    assert 1 == asyncio.run(ledger.count())
    with pytest.raises(KeyReused):
        decide(subject, amount_minor=2_001)


def test_reasons_are_given_when_the_outcome_is_not_mildest() -> None:
    """Many payments today: not approved, and velocity is named in plain words."""
    answer, _ = decide(scorer(toy.source(payments_today=12))[0], amount_minor=8_000)

    assert "approve" != answer["outcome"]
    assert "velocity" in [reason["code"] for reason in answer["reasons"]]


def golden(**changes: Any) -> Artefact:
    row = {"payer_facts": {"values": {"limit_minor": 5000}, "status": "fresh", "age_s": 1.0}}
    row["payer_tiles"] = {"values": {"hours": []}, "status": "fresh", "age_s": 1.0}
    whole = toy.artefact()
    score = float(whole.forest.predict(np.array([[2000, 5000, 0]], dtype=np.float32))[0])
    case = {"request": toy.EXAMPLE, "views": row, "at_s": toy.NOW_S, "vector": [2000.0, 5000.0, 0.0], "score": score}
    case["entities"] = {"payer_id": "known"}
    case["outcome"] = "approve"
    return Artefact(whole.digest, whole.signature, whole.forest, whole.policy, [{**case, **changes}], {})


def test_goldens_that_agree_pass() -> None:
    """The same vector, score and outcome as the model was accepted with."""
    check_goldens(golden(), toy.CODE, toy.Request)


@pytest.mark.parametrize(
    "change",
    [{"vector": [2000.0, 5000.0, 1.0]}, {"score": 0.5}, {"outcome": "decline"}, {"vector": [2000.0, None, 0.0]}],
)
def test_a_golden_that_differs_stops_the_service(change: dict[str, Any]) -> None:
    """Another vector, score or outcome than the model was accepted with is never served."""
    with pytest.raises(GoldenMismatch):
        check_goldens(golden(**change), toy.CODE, toy.Request)


def test_a_null_fact_is_as_absent_as_its_view() -> None:
    """A required view with a null in it: said by name, low confidence, never the mildest outcome."""
    source = toy.source()
    source.put("payer_facts", ("known",), {"limit_minor": None}, toy.NOW_S - 10)
    answer, _ = decide(scorer(source)[0])

    assert ["payer_facts:limit_minor"] == answer["features"]["missing"]
    assert ("low", "review") == (answer["confidence"], answer["outcome"])


def test_a_backdated_event_does_not_freshen_a_stale_store() -> None:
    """Ages are measured by our clock: an event's own time, which the caller chooses, changes nothing about them."""
    source = toy.source(at_s=toy.NOW_S - 3_000)
    back = datetime.fromtimestamp(toy.NOW_S - 3_000, UTC).isoformat()
    answer, _ = decide(scorer(source)[0], event_at=back)

    assert ["payer_tiles"] == answer["features"]["stale"]


def test_a_watermark_of_the_future_is_stale() -> None:
    """A writer's clock that runs far ahead would keep everything fresh for ever."""
    source = toy.source()
    source.markers["payments"] = Marker("e", toy.NOW_S + 3_600)

    assert ["payer_tiles"] == decide(scorer(source)[0])[0]["features"]["stale"]


def test_a_damaged_row_of_tiles_is_missing_and_not_zero() -> None:
    """A list of numbers that no writer makes says nothing; it must not read as an account without payments."""
    source = toy.source()
    source.put("payer_tiles", ("known",), {"hours": [1, 2, 3]}, toy.NOW_S - 10)

    assert ["payer_tiles"] == decide(scorer(source)[0])[0]["features"]["missing"]


def test_a_store_that_lost_everything_is_no_worse_than_a_dead_one() -> None:
    """Without any required view there is nothing for the model to judge: the fallback answers, with no score."""
    source = toy.source(marked=False)
    source.rows.clear()
    answer, _ = decide(scorer(source)[0])

    assert (None, "fallback", "review") == (answer["score"], answer["source"], answer["outcome"])


def test_a_repeat_is_answered_even_when_the_payer_has_gone() -> None:
    """Safe to retry: the first answer again, though the store no longer knows the payer; anything else is refused."""
    source = toy.source()
    subject, _ = scorer(source)
    _, first = decide(subject)
    del source.rows["payer_facts", ("known",)]

    assert (first.answer, True) == ((again := decide(subject)[1]).answer, again.replayed)
    with pytest.raises(UnknownEntity):
        decide(subject, payment_id="p2")


def test_a_replay_is_not_counted_as_a_decision() -> None:
    """The counter of decisions counts decisions."""
    registry = CollectorRegistry()
    metrics = Metrics("toy-counted", "stable", registry)
    subject = Scorer(
        toy.artefact(),
        toy.CODE,
        toy.source(),
        MemoryLedger("toy"),
        KeyedHash(b"k" * 32),
        metrics,
        arm="stable",
    )

    def counted() -> float:
        metrics.flush()
        return sum(s.value for m in registry.collect() for s in m.samples if s.name == "scoregate_decisions_total")

    before = counted()
    decide(subject)
    first = counted()
    decide(subject)

    assert (1.0, first) == (first - before, counted())


EVENT = Event("toy", "payments", Effect.COUNT, "count:p1", "p1", round(toy.NOW_S * 1e6), round(toy.NOW_S * 1e6))


def outgoing(ledger: MemoryLedger) -> list[Event]:
    return [Event.decode(one.payload) for one in asyncio.run(ledger.outgoing(ledger.writer, "payments", 0, 100))]


@pytest.mark.parametrize("down", [False, True])
def test_a_decision_and_its_event_become_durable_together(down: bool) -> None:
    """Whoever decided, model or rules: it happened, and others are told once, however often the request is sent."""
    source = toy.source()
    source.down = down
    subject, ledger = scorer(source)
    decide(subject, EVENT)
    decide(subject, EVENT)

    assert [EVENT] == outgoing(ledger)


def test_an_unknown_payer_is_no_event() -> None:
    """What was not decided was not recorded either."""
    subject, ledger = scorer(toy.source())
    with pytest.raises(UnknownEntity):
        decide(subject, EVENT, payer_id="stranger")

    assert [] == outgoing(ledger)


@pytest.mark.parametrize(("late_s", "stale"), [(60, []), (61, ["payer_tiles"])])
def test_tiles_of_now_are_stale_to_a_late_request(late_s: int, stale: list[str]) -> None:
    """More than a minute after its event a request reads tiles that hold later events: never as fresh."""
    back = datetime.fromtimestamp(toy.NOW_S - late_s, UTC).isoformat()
    answer, _ = decide(scorer(toy.source())[0], event_at=back)

    assert (stale, "low" if stale else "full") == (answer["features"]["stale"], answer["confidence"])


def test_late_or_not_what_is_missing_stays_missing() -> None:
    """Stale says that a value is there."""
    source = toy.source()
    del source.markers["payments"]
    back = datetime.fromtimestamp(toy.NOW_S - 3_600, UTC).isoformat()
    notes = decide(scorer(source)[0], event_at=back)[0]["features"]

    assert ([], ["payer_tiles"]) == (notes["stale"], notes["missing"])


def bringing(**facts: Any) -> Any:
    """The toy's code, whose requests bring these facts about the payer."""
    return SimpleNamespace(**vars(toy.CODE), supplied=lambda _: {"payer_facts": facts})


def test_facts_that_are_brought_give_the_vector_of_stored_ones() -> None:
    """The same facts, stored or in the request: one vector, one score; only the notes differ."""
    stored, stored_ledger = scorer(toy.source())
    first, _ = decide(stored)
    other = toy.source()
    other.put("payer_facts", ("known",), {"limit_minor": 1}, toy.NOW_S)
    subject, ledger = scorer(other, code=bringing(limit_minor=5_000))
    answer, _ = decide(subject)
    entries = [asyncio.run(one.get(said["decision_id"])) for one, said in ((stored_ledger, first), (ledger, answer))]

    assert first["score"] == answer["score"]
    assert entries[0] is not None
    assert entries[1] is not None
    assert entries[0].entry.vector == entries[1].entry.vector
    assert ([], ["payer_facts"]) == (first["features"]["supplied"], answer["features"]["supplied"])
    assert ["fresh", 0.0, "supplied", []] == json.loads(entries[1].entry.ages)["payer_facts"]


def test_who_brings_their_facts_need_not_be_known() -> None:
    """An unknown payer with facts is decided by the model."""
    answer, _ = decide(scorer(toy.source(), code=bringing(limit_minor=5_000))[0], payer_id="stranger")

    assert ("model", "full") == (answer["source"], answer["confidence"])


def test_a_fact_that_is_not_brought_is_null() -> None:
    """Nothing is filled in from the store: it is missing, and confidence is low as with a stored null."""
    answer, _ = decide(scorer(toy.source(), code=bringing())[0])

    assert ["payer_facts:limit_minor"] == answer["features"]["missing"]
    assert ("low", "review") == (answer["confidence"], answer["outcome"])


def test_facts_that_are_brought_carry_a_dead_store() -> None:
    """What is left to read is missing; with a part of what the policy requires the model answers, in low confidence."""
    source = toy.source()
    source.down = True
    answer, _ = decide(scorer(source, code=bringing(limit_minor=5_000))[0])

    assert (["payer_tiles"], ["payer_facts"]) == (answer["features"]["missing"], answer["features"]["supplied"])
    assert ("model", "low", "review") == (answer["source"], answer["confidence"], answer["outcome"])


def test_a_view_that_the_model_does_not_read_is_not_brought() -> None:
    """A request may bring more than this version of the model knows."""
    code = SimpleNamespace(**vars(toy.CODE), supplied=lambda _: {"other_facts": {"height": 3}})
    answer, _ = decide(scorer(toy.source(), code=code)[0])

    assert {"stale": [], "missing": [], "supplied": []} == answer["features"]
