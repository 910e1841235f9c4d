"""One request from its first byte to its last: route, handle, render problems, count; and how a process begins."""

from __future__ import annotations

import asyncio
import gc
import re
import time
from types import SimpleNamespace
from typing import Any, Final, Protocol

from scoregate import __version__
from scoregate.contract import ScoreRequest
from scoregate.errors import (
    ArtefactError,
    DependencyError,
    Forbidden,
    MethodNotAllowed,
    NotFound,
    ScoregateError,
    TooManyFailures,
    Unauthenticated,
)
from scoregate.randomness import Randomness
from scoregate.scoring import FeatureCode
from scoregate.serving.admission import Admission
from scoregate.serving.answering import Answering
from scoregate.serving.arm import arm_of
from scoregate.serving.auth import Authenticator
from scoregate.serving.batching import Batching
from scoregate.serving.describing import Describing
from scoregate.serving.events import EventCode, Intake
from scoregate.serving.gate import Gate
from scoregate.serving.health import Health
from scoregate.serving.http import STRANGE_TRACE, Receive, Request, Response, Scope, Send
from scoregate.serving.openapi import document
from scoregate.serving.posting import Posting
from scoregate.serving.pulse import Pulse
from scoregate.serving.routes import Route, Routes
from scoregate.serving.shedding import Shedding
from scoregate.serving.startup import Ready, make_ready
from scoregate.serving.tracing import make_tracing
from scoregate.settings import Settings
from scoregate.telemetry import names
from scoregate.telemetry.logs import EventLog
from scoregate.telemetry.metrics import Metrics
from scoregate.telemetry.tracing import UNTRACED, RequestTrace, Tracing, Value

_STRANGE = STRANGE_TRACE.lower().encode()
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:\-]{1,64}")


class ServiceContract(Protocol):
    """A service's `contract.py`."""

    Request: type[ScoreRequest]
    EXAMPLE: dict[str, Any]


GARBAGE: Final = (20_000, 10, 10)
"""New objects before the collector looks at them, and looks before it looks at older ones, and at all. By default it
looks after 700, which is once or twice a request, and finds nothing: what a request makes is let go without it."""


class Door:
    """The ASGI app of one service. Nothing connects before `start`."""

    def __init__(
        self, service: str, contract: ServiceContract, code: FeatureCode, events: EventCode | None = None
    ) -> None:
        self.service = service
        self._contract, self._code, self._events = contract, code, events
        self._drawn = Randomness()

    async def start(self) -> None:
        """Read the settings and begin to get ready; the listener answers meanwhile, with 503."""
        settings = Settings()
        settings = settings.model_copy(update={"arm": arm_of(settings, settings.arm)})
        metrics = Metrics(self.service, settings.arm)
        health = Health(metrics, arm=settings.arm, drain_s=settings.drain_s)
        admission = Admission(settings.max_in_flight, settings.rate_per_s, settings.queue_ms / 1000)
        log = EventLog(self.service, settings.arm)
        auth = Authenticator.of(settings, log)
        health.also = auth.without
        gate = Gate(self.service, settings, auth, admission, metrics, health)
        self.furnish(gate, log, make_tracing(self.service, settings, metrics))
        auth.start()
        self._pulse.start()
        health.drain_on_sigterm()
        self._starting = asyncio.create_task(self._get_ready())

    def furnish(self, gate: Gate, log: EventLog, tracing: Tracing) -> None:
        """Put the handlers in their places."""
        self._gate, self._log, self._tracing = gate, log, tracing
        self._answering = Answering(gate, self._contract.Request)
        self._batching = Batching(gate, self._answering)
        self._posting = Posting(gate)
        self.shedding = Shedding(self.service, gate.admission)
        self._pulse = Pulse(gate.health, gate.admission, gate.metrics, self.follow)
        self._describing = Describing(gate, document(self.service, self._contract, self._events))
        self._routes = Routes(self._all_routes())

    def open(self, ready: Ready) -> None:
        """Let requests in."""
        if ready.artefact.columns is not None:
            features = ready.artefact.signature.features
            example = ready.artefact.columns.example({feature.name: feature.median for feature in features})
            asked = SimpleNamespace(Request=ready.request_type, EXAMPLE=example)
            self._describing.describe(document(self.service, asked, self._events))
        if self._events is not None:
            parts = (self._contract.Request, ready.ledger, ready.scorer.hashed, self._gate.metrics.labelled)
            intake = Intake(self.service, self._events, *parts)
            self._answering.intake = self._posting.intake = intake
        self._gate.health.open(ready)

    def follow(self) -> None:
        """Be of the arm that the process is said to be of now."""
        health = self._gate.health
        if (arm := arm_of(self._gate.settings, health.arm)) != health.arm:
            health.become(arm)
            self._log.become(arm)
            self._log.event("arm.changed")

    async def stop(self) -> None:
        """Finish what is in flight, then let go of everything."""
        self._starting.cancel()
        self._pulse.stop()
        for _ in range(100):
            if not self._gate.admission.in_flight:
                break
            await asyncio.sleep(0.05)
        self._gate.metrics.flush()
        await self._gate.auth.close()
        if (ready := self._gate.health.ready) is not None:
            await ready.close()
        await asyncio.to_thread(self._tracing.close)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        started = time.perf_counter()
        request = Request(scope, receive)
        asked_id = request.header(b"x-request-id")
        request_id = asked_id if asked_id and _REQUEST_ID.fullmatch(asked_id) else self._drawn(8).hex()
        route = self._routes.find(request.path)
        label = route.template if route else "unmatched"
        trace = (self._tracing if route and route.traced else UNTRACED).begin(
            request.header(b"traceparent"),
            f"{request.method} {label}",
            self._said_of(scope, label),
            is_strange=_STRANGE in request.headers,
        )
        response = await self._answer(route, request, request_id, trace)
        await response.send(scope, send, request_id)
        seconds = time.perf_counter() - started
        trace.end(response.status)
        self._gate.metrics.request(label, response.status, seconds)
        if self._gate.settings.log_requests and route and route.traced:
            self._log.event(
                "request",
                request_id=request_id,
                trace_id=trace.trace_id,
                route=label,
                status=response.status,
                ms=round(seconds * 1000, 3),
            )

    async def _answer(self, route: Route | None, request: Request, request_id: str, trace: RequestTrace) -> Response:
        try:
            return await self._handle(route, request, trace)
        except ScoregateError as problem:
            trace.error = problem.slug
            return self._problem(problem, request_id, route)
        except ConnectionError:
            return Response(499, b"")
        except Exception as problem:  # the door alone catches everything: a caller gets a problem, never a trace
            trace.error = type(problem).__name__
            self._log.event("request.failed", request_id=request_id, error=type(problem).__name__, at=_where(problem))
            return Response.problem(ScoregateError("An unexpected error; it was recorded"), request_id)

    async def _handle(self, route: Route | None, request: Request, trace: RequestTrace) -> Response:
        if route is None:
            raise NotFound(f"{self.service} has no such path; see /v1/{self.service}/openapi.json")
        if request.method != route.method:
            raise MethodNotAllowed(f"This path takes {route.method}")
        return await route.handler(request, trace)

    def _problem(self, problem: ScoregateError, request_id: str, route: Route | None) -> Response:
        if isinstance(problem, Unauthenticated | Forbidden | TooManyFailures):
            self._gate.metrics.auth_failure(problem.slug)
        elif problem.slug in ("overloaded", "draining", "too-many-requests"):
            self._gate.metrics.shed(problem.slug)
        response = Response.problem(problem, request_id)
        if isinstance(problem, MethodNotAllowed) and route:
            response = Response(response.status, response.body, response.media_type, {"allow": route.method})
        return response

    def _all_routes(self) -> list[Route]:
        prefix, health = f"/v1/{self.service}", self._gate.health
        routes = [
            Route("POST", f"{prefix}/score", self._answering.score),
            Route("POST", f"{prefix}/score:batch", self._batching.batch),
            Route("GET", f"{prefix}/decisions/{{decision_id}}", self._describing.decision),
            Route("GET", f"{prefix}/model", self._describing.model),
            Route("GET", f"{prefix}/openapi.json", self._describing.document, traced=False),
            Route("GET", "/openapi.json", self._describing.document, traced=False),
            Route("GET", "/livez", health.livez, traced=False),
            Route("GET", "/readyz", health.readyz, traced=False),
            Route("GET", "/metrics", health.metrics, traced=False),
        ]
        if self._events is not None:
            routes.append(Route("POST", f"{prefix}/events", self._posting.events))
        return routes

    async def _get_ready(self) -> None:
        gate = self._gate
        try:
            ready = await make_ready(
                self.service, self._contract.Request, self._code, gate.settings, gate.metrics, self._wait
            )
        except ScoregateError as problem:
            gate.health.refuse(problem if isinstance(problem, ArtefactError) else ArtefactError(problem.detail))
            self._log.event("startup.refused", reason=problem.detail)
            return
        except Exception as problem:  # a service that cannot start says why on /readyz instead of dying in a loop
            gate.health.refuse(ArtefactError(f"Startup failed: {type(problem).__name__}; see the service's log"))
            self._log.event("startup.failed", error=type(problem).__name__, detail=str(problem), at=_where(problem))
            return
        artefact = ready.artefact
        # What startup left behind lives as long as the process: keep the collector from walking it again and again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(*GARBAGE)
        self.open(ready)
        signature, policy = artefact.signature, artefact.policy_digest[:12]
        gate.metrics.serves(
            signature.feature_service, artefact.version, policy, signature.plan.digest[:12], __version__
        )
        self._log.event("startup.ready", model=artefact.signature.feature_service, version=artefact.version)

    def _wait(self, problem: DependencyError) -> None:
        self._gate.health.refuse(problem)
        self._log.event("startup.waits", reason=problem.detail)

    def _said_of(self, scope: Scope, route: str) -> dict[str, Value]:
        """Say what a request is, by the conventions for HTTP servers, without anything that its caller chose."""
        address, port = scope.get("server") or ("", None)
        return {
            "http.request.method": scope["method"],
            "http.route": route,
            # The path itself may name a decision, or somebody.
            "url.path": route,
            "url.scheme": scope.get("scheme", "http"),
            "network.protocol.version": scope.get("http_version", "1.1"),
            "server.address": address,
            "server.port": port or 0,
            names.ATTR_FLAG: self.service,
            names.ATTR_FLAG_PROVIDER: "scoregate",
            names.ATTR_ARM: self._gate.health.arm,
        }


def _where(problem: BaseException) -> str:
    """File and line where an exception arose: enough to find it, and no value of anybody's."""
    trace = problem.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return f"{trace.tb_frame.f_code.co_filename.rsplit('/', 1)[-1]}:{trace.tb_lineno}" if trace else ""
