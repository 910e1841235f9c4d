"""What every request that is about somebody passes: its key, readiness, its body, a place among those in flight."""

from __future__ import annotations

from scoregate.deadline import Deadline
from scoregate.serving import wire
from scoregate.serving.admission import Admission
from scoregate.serving.auth import Authenticator
from scoregate.serving.health import Health
from scoregate.serving.http import Request
from scoregate.serving.principal import Principal
from scoregate.serving.startup import Ready
from scoregate.settings import Settings
from scoregate.telemetry import names
from scoregate.telemetry.metrics import Metrics
from scoregate.telemetry.tracing import RequestTrace
from scoregate.values import frozen


@frozen
class Gate:
    """The bounds of one process, as its handlers ask for them."""

    service: str
    settings: Settings
    auth: Authenticator
    admission: Admission
    metrics: Metrics
    health: Health

    async def enter(self, request: Request, verb: str, trace: RequestTrace) -> tuple[Ready, Principal]:
        """Return what decides, and who asks.

        Authorised first, so that a stranger learns nothing; then the process must be ready.
        """
        with trace.stage(names.SPAN_AUTH, timed=False):
            principal = await self.auth.authorise(request, self.service, verb)
        return self.health.require(), principal

    def deadline(self, request: Request, most_ms: int) -> Deadline:
        """Return when the caller wants its answer; counted from the request's first byte."""
        return Deadline.after(wire.deadline_ms(request.header(b"x-request-deadline-ms"), most_ms), request.began_s)

    async def body(self, request: Request, limit_bytes: int, deadline: Deadline) -> bytes:
        """Read a JSON body; before a place is taken, because one that comes slowly must not hold it."""
        wire.check_media_type(request.header(b"content-type"))
        with self.admission.reading(), deadline.bound("the body has not come"):
            return await request.body(limit_bytes)
