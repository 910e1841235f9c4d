"""Life and death of a process: whether it is ready and why not, what it does without, and how it goes away."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable
from typing import Any

from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from scoregate.errors import Draining, ScoregateError, Starting
from scoregate.serving.http import Request, Response
from scoregate.serving.startup import Ready
from scoregate.telemetry.metrics import Metrics, exposition
from scoregate.telemetry.tracing import RequestTrace


class Health:
    """Liveness never looks at a dependency; readiness only at what makes every rung of the ladder impossible."""

    def __init__(self, metrics: Metrics, *, arm: str, drain_s: float) -> None:
        self.arm = arm
        self._metrics, self._drain_s = metrics, drain_s
        self._ready: Ready | None = None
        self._why_not: ScoregateError = Starting("The service is starting")
        self._draining = False
        self.also: Callable[[], list[str]] = list
        """What the process does without besides what `Ready` knows of, in sentences."""
        metrics.is_ready(False)

    def refuse(self, why: ScoregateError) -> None:
        """Say why the process is not ready, or will never be."""
        self._why_not = why

    def open(self, ready: Ready) -> None:
        self._ready = ready
        # The arm may have changed while the scorer was made.
        ready.scorer.become(self.arm)
        self._metrics.is_ready(True)

    def become(self, arm: str) -> None:
        """Be of another arm from now on, in what is counted, decided and said."""
        self.arm = arm
        self._metrics.become(arm, ready=self._ready is not None and not self._draining)
        if self._ready is not None:
            self._ready.scorer.become(arm)

    @property
    def ready(self) -> Ready | None:
        return self._ready

    def without(self, ready: Ready) -> list[str]:
        """Say what the process does without just now."""
        return [*ready.without(), *self.also()]

    def require(self) -> Ready:
        """Return what a ready process holds, also while it drains.

        Raises:
            ScoregateError: it is not ready, and why.
        """
        if self._ready is None:
            raise self._why_not
        return self._ready

    def drain_on_sigterm(self) -> None:
        """On SIGTERM say 'not ready', keep serving while the gateway notices, then let the server stop.

        The server closes its listener at once when it gets the signal: requests on their way would be refused.
        """
        loop = asyncio.get_running_loop()
        previous = signal.getsignal(signal.SIGTERM)

        def drain(signum: int, frame: Any) -> None:
            if self._draining:
                return
            self._draining = True
            self._metrics.is_ready(False)
            if callable(previous):
                loop.call_soon_threadsafe(loop.call_later, self._drain_s, previous, signum, None)

        signal.signal(signal.SIGTERM, drain)

    # Handlers

    async def livez(self, request: Request, trace: RequestTrace) -> Response:
        return Response.json({"live": True})

    async def readyz(self, request: Request, trace: RequestTrace) -> Response:
        if self._draining:
            raise Draining("The process is going away")
        ready = self.require()
        return Response.json(self._verbose(ready) if b"verbose" in request.query else {"ready": True})

    async def metrics(self, request: Request, trace: RequestTrace) -> Response:
        self._metrics.flush()
        text = await asyncio.to_thread(lambda: generate_latest(exposition(REGISTRY)))
        return Response(200, text, CONTENT_TYPE_LATEST)

    def _verbose(self, ready: Ready) -> dict[str, Any]:
        degraded = self.without(ready)
        return {
            "ready": True,
            "status": "degraded" if degraded else "ok",
            "degraded": degraded,
            "model": ready.artefact.signature.feature_service,
            "version": ready.artefact.version,
            "feature_plan": ready.artefact.signature.plan.digest,
            "arm": self.arm,
        }
