"""The handler of batches: rows in turns, each with an answer or a problem of its own, all inside one deadline."""

from __future__ import annotations

import asyncio
import json
from dataclasses import field
from datetime import UTC, datetime
from typing import Any

from scoregate.deadline import Deadline
from scoregate.errors import FieldProblem, InvalidFields, ScoregateError
from scoregate.serving import wire
from scoregate.serving.answering import Answering
from scoregate.serving.gate import Gate
from scoregate.serving.http import Request, Response
from scoregate.serving.lane import ROWS_AT_ONCE
from scoregate.serving.startup import Ready
from scoregate.telemetry.tracing import RequestTrace
from scoregate.values import frozen

MOST_ROWS = 1_000
"""Largest batch."""


class Batching:
    """POST …/score:batch."""

    def __init__(self, gate: Gate, answering: Answering) -> None:
        self._gate, self._answering = gate, answering

    async def batch(self, request: Request, trace: RequestTrace) -> Response:
        gate = self._gate
        ready, caller = await gate.enter(request, "score", trace)
        deadline = gate.deadline(request, gate.settings.batch_deadline_ms)
        rows = _rows(await gate.body(request, gate.settings.max_body_bytes, deadline))
        gate.admission.spend(caller, len(rows))
        with gate.admission.lane.enter(len(rows), deadline.left_s):
            results = await self._decided(rows, _Batch(self._answering, ready, trace, deadline, ready.clock()))
        return Response(200, b'{"results":[' + b",".join(results) + b"]}")

    async def _decided(self, rows: list[Any], batch: _Batch) -> list[bytes]:
        results: list[bytes] = []
        for start in range(0, len(rows), ROWS_AT_ONCE):
            some = rows[start : start + ROWS_AT_ONCE]
            async with self._gate.admission.lane.turn(len(some)):
                results += await asyncio.gather(*(batch.row(row) for row in some))
        return results


@frozen
class _Batch:
    """What the rows of one batch share. `now` is when it was received; `turns` is by natural key."""

    answering: Answering
    ready: Ready
    trace: RequestTrace
    deadline: Deadline
    now: float
    turns: dict[str, asyncio.Lock] = field(default_factory=dict)

    async def row(self, row: Any) -> bytes:
        """Decide one row; its problem is its own."""
        try:
            self.deadline.require()
            parsed = wire.parse_row(row, self.ready.request_type, datetime.fromtimestamp(self.now, UTC))
            asked = self.answering.asked(parsed, None, self.now, self.trace, self.deadline)
            # Rows with one key are one request that comes again: the later waits for the earlier's answer.
            async with self.turns.setdefault(getattr(parsed, parsed.NATURAL_KEY), asyncio.Lock()):
                decided = await self.answering.decide(self.ready, asked)
            return b'{"status":200,"answer":' + decided.answer + b"}"
        except ScoregateError as problem:
            return json.dumps({"status": problem.status, "problem": problem.as_problem()}).encode()


def _rows(body: bytes) -> list[Any]:
    """Return the rows of a batch: `{"rows": […]}`, at most MOST_ROWS.

    Raises:
        BadJson: not JSON.
        InvalidFields: not a batch.
    """
    batch = wire.decoded(body)
    rows = batch.get("rows") if isinstance(batch, dict) and set(batch) == {"rows"} else None
    if not isinstance(rows, list) or not 1 <= len(rows) <= MOST_ROWS:
        bad = FieldProblem("/rows", f"must be an array of 1 to {MOST_ROWS} requests, and the only member")
        raise InvalidFields("The body is not a batch", fields=(bad,))
    return rows
