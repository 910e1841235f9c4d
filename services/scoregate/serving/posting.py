"""The handler of posted events: taken in whole or in part, durable before it is acknowledged."""

from __future__ import annotations

import time
from typing import Any

from scoregate.deadline import Deadline
from scoregate.errors import RequestError
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
        deadline = self._gate.deadline(request, self._gate.settings.batch_deadline_ms)
        body = await self._gate.body(request, self._gate.settings.max_body_bytes, deadline)
        with self._gate.admission.slot():
            rows, several = posted.rows(body)
            self._gate.admission.spend(caller, len(rows))
            taken = await self._take(rows, deadline, trace)
        if several:
            return Response.json({"results": [_result(one) for one in taken]}, 202)
        if isinstance(taken[0], RequestError):
            raise taken[0]
        return Response.json(taken[0], 202)

    async def _take(
        self, rows: list[Any], deadline: Deadline, trace: RequestTrace
    ) -> list[dict[str, str] | RequestError]:
        assert self.intake is not None, "a ready service with events has an intake"
        maybe = "the events may have been recorded; sending them again is safe"
        with trace.stage(names.SPAN_LEDGER), deadline.bound(maybe):
            return await self.intake.take(rows, time.time(), trace.context)


def _result(taken: dict[str, str] | RequestError) -> dict[str, Any]:
    """Say what became of one event of several: a receipt, or a problem of its own."""
    return {"status": "refused", "problem": taken.as_problem()} if isinstance(taken, RequestError) else taken
