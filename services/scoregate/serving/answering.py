"""The handler that decides one request, and what it has in common with a row of many."""

from __future__ import annotations

from datetime import UTC, datetime

from scoregate.contract import ScoreRequest
from scoregate.deadline import Deadline
from scoregate.scoring import Asked, Decided
from scoregate.serving import wire
from scoregate.serving.events import Intake
from scoregate.serving.gate import Gate
from scoregate.serving.http import Request, Response
from scoregate.serving.startup import Ready
from scoregate.telemetry.tracing import RequestTrace


class Answering:
    """POST …/score. `counts` is the type of request that the service's stream counts."""

    def __init__(self, gate: Gate, counts: type[ScoreRequest]) -> None:
        self._gate, self._counts = gate, counts
        self.intake: Intake | None = None

    async def score(self, request: Request, trace: RequestTrace) -> Response:
        gate = self._gate
        # First of all: a refusal must cost next to nothing, or refusing is what there is no time for.
        gate.admission.look()
        ready, caller = await gate.enter(request, "score", trace)
        deadline = gate.deadline(request, gate.settings.deadline_ms)
        gate.admission.spend(caller)
        body = await gate.body(request, gate.settings.max_request_bytes, deadline)
        with gate.admission.slot(measured=True):
            now = ready.clock()
            parsed = wire.parse(body, ready.request_type, datetime.fromtimestamp(now, UTC))
            key = wire.idempotency_key(request.header(b"idempotency-key"))
            decided = await self.decide(ready, self.asked(parsed, key, now, trace, deadline))
        headers = {"x-decision-replayed": "true"} if decided.replayed else {}
        return Response(200, decided.answer, headers=headers)

    def asked(self, parsed: ScoreRequest, key: str | None, now: float, trace: RequestTrace, due: Deadline) -> Asked:
        # A request of somebody's own columns has none of those that the service's stream holds.
        counts = self.intake is not None and isinstance(parsed, self._counts)
        event = self.intake.scored(parsed, now, trace.context) if self.intake and counts else None
        return Asked(parsed, key, now, trace, event, due)

    async def decide(self, ready: Ready, asked: Asked) -> Decided:
        with self._gate.admission.deciding(getattr(asked.request, asked.request.NATURAL_KEY)):
            return await ready.scorer.decide(asked)
