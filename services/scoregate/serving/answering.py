"""The handlers that decide: one request, or a batch of them."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any

from scoregate.contract import ScoreRequest
from scoregate.errors import BadJson, DeadlineExceeded, FieldProblem, InvalidFields, ScoregateError
from scoregate.scoring import Asked, Decided
from scoregate.serving import wire
from scoregate.serving.events import Intake
from scoregate.serving.gate import Gate
from scoregate.serving.http import Request, Response
from scoregate.serving.startup import Ready
from scoregate.telemetry.tracing import RequestTrace

MOST_ROWS = 1_000
"""Largest batch."""

ROWS_AT_ONCE = 25
"""Rows of a batch that are decided together: a few milliseconds of work between turns of other requests."""


class Answering:
    """POST …/score and …/score:batch. `counts` is the type of request that the service's stream counts."""

    def __init__(self, gate: Gate, counts: type[ScoreRequest]) -> None:
        self._gate, self._counts = gate, counts
        self.intake: Intake | None = None

    async def score(self, request: Request, trace: RequestTrace) -> Response:
        ready, caller = await self._gate.enter(request, "score", trace)
        deadline_ms = self._gate.deadline_ms(request, self._gate.settings.deadline_ms)
        self._gate.admission.spend(caller)
        body = await self._gate.body(request, self._gate.settings.max_request_bytes)
        with self._gate.place():
            now = time.time()
            parsed = wire.parse(body, ready.request_type, datetime.fromtimestamp(now, UTC))
            key = wire.idempotency_key(request.header(b"idempotency-key"))
            decided = await self._decide(ready, self._asked(parsed, key, now, trace), deadline_ms)
        headers = {"x-decision-replayed": "true"} if decided.replayed else {}
        return Response(200, decided.answer, headers=headers)

    async def batch(self, request: Request, trace: RequestTrace) -> Response:
        ready, caller = await self._gate.enter(request, "score", trace)
        deadline_ms = self._gate.deadline_ms(request, self._gate.settings.batch_deadline_ms)
        body = await self._gate.body(request, self._gate.settings.max_body_bytes)
        with self._gate.place():
            rows = _rows(body)
            self._gate.admission.spend(caller, len(rows))
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
        counts = self.intake is not None and isinstance(parsed, self._counts)
        return Asked(parsed, key, now, trace, self.intake.scored(parsed, now) if self.intake and counts else None)

    async def _decide(self, ready: Ready, asked: Asked, deadline_ms: int) -> Decided:
        natural_key = getattr(asked.request, asked.request.NATURAL_KEY)
        with self._gate.admission.deciding(natural_key):
            try:
                async with asyncio.timeout(deadline_ms / 1000):
                    return await ready.scorer.decide(asked)
            except TimeoutError:
                raise DeadlineExceeded(f"No decision within {deadline_ms} ms") from None


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
