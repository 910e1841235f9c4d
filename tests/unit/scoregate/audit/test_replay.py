"""Replay: what was decided is derived again from entry and artefact, bit for bit, or it is said why not."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import toy
from scoregate.audit.replay import Deciders, replay
from scoregate.errors import LedgerUnavailable
from scoregate.ledger import Entry
from scoregate.ledger.history import History
from scoregate.ledger.sqlite import SqliteLedger
from scoregate.scoring.shadow import Shadow

from .recorded import as_json, decisions, stored


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("models")


@pytest.fixture(scope="module", params=[toy.POLICY, toy.LOOKING], ids=["plain", "looking"])
def entries(models: Path, request: pytest.FixtureRequest) -> list[Entry]:
    return decisions(stored(models, request.param))


def differing(entry: Entry, models: Path) -> list[str]:
    (replayed,) = replay([entry], Deciders(models))
    assert "" == replayed.why_not
    return [difference.field for difference in replayed.differences]


def test_every_decision_is_derived_again_byte_for_byte(entries: list[Entry], models: Path) -> None:
    """Fresh, stale, null, emptied, dead; with reasons, rules and alerts: nothing differs."""
    replayed = replay(entries, Deciders(models))

    assert [] == [one for one in replayed if one.differences or one.why_not]
    assert [entry.decision_id for entry in entries] == [one.decision_id for one in replayed]
    assert {"fresh", "partial", "rules"} == {entry.rung for entry in entries}
    assert any(entry.score is not None and as_json(entry)["reasons"] for entry in entries)
    assert any(["payer_facts:limit_minor"] == as_json(entry)["features"]["missing"] for entry in entries)


def test_nothing_is_taken_from_the_record_but_what_cannot_be_derived(entries: list[Entry], models: Path) -> None:
    """Id, time and arm of every answer; the alert, which needs the person, where there is one."""
    taken = {one.taken for one in replay(entries, Deciders(models))}

    assert {("decision_id", "decided_at", "arm"), ("decision_id", "decided_at", "arm", "alert")} == taken


@pytest.mark.parametrize(
    ("field", "value"),
    [("outcome", "decline"), ("score", 0.123456), ("reasons", []), ("confidence", "low"), ("source", "fallback")],
)
def test_a_changed_answer_is_named(entries: list[Entry], models: Path, field: str, value: Any) -> None:
    """Whatever of an answer does not follow from the rest is found, and nothing else."""
    entry = next(e for e in entries if e.rung == "fresh" and e.outcome == "review" and as_json(e)["reasons"])
    answer = json.dumps({**as_json(entry), field: value}, separators=(",", ":"), ensure_ascii=False).encode()

    assert [field] == differing(replace(entry, answer=answer), models)


def test_a_shadow_is_derived_again(models: Path) -> None:
    """Score and outcome of the other model too, by its own forest and policy; a changed one is named."""
    champion = stored(models)
    other = stored(models, toy.POLICY.replace("0.9", "0.8"))
    looked_at = [entry for entry in decisions(champion, Shadow.beside(champion, other)) if entry.shadow]
    entry = looked_at[0]
    said = {**json.loads(entry.shadow or ""), "score": 0.123, "outcome": "nothing"}

    assert [] == [one for one in replay(looked_at, Deciders(models)) if one.differences or "shadow" in one.taken]
    assert ["shadow.score", "shadow.outcome"] == differing(replace(entry, shadow=json.dumps(said)), models)


def test_a_shadow_that_is_not_stored_is_taken_from_the_record(models: Path) -> None:
    """The decision itself is derived all the same."""
    champion = stored(models)
    entry = next(e for e in decisions(champion, Shadow(replace(champion, digest="e" * 64))) if e.shadow)
    (replayed,) = replay([entry], Deciders(models))

    assert ("", ()) == (replayed.why_not, replayed.differences)
    assert "shadow" in replayed.taken


def test_a_score_that_differs_in_its_last_bit_is_named(entries: list[Entry], models: Path) -> None:
    """The answer rounds; the entry does not."""
    entry = next(e for e in entries if e.score is not None)
    assert entry.score is not None

    assert ["entry.score"] == differing(replace(entry, score=entry.score * (1 + 2**-52)), models)


def test_a_changed_vector_is_seen_in_the_score(entries: list[Entry], models: Path) -> None:
    """The vector is what the score is of."""
    entry, other = entries[0], next(e for e in entries if e.score not in (None, entries[0].score))

    assert "entry.score" in differing(replace(entry, vector=other.vector), models)


def test_a_view_that_was_fresher_than_recorded_is_seen(entries: list[Entry], models: Path) -> None:
    """Confidence, outcome and notes follow from the status of each view."""
    entry = next(e for e in entries if '["stale"' in e.ages)
    ages = entry.ages.replace('["stale"', '["fresh"')

    assert {"features", "confidence"} <= set(differing(replace(entry, ages=ages), models))


def test_an_entry_that_does_not_name_its_nulls_is_replayed_with_those_of_its_answer(
    entries: list[Entry], models: Path
) -> None:
    """Entries from before nulls were noted hold: what is not derived is said."""
    before = [
        replace(entry, ages=json.dumps({view: said[:2] for view, said in json.loads(entry.ages).items()}))
        for entry in entries
    ]
    replayed = replay(before, Deciders(models))

    assert [] == [one for one in replayed if one.differences or one.why_not]
    assert {"nulls in features.missing"} == {one.taken[-1] for one in replayed}


def test_a_forgotten_decision_says_why_it_cannot_be_replayed(entries: list[Entry], models: Path) -> None:
    """What was forgotten is not a difference."""
    replayed = replay([replace(entries[0], vector=b""), replace(entries[0], answer=b""), entries[0]], Deciders(models))

    assert ["its vector was forgotten", "its answer was forgotten", ""] == [one.why_not for one in replayed]


def test_a_model_that_is_gone_is_named_by_its_digest(entries: list[Entry], models: Path) -> None:
    """Which artefact has to be brought back, in full."""
    (replayed,) = replay([replace(entries[0], model_digest="e" * 64)], Deciders(models))

    assert "e" * 64 in replayed.why_not


def test_another_policy_than_the_stored_one_is_not_replayed(entries: list[Entry], models: Path) -> None:
    """A model and its policy are one artefact."""
    (replayed,) = replay([replace(entries[0], policy_digest="e" * 64)], Deciders(models))

    assert f"the policy {'e' * 64} is not stored" in replayed.why_not


def test_decisions_of_several_models_keep_their_order(entries: list[Entry], models: Path) -> None:
    """Each by its own model, whatever comes between."""
    other = decisions(stored(models, toy.POLICY.replace("fixed_minor = 300", "fixed_minor = 30")))
    mixed = [entry for pair in zip(entries, other, strict=True) for entry in pair]
    replayed = replay(mixed, Deciders(models))

    assert [entry.decision_id for entry in mixed] == [one.decision_id for one in replayed]
    assert [] == [one for one in replayed if one.differences or one.why_not]
    assert 2 == len({one.model for one in replayed})


def test_history_is_read_in_order_and_in_pages(entries: list[Entry], tmp_path: Path) -> None:
    """Every entry once, from a time on, and one by its id; the ledger gets no writer by it."""

    async def fill() -> None:
        ledger = await SqliteLedger.open(tmp_path / "toy.db", "toy")
        for n, entry in enumerate(entries):
            await ledger.append(replace(entry, decision_id=f"d{n:04d}", decided_at=1_000.0 + n))
        await ledger.close()

    asyncio.run(fill())
    with History(f"sqlite:///{tmp_path}/toy.db", "toy") as history:
        pages = [[recorded.entry.decision_id for recorded in page] for page in history.pages(1_003.0, size=5)]
        one = history.one("d0002")
        none = history.one("d9999")

    assert [f"d{n:04d}" for n in range(3, len(entries))] == [id_ for page in pages for id_ in page]
    assert 5 == max(map(len, pages))
    assert one is not None
    assert (entries[2].vector, None) == (one.entry.vector, none)


def test_a_ledger_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    """Looking leaves nothing behind."""
    with pytest.raises(LedgerUnavailable):
        History(f"sqlite:///{tmp_path}/toy.db", "toy")

    assert [] == [*tmp_path.iterdir()]
