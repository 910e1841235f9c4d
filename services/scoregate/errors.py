"""Every error scoregate raises, in one tree; rendered once, at the door, as an RFC 9457 problem.

    ScoregateError
    ├── RequestError                 the caller's fault: fix the request, do not retry it unchanged (4xx)
    │   ├── BadJson                  400  the body is not JSON
    │   ├── InvalidFields            422  names every bad field at once
    │   ├── Unauthenticated          401  none, unknown or expired key or token: told nothing apart
    │   ├── Forbidden                403  the key or token lacks the scope
    │   ├── NotFound                 404  no such path or decision
    │   ├── MethodNotAllowed         405
    │   ├── BodyTooLarge             413
    │   ├── UnsupportedMedia         415
    │   ├── UnknownEntity            422  the store is whole and does not know this entity
    │   ├── UnknownSubject           422  nothing is recorded of what an event is about
    │   ├── KeyInFlight              409  the same key is being decided right now
    │   ├── KeyReused                422  the same key came with another body
    │   ├── TooManyRequests          429
    │   │   └── TooManyFailures      429  too many keys or tokens from one address were none
    │   └── KeyRefused               ---  a command's own: such a key cannot be made, or is not there
    ├── DependencyError              not the caller's fault: a retry may help (5xx)
    │   ├── StoreUnavailable         503  the online store does not answer
    │   ├── ModelUnavailable         503  no model answers; rules do, so that no caller sees it
    │   ├── LedgerUnavailable        503  the decision could not be made durable
    │   ├── IssuerUnavailable        503  a token came, and there is nothing to check it with
    │   ├── Overloaded               503  shed before work was done
    │   ├── Starting                 503  not ready yet
    │   ├── Draining                 503  the process is going away
    │   └── DeadlineExceeded         504  no rung of the ladder fitted into the deadline
    └── ArtefactError                what was deployed is wrong: never become ready
        ├── SignatureMismatch        the FeatureService is not what the model was trained on
        ├── GoldenMismatch           the model does not give the scores it was accepted with
        └── ArtefactCorrupt          a file is missing or differs from its digest

Messages name things and counts, never personal values.
"""

from __future__ import annotations

from typing import Any, ClassVar

from scoregate.values import frozen

PROBLEM_BASE = "https://scoregate.dev/problems/"
PROBLEM_MEDIA_TYPE = "application/problem+json"


@frozen
class FieldProblem:
    """One bad field: a JSON pointer into the body, and what is wrong with it, without its value."""

    pointer: str
    detail: str


class ScoregateError(Exception):
    """Root of the tree."""

    status: ClassVar[int] = 500
    slug: ClassVar[str] = "internal"
    title: ClassVar[str] = "Internal error"
    retry_after_s: ClassVar[int | None] = None

    def __init__(self, detail: str = "", *, fields: tuple[FieldProblem, ...] = ()) -> None:
        super().__init__(detail or self.title)
        self.detail = detail or self.title
        self.fields = fields

    def as_problem(self, *, instance: str | None = None) -> dict[str, Any]:
        """Render as RFC 9457 members; `instance` is the request id."""
        problem: dict[str, Any] = {
            "type": PROBLEM_BASE + self.slug,
            "title": self.title,
            "status": self.status,
            "detail": self.detail,
        }
        if instance:
            problem["instance"] = f"urn:scoregate:request:{instance}"
        if self.fields:
            problem["errors"] = [{"pointer": f.pointer, "detail": f.detail} for f in self.fields]
        return problem


class RequestError(ScoregateError):
    """The caller's fault."""

    status = 400
    slug = "bad-request"
    title = "The request cannot be understood"


class BadJson(RequestError):
    status = 400
    slug = "malformed-json"
    title = "The body is not valid JSON"


class InvalidFields(RequestError):
    status = 422
    slug = "invalid-fields"
    title = "Some fields are not acceptable"


class Unauthenticated(RequestError):
    status = 401
    slug = "unauthenticated"
    title = "Send a valid API key or token as 'Authorization: Bearer …'"


class Forbidden(RequestError):
    status = 403
    slug = "forbidden"
    title = "This key or token does not allow it; ask its owner for a wider scope"


class NotFound(RequestError):
    status = 404
    slug = "not-found"
    title = "Nothing is here"


class MethodNotAllowed(RequestError):
    status = 405
    slug = "method-not-allowed"
    title = "This path does not take this method"


class BodyTooLarge(RequestError):
    status = 413
    slug = "body-too-large"
    title = "The body is larger than the limit"


class UnsupportedMedia(RequestError):
    status = 415
    slug = "unsupported-media-type"
    title = "The body must be application/json"


class UnknownEntity(RequestError):
    status = 422
    slug = "unknown-entity"
    title = "An entity of the request is not known"


class UnknownSubject(RequestError):
    status = 422
    slug = "unknown-subject"
    title = "Nothing is recorded of what the event is about"


class KeyInFlight(RequestError):
    status = 409
    slug = "idempotency-key-in-flight"
    title = "The same request is being decided right now"
    retry_after_s = 1


class KeyReused(RequestError):
    status = 422
    slug = "idempotency-key-reused"
    title = "The id of this request, or its Idempotency-Key, was used with another body"


class TooManyRequests(RequestError):
    status = 429
    slug = "too-many-requests"
    title = "Too many requests"
    retry_after_s = 1


class TooManyFailures(TooManyRequests):
    slug = "too-many-failures"
    title = "Too many keys or tokens from this address were not valid"


class KeyRefused(RequestError):
    pass


class DependencyError(ScoregateError):
    """Not the caller's fault; a retry may help."""

    status = 503
    slug = "unavailable"
    title = "A dependency is not available"
    retry_after_s = 1


class StoreUnavailable(DependencyError):
    slug = "online-store-unavailable"
    title = "The online store does not answer"


class ModelUnavailable(DependencyError):
    slug = "model-unavailable"
    title = "The model does not answer"


class LedgerUnavailable(DependencyError):
    slug = "ledger-unavailable"
    title = "The decision could not be recorded, so it was not made"


class IssuerUnavailable(DependencyError):
    slug = "issuer-unavailable"
    title = "The issuer's keys cannot be fetched, so no token can be checked"


class Overloaded(DependencyError):
    slug = "overloaded"
    title = "Too much work in flight"


class Starting(DependencyError):
    slug = "starting"
    title = "The service is starting"


class Draining(DependencyError):
    slug = "draining"
    title = "This process is going away"


class DeadlineExceeded(DependencyError):
    status = 504
    slug = "deadline-exceeded"
    title = "The deadline passed before a decision could be made"


class ArtefactError(ScoregateError):
    """What was deployed is wrong; the service must never become ready."""

    status = 503
    slug = "not-ready"
    title = "The service is not ready"
    retry_after_s = 5


class SignatureMismatch(ArtefactError):
    pass


class GoldenMismatch(ArtefactError):
    pass


class ArtefactCorrupt(ArtefactError):
    pass
