"""The OpenAPI 3.1 document of one service, from its contract: what callers, gateways and fuzzers read."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel

from scoregate import __version__
from scoregate.contract import Answer, EventReceipt, Problem, ScoreRequest
from scoregate.serving import wire
from scoregate.serving.events import MOST_EVENTS, EventCode, by_type

_PROBLEMS = {
    "400": "The body is not JSON.",
    "401": "No valid key or token.",
    "403": "The key or token lacks the scope.",
    "404": "Nothing is here.",
    "409": "The same transaction or application is being decided right now.",
    "413": "The body is too large.",
    "415": "The body is not application/json.",
    "422": "Fields cannot be accepted, an entity or an event's subject is not known, or a key was used with another "
    "body.",
    "429": "Too many requests, or failed attempts from one address; see Retry-After.",
    "503": "Not now: starting, shedding, or nothing to decide with; see Retry-After.",
    "504": "No decision, or nothing recorded, within the deadline.",
}


def document(service: str, contract: Any, events: EventCode | None = None) -> dict[str, Any]:
    """Build the document of a service from its modules `contract` and, where there is one, `events`."""
    request: type[ScoreRequest] = contract.Request
    schemas: dict[str, Any] = {}
    _add(schemas, "Request", request, taken=True)
    _add(schemas, "Answer", Answer)
    _add(schemas, "Problem", Problem)
    schemas["Request"]["examples"] = [contract.EXAMPLE]
    prefix = f"/v1/{service}"
    may_score, may_read = _scope(service, "score"), _scope(service, "read")
    said: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {
            "title": f"scoregate {service}",
            "version": __version__,
            "description": f"Decisions of the {service} service. Errors are RFC 9457 problems with a stable type.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"key": []}],
        "paths": {
            f"{prefix}/score": {
                "post": {
                    "operationId": "score",
                    "security": may_score,
                    "summary": "Decide one request",
                    "parameters": [_IDEMPOTENCY, _DEADLINE],
                    "requestBody": _body({"$ref": "#/components/schemas/Request"}, contract.EXAMPLE),
                    "responses": _responses({"$ref": "#/components/schemas/Answer"}, "The decision."),
                }
            },
            f"{prefix}/score:batch": {
                "post": {
                    "operationId": "scoreBatch",
                    "security": may_score,
                    "summary": "Decide up to 1,000 requests, each with an answer or a problem of its own",
                    "parameters": [_DEADLINE],
                    "requestBody": _body(_several("rows", 1_000), {"rows": [contract.EXAMPLE]}),
                    "responses": _responses(_BATCH_ANSWER, "One result per row, in order."),
                }
            },
            f"{prefix}/decisions/{{decision_id}}": {
                "get": {
                    "operationId": "decision",
                    "security": may_read,
                    "summary": "Give an earlier answer again, byte for byte",
                    "parameters": [
                        {"name": "decision_id", "in": "path", "required": True, "schema": {"type": "string"}}
                    ],
                    "responses": _responses({"$ref": "#/components/schemas/Answer"}, "The decision."),
                }
            },
            f"{prefix}/model": {
                "get": {
                    "operationId": "model",
                    "security": may_read,
                    "summary": "Say which model and policy answer",
                    "responses": _responses({"type": "object"}, "Name, version, features, training and metrics."),
                }
            },
        },
        "components": {
            "schemas": schemas,
            "headers": _HEADERS,
            "securitySchemes": {
                "key": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "sg_<id>_<secret> or JWT",
                    "description": "An API key, or a token of the trusted issuer. Scopes are `service:verb`.",
                }
            },
        },
    }
    if events is not None:
        said["paths"][f"{prefix}/events"] = {"post": _events(service, events, schemas)}
    return said


def _events(service: str, events: EventCode, schemas: dict[str, Any]) -> dict[str, Any]:
    """Return the operation that takes events, and add its schemas."""
    _add(schemas, "EventReceipt", EventReceipt)
    refs = {}
    for name, model in by_type(events.EVENTS).items():
        _add(schemas, model.__name__, model, taken=True)
        schemas[model.__name__]["examples"] = [example for example in events.EXAMPLES if example["type"] == name]
        refs[name] = f"#/components/schemas/{model.__name__}"
    schemas["Event"] = {
        "oneOf": [{"$ref": ref} for ref in refs.values()],
        "discriminator": {"propertyName": "type", "mapping": refs},
    }
    several = _several("events", MOST_EVENTS)
    examples = {example["type"]: {"value": example} for example in events.EXAMPLES}
    examples["several"] = {"value": {"events": list(events.EXAMPLES)}}
    body = {"schema": {"anyOf": [{"$ref": "#/components/schemas/Event"}, several]}, "examples": examples}
    receipt = {"$ref": "#/components/schemas/EventReceipt"}
    return {
        "operationId": "events",
        "security": _scope(service, "events"),
        "summary": f"Say what happened: one event, or up to {MOST_EVENTS:,}, each counts once however often sent",
        "parameters": [_DEADLINE],
        "requestBody": {"required": True, "content": {"application/json": body}},
        "responses": _responses(
            {"anyOf": [receipt, _EVENT_RESULTS]}, "Durable. Of several, one result per event, in order.", "202"
        ),
    }


def _add(schemas: dict[str, Any], name: str, model: type[BaseModel], *, taken: bool = False) -> None:
    """Add a model's schema and those it refers to; `taken`: as it comes in, not as it goes out."""
    mode: Literal["validation", "serialization"] = "validation" if taken else "serialization"
    schema = model.model_json_schema(mode=mode, ref_template="#/components/schemas/{model}")
    schemas.update(schema.pop("$defs", {}))
    schemas[name] = schema


def _scope(service: str, verb: str) -> list[dict[str, list[str]]]:
    return [{"key": [f"{service}:{verb}"]}]


def _header(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "header", "required": False, "description": description, "schema": schema}


_IDEMPOTENCY = _header(
    "Idempotency-Key",
    "The same key and body give the same decision, byte for byte; the natural key of the request holds without it.",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[\\x21-\\x7e]+$"},
)
_DEADLINE = _header(
    "X-Request-Deadline-Ms",
    "Time for an answer; the service's own limit holds above it.",
    {"type": "integer", "minimum": 1, "maximum": wire.MOST_DEADLINE_MS},
)
_HEADERS = {
    "X-Request-Id": {
        "description": "What the request is called in logs: the one that came, or one of ours.",
        "schema": {"type": "string"},
    },
    "Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 0}},
    "WWW-Authenticate": {"description": "Always Bearer.", "schema": {"type": "string"}},
    "X-Decision-Replayed": {
        "description": "There when the answer is that of an earlier request.",
        "schema": {"type": "string", "enum": ["true"]},
    },
}
_SAID_WITH = {"401": "WWW-Authenticate", "429": "Retry-After", "503": "Retry-After", "504": "Retry-After"}
_BATCH_ANSWER = {
    "type": "object",
    "required": ["results"],
    "properties": {
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["status"],
                "properties": {
                    "status": {"type": "integer"},
                    "answer": {"$ref": "#/components/schemas/Answer"},
                    "problem": {"$ref": "#/components/schemas/Problem"},
                },
            },
        }
    },
}
_EVENT_RESULTS = {
    "type": "object",
    "required": ["results"],
    "properties": {
        "results": {
            "type": "array",
            "items": {
                "anyOf": [
                    {"$ref": "#/components/schemas/EventReceipt"},
                    {
                        "type": "object",
                        "required": ["status", "problem"],
                        "properties": {
                            "status": {"const": "refused"},
                            "problem": {"$ref": "#/components/schemas/Problem"},
                        },
                    },
                ]
            },
        }
    },
}


def _several(member: str, most: int) -> dict[str, Any]:
    # One that cannot be accepted is that one's own problem, so the schema takes any value for it.
    return {
        "type": "object",
        "required": [member],
        "additionalProperties": False,
        "properties": {member: {"type": "array", "minItems": 1, "maxItems": most, "items": {}}},
    }


def _body(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def _responses(schema: dict[str, Any], description: str, status: str = "200") -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        status: {
            "description": description,
            "headers": _named("X-Request-Id", "X-Decision-Replayed"),
            "content": {"application/json": {"schema": schema}},
        },
        **{
            code: {"description": text, "headers": _named("X-Request-Id", _SAID_WITH.get(code)), "content": problem}
            for code, text in _PROBLEMS.items()
        },
    }


def _named(*headers: str | None) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in headers if name}
