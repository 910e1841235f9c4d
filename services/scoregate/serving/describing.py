"""What may be asked beside a decision: one of earlier, the model, the OpenAPI document."""

from __future__ import annotations

from typing import Any

from scoregate.errors import NotFound
from scoregate.serving.gate import Gate
from scoregate.serving.http import Request, Response
from scoregate.serving.startup import Ready
from scoregate.telemetry.tracing import RequestTrace


class Describing:
    """Handlers of what is read."""

    def __init__(self, gate: Gate, document: dict[str, Any]) -> None:
        self._gate = gate
        self.describe(document)

    def describe(self, document: dict[str, Any]) -> None:
        """Take another OpenAPI document: that of the model that serves."""
        self._document = Response.json(document)

    async def decision(self, request: Request, trace: RequestTrace) -> Response:
        ready, _ = await self._gate.enter(request, "read", trace)
        recorded = await ready.ledger.get(request.path.rpartition("/")[2])
        if recorded is None:
            raise NotFound("The ledger holds no such decision")
        if "answer" in recorded.forgotten:
            raise NotFound("What was answered has been forgotten; the ledger keeps that a decision was made")
        return Response(200, recorded.entry.answer)

    async def model(self, request: Request, trace: RequestTrace) -> Response:
        ready, _ = await self._gate.enter(request, "read", trace)
        return Response.json(_said_of_model(ready))

    async def document(self, request: Request, trace: RequestTrace) -> Response:
        return self._document


def _said_of_model(ready: Ready) -> dict[str, Any]:
    artefact, signature = ready.artefact, ready.artefact.signature
    return {
        "service": signature.service,
        "name": signature.feature_service,
        "version": artefact.version,
        "digest": artefact.digest,
        "policy": artefact.policy_digest[:12],
        "feature_plan": signature.plan.digest,
        "features": list(signature.names),
        "outcomes": [outcome.name for outcome in ready.scorer.policy.outcomes],
        "training": dict(signature.training),
        # The rest of the evidence is for those who approve models, not for those who call them.
        "metrics": {n: m for n, m in artefact.metrics.items() if isinstance(m, dict) and "value" in m},
    }
