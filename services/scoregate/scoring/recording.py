"""The last step of a decision: it is durable before anybody is told."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace

from scoregate.contract import ScoreRequest
from scoregate.deciding import Decider, Judged, encode_ages
from scoregate.errors import FieldProblem, ScoregateError, UnknownEntity
from scoregate.events import Event
from scoregate.features import FeatureRow, Status
from scoregate.features.links import Alert
from scoregate.hashing import KeyedHash
from scoregate.ledger import Appended, Entry, Ledger
from scoregate.randomness import Randomness
from scoregate.scoring import Asked, Clock, Decided, FeatureCode
from scoregate.scoring.reading import Seen
from scoregate.telemetry import names
from scoregate.telemetry.metrics import Counts
from scoregate.values import frozen

OUTSIDE = "outside"
"""What is counted of values that lie beyond those of training, as `stale` and `missing` are of views."""

MAYBE = "the decision may have been recorded; the same request again is answered by it"


@frozen
class Made:
    """A decision that is to be recorded: what it was made of, its entry, and the event that it is to others."""

    seen: Seen
    judged: Judged
    entry: Entry
    event: Event | None


class Recorder:
    """Writes decisions of one decider into the ledger, and counts those that are new."""

    def __init__(
        self,
        decider: Decider,
        code: FeatureCode,
        ledger: Ledger,
        hashed: KeyedHash,
        metrics: Counts,
        *,
        arm: str,
        clock: Clock,
    ) -> None:
        self._decider, self._ledger, self._hashed = decider, ledger, hashed
        self._metrics, self.arm, self._clock = metrics, arm, clock
        self._drawn = Randomness()
        self._artefact = decider.artefact
        self._alert: Callable[[ScoreRequest, FeatureRow, KeyedHash, float], Alert | None] = getattr(
            code, "alert", lambda *_: None
        )
        # Worked out once: a digest of the whole plan costs more than the decision.
        self._feature_digest, self._policy_digest = self._artefact.signature.plan.digest, self._artefact.policy_digest
        self._names = self._artefact.signature.names
        self._pack = struct.Struct(f"<{len(self._names)}d").pack

    async def record(self, asked: Asked, made: Made) -> Decided:
        """Make a decision durable, or give the earlier one again."""
        trace, judged = asked.trace, made.judged
        # What was not begun is not recorded; what was begun may be, and the same request again is given its answer.
        asked.deadline.require()
        with trace.stage(names.SPAN_LEDGER), asked.deadline.bound(MAYBE):
            appended = await self._ledger.append(made.entry, made.event)
        trace.set(
            {
                names.ATTR_DECISION_ID: appended.decision_id,
                names.ATTR_OUTCOME: judged.decision.outcome.name,
                names.ATTR_SOURCE: judged.source,
                names.ATTR_RUNG: judged.decision.rung,
                names.ATTR_MODEL: self._artefact.version,
            }
        )
        return self._recorded(appended, made)

    async def record_all(self, some: Sequence[Made]) -> list[Decided | ScoregateError]:
        """Do so for many of nobody's deadline; return each, or what stood against it in its place."""
        appended = await self._ledger.append_all([(made.entry, made.event) for made in some])
        return [
            self._recorded(one, made) if isinstance(one, Appended) else one
            for one, made in zip(appended, some, strict=True)
        ]

    def _recorded(self, appended: Appended, made: Made) -> Decided:
        judged, decision = made.judged, made.judged.decision
        if not appended.replayed:
            self._count(made.seen, judged)
        return Decided(
            appended.decision_id,
            appended.answer,
            appended.replayed,
            decision.outcome.name,
            judged.source,
            decision.rung,
        )

    async def repeat_or_refuse(self, asked: Asked, unknown: list[str]) -> Decided:
        """Give an earlier answer to the same request again, for an entity that has gone since; else refuse."""
        request = asked.request
        with asked.deadline.bound("the ledger was not read"):
            recorded = await self._ledger.find(getattr(request, request.NATURAL_KEY))
        if recorded is None or recorded.entry.request_digest != self._digest(request):
            raise UnknownEntity(
                f"The feature store does not know this {' and '.join(unknown)}",
                fields=tuple(FieldProblem(f"/{field}", "is not known") for field in unknown),
            )
        entry = recorded.entry
        return Decided(entry.decision_id, entry.answer, True, entry.outcome, entry.source, entry.rung)

    def made(self, asked: Asked, seen: Seen, judged: Judged, shadow: str | None) -> Made:
        """Write a decision down, with what a shadow thinks of it; nothing is durable yet."""
        alert = self._alert(asked.request, seen.row, self._hashed, seen.at_s)
        entry = self._entry(asked, seen, judged, alert, shadow)
        return Made(seen, judged, entry, _grouped(asked.event, alert))

    def _entry(self, asked: Asked, seen: Seen, judged: Judged, alert: Alert | None, shadow: str | None) -> Entry:
        request, decision = asked.request, judged.decision
        decided_at = self._clock()
        decision_id = _time_ordered_id(decided_at, self._drawn(10))
        return Entry(
            decision_id=decision_id,
            service=self._artefact.signature.service,
            natural_key=getattr(request, request.NATURAL_KEY),
            idempotency_key=asked.idempotency_key,
            request_digest=self._digest(request),
            outcome=decision.outcome.name,
            score=judged.score,
            source=judged.source,
            rung=decision.rung,
            vector=self._pack(*seen.vector),
            ages=encode_ages(seen.ages),
            personal={f: self._hashed.tagged(f, str(getattr(request, f))) for f in sorted(request.PERSONAL)},
            answer=self._decider.answer(
                judged,
                decision_id=decision_id,
                alert=None if alert is None else alert.as_json(),
                arm=self.arm,
                decided_at=decided_at,
            ),
            model_digest=self._artefact.digest,
            policy_digest=self._policy_digest,
            feature_digest=self._feature_digest,
            arm=self.arm,
            trace_id=asked.trace.trace_id,
            event_at=seen.at_s,
            decided_at=decided_at,
            shadow=shadow,
        )

    def _digest(self, request: ScoreRequest) -> str:
        # As `model_dump_json`, without the way there.
        return self._hashed("request", request.__pydantic_serializer__.to_json(request).decode())

    def _count(self, seen: Seen, judged: Judged) -> None:
        decision, notes = judged.decision, judged.notes
        # Only what is missing is unequal to itself.
        self._metrics.missing(name for name, value in zip(self._names, seen.vector, strict=True) if value != value)  # noqa: PLR0124
        self._metrics.decision(
            self._artefact.version, decision.outcome.name, judged.source, decision.rung, judged.score
        )
        for view in notes.stale:
            self._metrics.degraded(view, Status.STALE)
        for view in notes.missing:
            self._metrics.degraded(view, Status.MISSING)
        for feature in notes.outside or ():
            self._metrics.degraded(feature, OUTSIDE)


def _grouped(event: Event | None, alert: Alert | None) -> Event | None:
    """Let the event say what the answer says of its group, for those who come next."""
    return event if event is None or alert is None else replace(event, row={**event.row, **alert.columns()})


def _time_ordered_id(at_s: float, random: bytes) -> str:
    """Make a UUIDv7 (RFC 9562): time-ordered, so that inserts land at the end of the index. `random`: 10 bytes."""
    drawn = int.from_bytes(random, "big")
    value = (int(at_s * 1000) << 80) | (7 << 76) | (drawn >> 68 << 64) | (2 << 62) | (drawn & (1 << 62) - 1)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
