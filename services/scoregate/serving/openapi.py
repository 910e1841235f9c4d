"""The OpenAPI 3.1 document of one service, from its contract: what callers, gateways and fuzzers read."""

from __future__ import annotations

from typing import Any

from scoregate import __version__
from scoregate.contract import Answer, Problem, ScoreRequest

_PROBLEMS = {
    "400": "The body is not JSON.",
    "401": "No valid key.",
    "403": "The key lacks the scope.",
    "404": "Nothing is here.",
    "409": "The same transaction or application is being decided right now.",
    "413": "The body is too large.",
    "415": "The body is not application/json.",
    "422": "Fields cannot be accepted, an entity is not known, or a key was used with another body.",
    "429": "Too many requests; see Retry-After.",
    "503": "Not now: starting, shedding, or nothing to decide with; see Retry-After.",
    "504": "No decision within the deadline.",
}


def document(service: str, contract: Any) -> dict[str, Any]:
    """Build the document; `contract` is the service's module with `Request` and `EXAMPLE`."""
    request: type[ScoreRequest] = contract.Request
    schemas: dict[str, Any] = {}
    for name, model in (("Request", request), ("Answer", Answer), ("Problem", Problem)):
        mode = "validation" if name == "Request" else "serialization"
        schema = model.model_json_schema(mode=mode, ref_template="#/components/schemas/{model}")  # type: ignore[arg-type]
        schemas.update(schema.pop("$defs", {}))
        schemas[name] = schema
    schemas["Request"]["examples"] = [contract.EXAMPLE]
    prefix = f"/v1/{service}"
    return {
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
                    "summary": "Decide one request",
                    "parameters": [_IDEMPOTENCY, _DEADLINE],
                    "requestBody": _body({"$ref": "#/components/schemas/Request"}, contract.EXAMPLE),
                    "responses": _responses({"$ref": "#/components/schemas/Answer"}, "The decision."),
                }
            },
            f"{prefix}/score:batch": {
                "post": {
                    "operationId": "scoreBatch",
                    "summary": "Decide up to 1,000 requests, each with an answer or a problem of its own",
                    "parameters": [_DEADLINE],
                    "requestBody": _body(_batch_request(), {"rows": [contract.EXAMPLE]}),
                    "responses": _responses(_BATCH_ANSWER, "One result per row, in order."),
                }
            },
            f"{prefix}/decisions/{{decision_id}}": {
                "get": {
                    "operationId": "decision",
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
                    "summary": "Say which model and policy answer",
                    "responses": _responses({"type": "object"}, "Name, version, features, training and metrics."),
                }
            },
        },
        "components": {
            "schemas": schemas,
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer", "bearerFormat": "sg_<id>_<secret>"}},
        },
    }


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
    {"type": "integer", "minimum": 1},
)
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


def _batch_request() -> dict[str, Any]:
    # A row that cannot be accepted is that row's own problem, so the batch's schema takes any value for a row.
    return {
        "type": "object",
        "required": ["rows"],
        "additionalProperties": False,
        "properties": {"rows": {"type": "array", "minItems": 1, "maxItems": 1000, "items": {}}},
    }


def _body(schema: dict[str, Any], example: Any) -> dict[str, Any]:
    return {"required": True, "content": {"application/json": {"schema": schema, "example": example}}}


def _responses(schema: dict[str, Any], description: str) -> dict[str, Any]:
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        "200": {"description": description, "content": {"application/json": {"schema": schema}}},
        **{status: {"description": text, "content": problem} for status, text in _PROBLEMS.items()},
    }
