"""Events through the real gateway: durable, counted once, and seen by the next score."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from conftest import Stack
from scoregate import catalog
from scoregate.contract import FactsEvent
from scoregate.serving.events import by_type, event_code
from service.test_bad_input import check
from service.test_scores import NAMES, example

WITH_EVENTS = [name for name in NAMES if event_code(name)]


def post(stack: Stack, service: str, body: Any, key: str | None = None) -> httpx.Response:
    headers = {"authorization": f"Bearer {key or stack.key}"}
    return httpx.post(f"{stack.url}/v1/{service}/events", json=body, headers=headers, timeout=60)


def now() -> str:
    return datetime.now(UTC).isoformat()


def told(stack: Stack, service: str) -> list[dict[str, Any]]:
    """One event of each type, of now: about something that was scored, and facts about somebody of its own."""
    code = event_code(service)
    assert code is not None
    field = catalog.part(service, "contract").Request.NATURAL_KEY
    scored = example(service)
    assert 200 == stack.post(service, scored).status_code
    events = []
    for name, model in by_type(code.EVENTS).items():
        said = next(one for one in code.EXAMPLES if one["type"] == name)
        subject = {model.ENTITY: uuid.uuid4().hex} if issubclass(model, FactsEvent) else {field: scored[field]}
        events.append({**said, **subject, "event_at": now()})
    return events


def until(holds: Callable[[], bool], within_s: float = 60) -> bool:
    """Whether something comes true within a time: the worker is another process."""
    last = time.monotonic() + within_s
    while time.monotonic() < last:
        if holds():
            return True
        time.sleep(0.05)
    return holds()


@pytest.mark.parametrize("service", WITH_EVENTS)
def test_every_kind_of_event_is_taken_once(stack: Stack, service: str) -> None:
    """202 for all of them, and `known` when they are sent again."""
    events = told(stack, service)
    first, again = post(stack, service, {"events": events}), post(stack, service, {"events": events})

    assert (202, 202) == (first.status_code, again.status_code)
    assert {"recorded", "known"} >= {one["status"] for one in first.json()["results"]}
    assert {"known"} == {one["status"] for one in again.json()["results"]}
    assert [one["event"] for one in first.json()["results"]] == [one["event"] for one in again.json()["results"]]


@pytest.mark.parametrize("service", WITH_EVENTS)
def test_bad_events_have_clear_problems(stack: Stack, service: str) -> None:
    """No type, an unknown subject, a wrong scope, another method: each by its own problem, and no value repeated."""
    code = event_code(service)
    assert code is not None
    field = catalog.part(service, "contract").Request.NATURAL_KEY
    label = next(said for said in code.EXAMPLES if said["type"] == "labelled")
    check(post(stack, service, {"type": "secret-4929"}), 422, "invalid-fields")
    unknown = post(stack, service, {**label, field: "secret-4929", "event_at": now()})
    check(unknown, 422, "unknown-subject")
    check(stack.get(f"/v1/{service}/events"), 405, "method-not-allowed")
    key = stack.restricted_key(f"{service}:score")
    check(post(stack, service, label, key=key), 403, "forbidden")
    assert "secret-4929" not in unknown.text


@pytest.mark.skipif("fraud" not in NAMES, reason="speaks of payments")
def test_posted_payments_are_counted_in_the_next_score(stack: Stack) -> None:
    """A new account is known once its facts are posted; the vector counts all that was posted and scored."""
    account = f"acc_{uuid.uuid4().hex[:12]}"
    facts = {"type": "account", "account_id": account, "opened_at": 1_600_000_000, "home_country": "DE"}
    check(stack.post("fraud", example("fraud", account_id=account)), 422, "unknown-entity")
    assert 202 == post(stack, "fraud", {**facts, "segment": "private"}).status_code
    assert until(lambda: stack.post("fraud", example("fraud", account_id=account)).status_code == 200)
    settled = [{"type": "settled", **example("fraud", account_id=account), "event_at": now()} for _ in range(20)]
    assert 202 == post(stack, "fraud", {"events": settled}).status_code
    before = 1 + len(settled)
    seen = []

    def counted() -> bool:
        decision = stack.post("fraud", example("fraud", account_id=account)).json()["decision_id"]
        entry = json.loads(stack.scoregate("ledger", "show", decision).stdout)
        seen.append((before + len(seen), entry["vector"]["account_count_1h"]))
        return bool(seen[-1][0] == seen[-1][1])

    assert until(counted), seen


@pytest.mark.skipif("credit" not in NAMES, reason="speaks of loans")
def test_a_new_applicant_is_scored_by_the_model_once_facts_are_posted(stack: Stack) -> None:
    """Unknown at first; after the facts the model answers in full confidence."""
    applicant = f"app_{uuid.uuid4().hex[:12]}"
    check(stack.post("credit", example("credit", applicant_id=applicant)), 422, "unknown-entity")
    code = event_code("credit")
    assert code is not None
    assert 202 == post(stack, "credit", {**code.EXAMPLES[0], "applicant_id": applicant}).status_code

    def scored() -> bool:
        answer = stack.post("credit", example("credit", applicant_id=applicant)).json()
        return (answer.get("source"), answer.get("confidence")) == ("model", "full")

    assert until(scored)


@pytest.mark.skipif("credit" not in NAMES, reason="speaks of loans")
def test_facts_may_come_with_the_request(stack: Stack) -> None:
    """The same facts give the same score, posted or brought; brought ones are said to be, and are not kept."""
    code = event_code("credit")
    assert code is not None
    facts = {name: value for name, value in code.EXAMPLES[0].items() if name not in ("type", "applicant_id")}
    brought, posted = f"app_{uuid.uuid4().hex[:12]}", f"app_{uuid.uuid4().hex[:12]}"
    answer = stack.post("credit", example("credit", applicant_id=brought, applicant_facts=facts)).json()
    post(stack, "credit", {**code.EXAMPLES[0], "applicant_id": posted})
    assert until(lambda: stack.post("credit", example("credit", applicant_id=posted)).status_code == 200)
    stored = stack.post("credit", example("credit", applicant_id=posted)).json()

    assert ("model", "full", ["applicant_facts"]) == (
        answer["source"],
        answer["confidence"],
        answer["features"]["supplied"],
    )
    assert (answer["score"], []) == (stored["score"], stored["features"]["supplied"])
    check(stack.post("credit", example("credit", applicant_id=brought)), 422, "unknown-entity")
