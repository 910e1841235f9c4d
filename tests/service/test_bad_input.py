"""Bad input through the real gateway: each kind has its own clear problem, and the service stays ready."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx
import pytest

from conftest import Stack
from scoregate import catalog
from service.test_scores import NAMES, example


def check(response: httpx.Response, status: int, slug: str) -> dict[str, object]:
    problem: dict[str, object] = response.json()
    assert (status, "application/problem+json") == (response.status_code, response.headers["content-type"])
    assert (status, slug) == (problem["status"], str(problem["type"]).rsplit("/", 1)[1])
    assert problem["title"]
    assert problem["detail"]
    return problem


@pytest.fixture(autouse=True)
def stays_ready(stack: Stack) -> Iterator[None]:
    """Whatever came in, a good request is answered after it."""
    yield
    for service in NAMES:
        assert 200 == stack.post(service, example(service)).status_code


def test_an_unknown_path(stack: Stack) -> None:
    """The gateway's 404 and the service's have one shape."""
    check(httpx.get(f"{stack.url}/nothing"), 404, "not-found")
    check(stack.get(f"/v1/{NAMES[0]}/nothing"), 404, "not-found")


@pytest.mark.parametrize("service", NAMES)
def test_a_wrong_method(stack: Stack, service: str) -> None:
    """405 says what the path takes."""
    response = stack.get(f"/v1/{service}/score")
    check(response, 405, "method-not-allowed")

    assert "POST" == response.headers["allow"]


@pytest.mark.parametrize("service", NAMES)
@pytest.mark.parametrize("key", ["x", "sg_demo_", "sg_demo_guess"])
def test_no_or_a_wrong_key(stack: Stack, service: str, key: str) -> None:
    """401, the same for every way of being wrong."""
    response = stack.post(service, example(service), key=key)
    check(response, 401, "unauthenticated")

    assert "Bearer" == response.headers["www-authenticate"]


def test_a_wrong_scope(stack: Stack) -> None:
    """A key of one service does not open another, and a scoring key does not read decisions."""
    key = stack.restricted_key(f"{NAMES[0]}:score")
    assert 200 == stack.post(NAMES[0], example(NAMES[0]), key=key).status_code
    check(stack.post(NAMES[1], example(NAMES[1]), key=key), 403, "forbidden")
    check(stack.get(f"/v1/{NAMES[0]}/model", key=key), 403, "forbidden")


@pytest.mark.parametrize("service", NAMES)
def test_malformed_json(stack: Stack, service: str) -> None:
    """Not JSON is said to be not JSON."""
    check(stack.post(service, b'{"half": '), 400, "malformed-json")


@pytest.mark.parametrize("service", NAMES)
def test_another_media_type(stack: Stack, service: str) -> None:
    """Only application/json is taken."""
    check(stack.post(service, example(service), **{"content-type": "text/csv"}), 415, "unsupported-media-type")


@pytest.mark.parametrize("service", NAMES)
def test_wrong_types_and_unknown_fields_are_all_named(stack: Stack, service: str) -> None:
    """Every field given a nested secret is named, the unknown one too, and the secret is not repeated."""
    secret = "jane-4929"
    body = {name: {"is": secret} for name in example(service)} | {"surprise": secret}
    response = stack.post(service, body)
    problem = check(response, 422, "invalid-fields")

    assert {f"/{name}" for name in body} == {error["pointer"] for error in problem["errors"]}  # type: ignore[index,attr-defined]
    assert secret not in response.text


@pytest.mark.parametrize("service", NAMES)
def test_a_missing_field(stack: Stack, service: str) -> None:
    """An empty object names every required field."""
    required = {f"/{n}" for n, f in catalog.part(service, "contract").Request.model_fields.items() if f.is_required()}
    problem = check(stack.post(service, {}), 422, "invalid-fields")

    assert required == {error["pointer"] for error in problem["errors"]}  # type: ignore[index,attr-defined]


@pytest.mark.parametrize("service", [n for n in NAMES if "amount_minor" in catalog.part(n, "contract").EXAMPLE])
@pytest.mark.parametrize("amount", [0, -1, 10**12, 1.5, "12"])
def test_an_amount_out_of_range(stack: Stack, service: str, amount: object) -> None:
    """Zero, negative, absurd, fractional and quoted amounts name the field."""
    problem = check(stack.post(service, example(service, amount_minor=amount)), 422, "invalid-fields")

    assert ["/amount_minor"] == [error["pointer"] for error in problem["errors"]]  # type: ignore[index,attr-defined]


@pytest.mark.parametrize("service", NAMES)
def test_a_time_in_the_future(stack: Stack, service: str) -> None:
    """What has not happened cannot be scored."""
    late = (datetime.now(UTC) + timedelta(hours=1)).isoformat()
    problem = check(stack.post(service, example(service, event_at=late)), 422, "invalid-fields")

    assert ["/event_at"] == [error["pointer"] for error in problem["errors"]]  # type: ignore[index,attr-defined]


@pytest.mark.parametrize("service", NAMES)
def test_a_body_of_two_megabytes(stack: Stack, service: str) -> None:
    """The gateway refuses it, and the service does too when asked directly."""
    body = json.dumps({"padding": "x" * 2_000_000}).encode()
    check(stack.post(service, body), 413, "body-too-large")
    port = int(stack.env["SCOREGATE_BASE_PORT"]) + 1 + NAMES.index(service)
    direct = httpx.post(
        f"http://127.0.0.1:{port}/v1/{service}/score",
        content=body,
        headers={"authorization": f"Bearer {stack.key}", "content-type": "application/json"},
    )
    check(direct, 413, "body-too-large")


UNKNOWN = {"fraud": {"account_id": "acc_nobody"}, "credit": {"applicant_id": "app_nobody"}}


@pytest.mark.parametrize("service", sorted(UNKNOWN.keys() & set(NAMES)))
def test_an_unknown_entity(stack: Stack, service: str) -> None:
    """A whole store that does not know the account: a problem of its own that names the field and not the value."""
    (field, value), *_ = UNKNOWN[service].items()
    response = stack.post(service, example(service, **UNKNOWN[service]))
    problem = check(response, 422, "unknown-entity")

    assert [f"/{field}"] == [error["pointer"] for error in problem["errors"]]  # type: ignore[index,attr-defined]
    assert value not in response.text


def test_an_unknown_decision(stack: Stack) -> None:
    """An id that the ledger does not hold is a 404 of the service."""
    check(stack.get(f"/v1/{NAMES[0]}/decisions/no-such-decision"), 404, "not-found")


@pytest.mark.parametrize("rows", [[], "x", None, [{}] * 1001])
def test_a_batch_that_is_none(stack: Stack, rows: object) -> None:
    """Empty, too long or no array: the member is named."""
    response = httpx.post(
        f"{stack.url}/v1/{NAMES[0]}/score:batch",
        json={"rows": rows},
        headers={"authorization": f"Bearer {stack.key}"},
    )
    check(response, 422, "invalid-fields")


@pytest.mark.parametrize("name", ["x-request-deadline-ms", "idempotency-key"])
def test_a_bad_header(stack: Stack, name: str) -> None:
    """A header that cannot be used is named like a field."""
    problem = check(stack.post(NAMES[0], example(NAMES[0]), **{name: "a b"}), 422, "invalid-fields")

    assert f"header:{name}" == str(problem["errors"][0]["pointer"]).lower()  # type: ignore[index]
