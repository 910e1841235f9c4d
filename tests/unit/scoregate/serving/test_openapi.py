"""The document: every path, scope and event is in it, and every reference leads somewhere."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

import toy
from scoregate import catalog
from scoregate.serving.events import by_type, event_code
from scoregate.serving.openapi import document

NAMES = catalog.services()


def written(service: str) -> dict[str, Any]:
    return document(service, catalog.part(service, "contract"), event_code(service))


@pytest.mark.parametrize("service", NAMES)
def test_every_reference_leads_somewhere(service: str) -> None:
    """A dangling one breaks generators."""
    found = written(service)
    wanted = set(re.findall(r'"#/components/schemas/([^"]+)"', json.dumps(found)))

    assert set() == wanted - found["components"]["schemas"].keys()


@pytest.mark.parametrize("service", NAMES)
def test_every_pattern_means_the_same_to_everybody(service: str) -> None:
    r"""No `\s`, `\w`, `\d`: they are wider to us than in JSON Schema, so who checks before he asks would be refused."""
    patterns = re.findall(r'"pattern": "((?:[^"\\]|\\.)*)"', json.dumps(written(service)))

    assert patterns
    assert [] == [pattern for pattern in patterns if re.search(r"\\\\[swdSWDb]", pattern)]


@pytest.mark.parametrize("service", [name for name in NAMES if event_code(name)])
def test_events_are_told_apart_by_their_type(service: str) -> None:
    """One schema per type, named by the discriminator, each with its example."""
    code = event_code(service)
    assert code is not None
    schemas = written(service)["components"]["schemas"]
    mapping = schemas["Event"]["discriminator"]["mapping"]
    of_type = {name: schemas[ref.rsplit("/", 1)[1]] for name, ref in mapping.items()}

    assert by_type(code.EVENTS).keys() == mapping.keys()
    assert {name: name for name in mapping} == {n: s["properties"]["type"]["const"] for n, s in of_type.items()}
    assert {name: name for name in mapping} == {n: s["examples"][0]["type"] for n, s in of_type.items()}
    assert all("type" in schema["required"] for schema in of_type.values())


@pytest.mark.parametrize("service", NAMES)
def test_every_operation_says_its_scope(service: str) -> None:
    """A key needs `<service>:<verb>`; what is done with it follows from the path."""
    paths = written(service)["paths"]
    scopes = {
        path: operation["security"][0]["key"] for path, methods in paths.items() for operation in methods.values()
    }
    verbs = {"score": "score", "score:batch": "score", "events": "events", "decisions": "read", "model": "read"}

    assert {path: [f"{service}:{verbs[path.split('/')[3]]}"] for path in paths} == scopes


def test_events_answer_202_and_problems() -> None:
    """Durable is not yet done."""
    operation = document("toy", toy.CONTRACT, toy.EVENTS)["paths"]["/v1/toy/events"]["post"]

    assert {"202", "400", "401", "403", "413", "415", "422", "429", "503", "504"} <= operation["responses"].keys()
    assert "200" not in operation["responses"]


def test_a_service_without_events_does_not_document_them() -> None:
    """What is not there is not promised."""
    assert "/v1/toy/events" not in document("toy", toy.CONTRACT)["paths"]


def test_supplied_facts_are_in_the_request_and_in_the_answer() -> None:
    """A caller sees that facts may be brought, and where the answer says so."""
    schemas = written("credit")["components"]["schemas"]

    assert "applicant_facts" in schemas["Request"]["properties"]
    assert "applicant_facts" not in schemas["Request"]["required"]
    assert "supplied" in schemas["FeatureNotes"]["required"]


@pytest.mark.parametrize("service", NAMES)
def test_what_a_refusal_says_in_headers_is_documented(service: str) -> None:
    """401 how to come in, 429, 503 and 504 when to try again, and every answer what it is called in logs."""
    operations = [operation for methods in written(service)["paths"].values() for operation in methods.values()]
    wanted = {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After", "504": "Retry-After"}

    for operation in operations:
        said = {status: response["headers"].keys() for status, response in operation["responses"].items()}
        assert all("X-Request-Id" in headers for headers in said.values())
        assert all(header in said[status] for status, header in wanted.items())
