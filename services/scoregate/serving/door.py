"""One request from its first byte to its last: route, authorise, admit, parse, decide, answer; and the health paths."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import secrets
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, Protocol

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from scoregate import __version__
from scoregate.contract import ScoreRequest
from scoregate.errors import (
    ArtefactError,
    BadJson,
    DeadlineExceeded,
    Draining,
    FieldProblem,
    InvalidFields,
    MethodNotAllowed,
    NotFound,
    RequestError,
    ScoregateError,
    Starting,
)
from scoregate.scoring import Asked, Decided, FeatureCode
from scoregate.serving import events as posted
from scoregate.serving import wire
from scoregate.serving.admission import Admission
from scoregate.serving.auth import Keys
from scoregate.serving.events import EventCode, Intake
from scoregate.serving.http import Receive, Request, Response, Scope, Send
from scoregate.serving.openapi import document
from scoregate.serving.startup import Ready, make_ready
from scoregate.settings import Settings
from scoregate.telemetry import names
from scoregate.telemetry.logs import EventLog
from scoregate.telemetry.metrics import Metrics, exposition
from scoregate.telemetry.tracing import NoTracing, OtlpTracing, RequestTrace, Tracing

MOST_ROWS = 1_000
"""Largest batch."""

ROWS_AT_ONCE = 25
"""Rows of a batch that are decided together: a few milliseconds of work between turns of other requests."""

_REQUEST_ID = re.compile(r"^[A-Za-z0-9._:\-]{1,64}$")

Handler = Callable[[Request, RequestTrace], Awaitable[Response]]


class ServiceContract(Protocol):
    """A service's `contract.py`."""

    Request: type[ScoreRequest]
    EXAMPLE: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Route:
    """A method and a path template, which is also the label in metrics."""

    method: str
    template: str
    handler: Handler
    traced: bool = True


class Door:
    """The ASGI app of one service. Nothing connects before `start`."""

    def __init__(
        self, service: str, contract: ServiceContract, code: FeatureCode, events: EventCode | None = None
    ) -> None:
        self.service = service
        self._contract, self._code, self._events = contract, code, events
        self._ready: Ready | None = None
        self._intake: Intake | None = None
        self._why_not: ScoregateError = Starting("The service is starting")
        self._draining = False
        prefix = f"/v1/{service}"
        self._decisions = f"{prefix}/decisions/"
        self._openapi = Response.json(document(service, contract, events))
        routes = (
            Route("POST", f"{prefix}/score", self._score),
            Route("POST", f"{prefix}/score:batch", self._batch),
            Route("GET", f"{prefix}/decisions/{{decision_id}}", self._decision),
            Route("GET", f"{prefix}/model", self._model),
            Route("GET", f"{prefix}/openapi.json", self._document, traced=False),
            Route("GET", "/openapi.json", self._document, traced=False),
            Route("GET", "/livez", self._livez, traced=False),
            Route("GET", "/readyz", self._readyz, traced=False),
            Route("GET", "/metrics", self._metrics_text, traced=False),
        )
        self._routes = {route.template: route for route in routes}
        if events is not None:
            self._routes[f"{prefix}/events"] = Route("POST", f"{prefix}/events", self._post_events)

    async def start(self) -> None:
        """Read the settings and begin to get ready; the listener answers meanwhile, with 503."""
        self._settings = Settings()
        self._metrics = Metrics(self.service, self._settings.arm)
        self._log = EventLog(self.service, self._settings.arm)
        self._keys = Keys(self._settings.keys_path)
        self._admission = Admission(self._settings.max_in_flight, self._settings.rate_per_s)
        self._tracing: Tracing = self._make_tracing()
        self._metrics.ready.set(0)
        self._drain_on_sigterm()
        self._starting = asyncio.create_task(self._get_ready())

    async def stop(self) -> None:
        """Finish what is in flight, then let go of everything."""
        self._starting.cancel()
        for _ in range(100):
            if not self._admission.in_flight:
                break
            await asyncio.sleep(0.05)
        if self._ready is not None:
            await self._ready.close()
        await asyncio.to_thread(self._tracing.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        request = Request(scope, receive)
        asked_id = request.header(b"x-request-id")
        request_id = asked_id if asked_id and _REQUEST_ID.match(asked_id) else secrets.token_hex(8)
        route = self._route(request.path)
        label = route.template if route else "unmatched"
        trace = (self._tracing if route and route.traced else _UNTRACED).begin(
            request.header(b"traceparent"),
            f"{request.method} {label}",
            {"http.request.method": request.method, "http.route": label, "url.scheme": scope.get("scheme", "http")},
        )
        try:
            response = await self._handle(route, request, trace)
        except ScoregateError as problem:
            response = self._problem(problem, request_id, route)
        except ConnectionError:
            response = Response(499, b"")
        except Exception as problem:  # the door alone catches everything: a caller gets a problem, never a trace
            self._log.event("request.failed", request_id=request_id, error=type(problem).__name__, at=_where(problem))
            response = Response.problem(ScoregateError("An unexpected error; it was recorded"), request_id)
        await response.send(send, request_id)
        seconds = time.perf_counter() - started
        trace.end(response.status)
        self._metrics.request(label, response.status, seconds)
        if self._settings.log_requests and route and route.traced:
            self._log.event(
                "request",
                request_id=request_id,
                trace_id=trace.trace_id,
                route=label,
                status=response.status,
                ms=round(seconds * 1000, 3),
            )

    async def _handle(self, route: Route | None, request: Request, trace: RequestTrace) -> Response:
        if route is None:
            raise NotFound(f"{self.service} has no such path; see /v1/{self.service}/openapi.json")
        if request.method != route.method:
            raise MethodNotAllowed(f"This path takes {route.method}")
        return await route.handler(request, trace)

    def _route(self, path: str) -> Route | None:
        found = self._routes.get(path)
        if found is None and path.startswith(self._decisions) and "/" not in path[len(self._decisions) :]:
            return self._routes[self._decisions + "{decision_id}"]
        return found

    def _problem(self, problem: ScoregateError, request_id: str, route: Route | None) -> Response:
        if problem.status in (401, 403):
            self._metrics.auth_failure(problem.slug)
        elif problem.slug in ("overloaded", "draining", "too-many-requests"):
            self._metrics.shed(problem.slug)
        response = Response.problem(problem, request_id)
        if isinstance(problem, MethodNotAllowed) and route:
            response = Response(response.status, response.body, response.media_type, {"allow": route.method})
        return response

    # Scoring

    async def _score(self, request: Request, trace: RequestTrace) -> Response:
        ready, key_id = self._enter(request, "score", trace)
        deadline_ms = wire.deadline_ms(request.header(b"x-request-deadline-ms"), self._settings.deadline_ms)
        self._admission.spend(key_id)
        # A body that comes slowly must not hold a place.
        body = await self._json_body(request, self._settings.max_request_bytes)
        with self._admission.slot(), self._metrics.in_flight.track_inprogress():
            now = time.time()
            parsed = wire.parse(body, ready.request_type, datetime.fromtimestamp(now, UTC))
            key = wire.idempotency_key(request.header(b"idempotency-key"))
            decided = await self._decide(ready, self._asked(parsed, key, now, trace), deadline_ms)
        headers = {"x-decision-replayed": "true"} if decided.replayed else {}
        return Response(200, decided.answer, headers=headers)

    async def _batch(self, request: Request, trace: RequestTrace) -> Response:
        ready, key_id = self._enter(request, "score", trace)
        deadline_ms = wire.deadline_ms(request.header(b"x-request-deadline-ms"), self._settings.batch_deadline_ms)
        body = await self._json_body(request, self._settings.max_body_bytes)
        with self._admission.slot(), self._metrics.in_flight.track_inprogress():
            rows = _rows(body)
            self._admission.spend(key_id, len(rows))
            now = time.time()
            results: list[bytes] = []
            until_s = time.monotonic() + deadline_ms / 1000
            # A few rows at a time: single requests get their turn, and a read's time is not spent on our own work.
            for start in range(0, len(rows), ROWS_AT_ONCE):
                left_ms = max(int((until_s - time.monotonic()) * 1000), 1)
                some = rows[start : start + ROWS_AT_ONCE]
                results += await asyncio.gather(*(self._row(ready, row, now, trace, left_ms) for row in some))
        return Response(200, b'{"results":[' + b",".join(results) + b"]}")

    async def _row(self, ready: Ready, row: Any, now: float, trace: RequestTrace, deadline_ms: int) -> bytes:
        """Decide one row; its problem is its own."""
        try:
            parsed = wire.parse_row(row, ready.request_type, datetime.fromtimestamp(now, UTC))
            decided = await self._decide(ready, self._asked(parsed, None, now, trace), deadline_ms)
            return b'{"status":200,"answer":' + decided.answer + b"}"
        except ScoregateError as problem:
            return json.dumps({"status": problem.status, "problem": problem.as_problem()}).encode()

    def _asked(self, parsed: ScoreRequest, key: str | None, now: float, trace: RequestTrace) -> Asked:
        # A request of somebody's own columns has none of those that the service's stream holds.
        counts = self._intake is not None and isinstance(parsed, self._contract.Request)
        return Asked(parsed, key, now, trace, self._intake.scored(parsed, now) if self._intake and counts else None)

    async def _decide(self, ready: Ready, asked: Asked, deadline_ms: int) -> Decided:
        natural_key = getattr(asked.request, asked.request.NATURAL_KEY)
        with self._admission.deciding(natural_key):
            try:
                async with asyncio.timeout(deadline_ms / 1000):
                    return await ready.scorer.decide(asked)
            except TimeoutError:
                raise DeadlineExceeded(f"No decision within {deadline_ms} ms") from None

    async def _post_events(self, request: Request, trace: RequestTrace) -> Response:
        _, key_id = self._enter(request, "events", trace)
        assert self._intake is not None, "the route is there for a service with events alone"
        deadline_ms = wire.deadline_ms(request.header(b"x-request-deadline-ms"), self._settings.batch_deadline_ms)
        body = await self._json_body(request, self._settings.max_body_bytes)
        with self._admission.slot(), self._metrics.in_flight.track_inprogress():
            rows, several = posted.rows(body)
            self._admission.spend(key_id, len(rows))
            try:
                with trace.stage(names.SPAN_LEDGER):
                    async with asyncio.timeout(deadline_ms / 1000):
                        taken = await self._intake.take(rows, time.time())
            except TimeoutError:
                raise DeadlineExceeded(f"Not recorded within {deadline_ms} ms; sending it again is safe") from None
        if several:
            return Response.json({"results": [_result(one) for one in taken]}, 202)
        if isinstance(taken[0], ScoregateError):
            raise taken[0]
        return Response.json(taken[0], 202)

    async def _decision(self, request: Request, trace: RequestTrace) -> Response:
        ready, _ = self._enter(request, "read", trace)
        recorded = await ready.ledger.get(request.path[len(self._decisions) :])
        if recorded is None:
            raise NotFound("The ledger holds no such decision")
        if "answer" in recorded.forgotten:
            raise NotFound("What was answered has been forgotten; the ledger keeps that a decision was made")
        return Response(200, recorded.entry.answer)

    async def _model(self, request: Request, trace: RequestTrace) -> Response:
        ready, _ = self._enter(request, "read", trace)
        signature = ready.artefact.signature
        return Response.json(
            {
                "service": self.service,
                "name": signature.feature_service,
                "version": ready.artefact.version,
                "digest": ready.artefact.digest,
                "policy": ready.artefact.policy_digest[:12],
                "feature_plan": signature.plan.digest,
                "features": list(signature.names),
                "outcomes": [outcome.name for outcome in ready.scorer.policy.outcomes],
                "training": dict(signature.training),
                # The rest of the evidence is for those who approve models, not for those who call them.
                "metrics": {n: m for n, m in ready.artefact.metrics.items() if isinstance(m, dict) and "value" in m},
            }
        )

    def _enter(self, request: Request, verb: str, trace: RequestTrace) -> tuple[Ready, str]:
        """Authorise first, so that a stranger learns nothing, then require readiness."""
        with trace.stage(names.SPAN_AUTH, timed=False):
            principal = self._keys.authorise(request.header(b"authorization"), self.service, verb)
        if self._ready is None:
            raise self._why_not
        return self._ready, principal.key_id

    async def _json_body(self, request: Request, limit_bytes: int) -> bytes:
        wire.check_media_type(request.header(b"content-type"))
        return await request.body(limit_bytes)

    # Health and documents

    async def _livez(self, request: Request, trace: RequestTrace) -> Response:
        return Response.json({"live": True})

    async def _readyz(self, request: Request, trace: RequestTrace) -> Response:
        if self._draining:
            raise Draining("The process is going away")
        if self._ready is None:
            raise self._why_not
        if b"verbose" not in request.query:
            return Response.json({"ready": True})
        artefact = self._ready.artefact
        degraded = list(self._ready.degraded)
        if not self._ready.source.reachable:
            degraded.append("the online store does not answer")
        elif not self._ready.source.whole:
            degraded.append("the online store has lost a stream's marker: it was flushed, or never filled")
        return Response.json(
            {
                "ready": True,
                "status": "degraded" if degraded else "ok",
                "degraded": degraded,
                "model": artefact.signature.feature_service,
                "version": artefact.version,
                "feature_plan": artefact.signature.plan.digest,
                "arm": self._settings.arm,
            }
        )

    async def _document(self, request: Request, trace: RequestTrace) -> Response:
        return self._openapi

    async def _metrics_text(self, request: Request, trace: RequestTrace) -> Response:
        text = await asyncio.to_thread(lambda: generate_latest(exposition(REGISTRY)))
        return Response(200, text, CONTENT_TYPE_LATEST)

    # Life

    async def _get_ready(self) -> None:
        try:
            ready = await make_ready(self.service, self._contract.Request, self._code, self._settings, self._metrics)
        except ScoregateError as problem:
            self._why_not = problem if isinstance(problem, ArtefactError) else ArtefactError(problem.detail)
            self._log.event("startup.refused", reason=problem.detail)
            return
        except Exception as problem:  # a service that cannot start says why on /readyz instead of dying in a loop
            self._why_not = ArtefactError(f"Startup failed: {type(problem).__name__}; see the service's log")
            self._log.event("startup.failed", error=type(problem).__name__, detail=str(problem), at=_where(problem))
            return
        artefact = ready.artefact
        # What startup left behind lives as long as the process: keep the collector from walking it again and again.
        gc.collect()
        gc.freeze()
        self._open(ready)
        self._metrics.serves(
            artefact.signature.feature_service, artefact.version, artefact.policy_digest[:12], __version__
        )
        self._log.event("startup.ready", model=artefact.signature.feature_service, version=artefact.version)

    def _open(self, ready: Ready) -> None:
        """Let requests in."""
        if ready.artefact.columns is not None:
            example = {k: v for k, v in ready.artefact.golden[0]["request"].items() if k != "event_at"}
            asked = SimpleNamespace(Request=ready.request_type, EXAMPLE=example)
            self._openapi = Response.json(document(self.service, asked, self._events))
        if self._events is not None:
            self._intake = Intake(self.service, self._events, self._contract.Request, ready.ledger, ready.scorer.hashed)
        self._ready = ready
        self._metrics.ready.set(1)

    def _make_tracing(self) -> Tracing:
        if self._settings.otlp_endpoint is None:
            return NoTracing(self._metrics.stage)
        return OtlpTracing(
            self.service,
            self._settings.arm,
            __version__,
            self._settings.otlp_endpoint,
            self._settings.trace_ratio,
            self._metrics.stage,
        )

    def _drain_on_sigterm(self) -> None:
        """On SIGTERM say 'not ready', keep serving while the gateway notices, then let the server stop.

        The server closes its listener at once when it gets the signal: requests on their way would be refused.
        """
        loop = asyncio.get_running_loop()
        previous = signal.getsignal(signal.SIGTERM)

        def drain(signum: int, frame: Any) -> None:
            if self._draining:
                return
            self._draining = True
            self._metrics.ready.set(0)
            if callable(previous):
                loop.call_soon_threadsafe(loop.call_later, self._settings.drain_s, previous, signum, None)

        signal.signal(signal.SIGTERM, drain)


_UNTRACED = NoTracing()


def _rows(body: bytes) -> list[Any]:
    """Return the rows of a batch: `{"rows": […]}`, at most MOST_ROWS.

    Raises:
        BadJson: not JSON.
        InvalidFields: not a batch.
    """
    try:
        batch = json.loads(body)
    except (ValueError, RecursionError):
        raise BadJson("The body is not JSON") from None
    rows = batch.get("rows") if isinstance(batch, dict) and set(batch) == {"rows"} else None
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_ROWS:
        field = FieldProblem("/rows", f"must be an array of 1 to {MOST_ROWS} requests, and the only member")
        raise InvalidFields("The body is not a batch", fields=(field,))
    return rows


def _result(taken: dict[str, str] | RequestError) -> dict[str, Any]:
    """Say what became of one event of several: a receipt, or a problem of its own."""
    return {"status": "refused", "problem": taken.as_problem()} if isinstance(taken, RequestError) else taken


def _where(problem: BaseException) -> str:
    """File and line where an exception arose: enough to find it, and no value of anybody's."""
    trace = problem.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else ""
