"""The handler of posted events: taken in whole or in part, durable before it is acknowledged."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from scoregate.errors import DeadlineExceeded, RequestError
from scoregate.serving import events as posted
from scoregate.serving.events import Intake
from scoregate.serving.gate import Gate
from scoregate.serving.http import Request, Response
from scoregate.telemetry import names
from scoregate.telemetry.tracing import RequestTrace


class Posting:
    """POST …/events. `intake` is there once the process is ready."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate
        self.intake: Intake | None = None

    async def events(self, request: Request, trace: RequestTrace) -> Response:
        _, caller = await self._gate.enter(request, "events", trace)
        deadline_ms = self._gate.deadline_ms(request, self._gate.settings.batch_deadline_ms)
        body = await self._gate.body(request, self._gate.settings.max_body_bytes)
        with self._gate.place():
            rows, several = posted.rows(body)
            self._gate.admission.spend(caller, len(rows))
            taken = await self._take(rows, deadline_ms, trace)
        if several:
            return Response.json({"results": [_result(one) for one in taken]}, 202)
        if isinstance(taken[0], RequestError):
            raise taken[0]
        return Response.json(taken[0], 202)

    async def _take(
        self, rows: list[Any], deadline_ms: int, trace: RequestTrace
    ) -> list[dict[str, str] | RequestError]:
        assert self.intake is not None, "a ready service with events has an intake"
        try:
            with trace.stage(names.SPAN_LEDGER):
                async with asyncio.timeout(deadline_ms / 1000):
                    return await self.intake.take(rows, time.time())
        except TimeoutError:
            raise DeadlineExceeded(f"Not recorded within {deadline_ms} ms; sending it again is safe") from None


def _result(taken: dict[str, str] | RequestError) -> dict[str, Any]:
    """Say what became of one event of several: a receipt, or a problem of its own."""
    return {"status": "refused", "problem": taken.as_problem()} if isinstance(taken, RequestError) else taken
