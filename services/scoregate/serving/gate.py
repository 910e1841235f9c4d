"""What every request that is about somebody passes: its key, readiness, its body, a place among those in flight."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
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

    async def body(self, request: Request, limit_bytes: int) -> bytes:
        """Read a JSON body; before a place is taken, because one that comes slowly must not hold it."""
        wire.check_media_type(request.header(b"content-type"))
        return await request.body(limit_bytes)

    def deadline_ms(self, request: Request, most_ms: int) -> int:
        return wire.deadline_ms(request.header(b"x-request-deadline-ms"), most_ms)

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place among the requests in flight.

        Raises:
            Overloaded: there is none.
        """
        with self.admission.slot(), self.metrics.in_flight.track_inprogress():
            yield
