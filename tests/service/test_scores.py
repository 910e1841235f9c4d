"""Every service through the real gateway: one shape of answer, kept, repeatable."""

from __future__ import annotations

import uuid
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest

from conftest import PATIENCE_S, Stack
from scoregate import catalog
from scoregate.contract import Answer

NAMES = catalog.services()


def example(service: str, **changes: Any) -> dict[str, Any]:
    """The service's example under a natural key of its own."""
    contract = catalog.part(service, "contract")
    return {**contract.EXAMPLE, contract.Request.NATURAL_KEY: f"test-{uuid.uuid4().hex[:12]}", **changes}


@pytest.mark.parametrize("service", NAMES)
def test_the_example_is_answered_by_the_model_on_fresh_features(stack: Stack, service: str) -> None:
    """The printed curl works: 200, the shared shape, source model, nothing stale or missing."""
    response = stack.post(service, example(service))
    answer = Answer.model_validate_json(response.content)

    assert (200, "model", "full", [], [], []) == (
        response.status_code,
        answer.source,
        answer.confidence,
        answer.features.stale,
        answer.features.missing,
        answer.features.outside,
    )
    assert answer.score is not None
    assert 0 <= answer.score <= 1


@pytest.mark.parametrize("service", NAMES)
def test_a_decision_is_in_the_ledger_by_its_id(stack: Stack, service: str) -> None:
    """The answer given again by GET is byte for byte the one that was given."""
    first = stack.post(service, example(service))
    found = stack.get(f"/v1/{service}/decisions/{first.json()['decision_id']}")

    assert (200, first.content) == (found.status_code, found.content)


@pytest.mark.parametrize("service", NAMES)
def test_a_repeated_request_is_one_decision(stack: Stack, service: str) -> None:
    """Safe to retry: the same bytes, marked as replayed."""
    body = example(service)
    first, again = stack.post(service, body), stack.post(service, body)

    assert first.content == again.content
    assert ("x-decision-replayed" in first.headers, again.headers["x-decision-replayed"]) == (False, "true")


@pytest.mark.parametrize("service", NAMES)
def test_concurrent_duplicates_are_one_decision(stack: Stack, service: str) -> None:
    """Twenty at once: one decision id; those that met it in flight are told so with 409."""
    body = example(service)
    with ThreadPoolExecutor(20) as pool:
        responses = list(pool.map(lambda _: stack.post(service, body), range(20)))
    decided = {r.json()["decision_id"] for r in responses if r.status_code == 200}

    assert 1 == len(decided)
    assert {r.status_code for r in responses} <= {200, 409}


@pytest.mark.parametrize("service", NAMES)
def test_an_idempotency_key_belongs_to_one_body(stack: Stack, service: str) -> None:
    """The same key with another body is refused."""
    key = uuid.uuid4().hex
    stack.post(service, example(service), **{"idempotency-key": key})
    other = stack.post(service, example(service), **{"idempotency-key": key})

    assert (422, True) == (other.status_code, other.json()["type"].endswith("/idempotency-key-reused"))


@pytest.mark.parametrize("service", NAMES)
def test_a_batch_answers_row_by_row(stack: Stack, service: str) -> None:
    """Each row has its own answer or problem; the order is kept."""
    rows = [example(service), {"wrong": 1}, example(service)]
    response = httpx.post(
        f"{stack.url}/v1/{service}/score:batch",
        json={"rows": rows},
        headers={"authorization": f"Bearer {stack.key}"},
        timeout=PATIENCE_S,
    )

    assert [200, 422, 200] == [r["status"] for r in response.json()["results"]]


@pytest.mark.parametrize("service", NAMES)
def test_a_large_batch_is_answered_by_the_model(stack: Stack, service: str) -> None:
    """Many rows are no reason to fall down the ladder: each is decided on its features."""
    rows = [example(service) for _ in range(400)]
    response = httpx.post(
        f"{stack.url}/v1/{service}/score:batch",
        json={"rows": rows},
        headers={"authorization": f"Bearer {stack.key}"},
        timeout=PATIENCE_S,
    )
    results = response.json()["results"]

    assert {200} == {result["status"] for result in results}
    assert {("model", "full")} == {(r["answer"]["source"], r["answer"]["confidence"]) for r in results}


@pytest.mark.parametrize("service", NAMES)
def test_the_service_says_what_it_serves(stack: Stack, service: str) -> None:
    """Model, metrics text and OpenAPI document are there, and the document names the paths."""
    model = stack.get(f"/v1/{service}/model").json()
    document = stack.get(f"/v1/{service}/openapi.json").json()

    assert (service, f"{service}_v1") == (model["service"], model["name"])
    assert ("3.1.0", True) == (document["openapi"], f"/v1/{service}/score" in document["paths"])
    assert document["components"]["schemas"]["Request"]["examples"]
