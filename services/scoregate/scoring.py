"""The one path of a decision: features → vector → model → policy → reasons → ledger; of one request, or of many."""

from __future__ import annotations

import asyncio
import json
import math
import secrets
import struct
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from opentelemetry.trace import SpanKind

from scoregate.contract import ScoreRequest
from scoregate.deciding import Ages, Decider, Judged, Notes, ages_of, encode_ages
from scoregate.errors import FieldProblem, GoldenMismatch, ScoregateError, StoreUnavailable, UnknownEntity
from scoregate.events import Event
from scoregate.features import LATE_S, SUPPLIED, FeatureRow, FeatureSource, Status, ViewRow
from scoregate.features.links import Alert
from scoregate.hashing import KeyedHash
from scoregate.ledger import Entry, Ledger
from scoregate.models.artefact import Artefact, check_golden
from scoregate.policy import Policy
from scoregate.telemetry import names
from scoregate.telemetry.metrics import Metrics
from scoregate.telemetry.tracing import RequestTrace


class FeatureCode(Protocol):
    """A service's `features.py`: pure, the same in training and serving.

    It may have `supplied(request)` too: the views, by name, that a request brings in place of those that are stored;
    and `alert(request, row, hashed, at_s)`: the alert that the request belongs to.
    """

    FEATURES: tuple[str, ...]

    def entities(self, request: Any, hashed: Callable[[str, str], str]) -> dict[str, str]:
        """Return the value of every join key of the plan."""
        ...

    def vector(self, request: Any, row: FeatureRow, at_s: float) -> list[float]:
        """Return the features in the order of FEATURES; nan where a fact is missing."""
        ...


@dataclass(frozen=True, slots=True)
class Asked:
    """One request to decide, as the door hands it in. `received_at` is seconds since the epoch.

    `event` is what the request is to others: it becomes durable with the decision.
    """

    request: ScoreRequest
    idempotency_key: str | None
    received_at: float
    trace: RequestTrace
    event: Event | None = None


@dataclass(frozen=True, slots=True)
class Decided:
    """A durable decision: the answer's bytes, and what the door counts. `replayed`: an earlier answer, given again."""

    decision_id: str
    answer: bytes
    replayed: bool
    outcome: str
    source: str
    rung: str


@dataclass(frozen=True, slots=True)
class _Seen:
    """What a request is decided by. `ages` is as in the ledger; `at_s` the time of the event."""

    at_s: float
    row: FeatureRow
    ages: Ages
    notes: Notes
    vector: list[float]


class Scorer:
    """Decides requests of one service with one artefact."""

    def __init__(
        self,
        artefact: Artefact,
        code: FeatureCode,
        source: FeatureSource,
        ledger: Ledger,
        hashed: KeyedHash,
        metrics: Metrics,
        *,
        arm: str,
    ) -> None:
        self._artefact, self._code, self._source, self._ledger = artefact, code, source, ledger
        self._supplied: Callable[[ScoreRequest], dict[str, Mapping[str, Any]]] = getattr(code, "supplied", lambda _: {})
        self._alert: Callable[[ScoreRequest, FeatureRow, KeyedHash, float], Alert | None] = getattr(
            code, "alert", lambda *_: None
        )
        self.hashed, self._metrics, self._arm = hashed, metrics, arm
        self._service = artefact.signature.service
        self._decider = Decider(artefact)
        self._views = {view.name: view for view in artefact.signature.plan.views}
        self._pack = struct.Struct(f"<{len(artefact.signature.names)}d").pack

    @property
    def policy(self) -> Policy:
        return self._decider.policy

    async def decide(self, asked: Asked) -> Decided:
        """Decide and make the decision durable.

        Raises:
            UnknownEntity: the store is whole and lacks an entity that the policy says must be known.
            KeyReused: the natural or idempotency key was used with another request.
            LedgerUnavailable: the decision could not be made durable.
        """
        trace = asked.trace
        row = await self._row(asked)
        if unknown := self._unknown(row):
            return await self._repeat_or_refuse(asked.request, unknown)
        seen = self._seen(asked, row)
        score: float | None = None
        if not self._decider.is_blind(seen.ages):
            with trace.stage(names.SPAN_MODEL):
                score = float(self._decider.scores([seen.vector])[0])
        with trace.stage(names.SPAN_POLICY):
            judged = self._decider.decide(seen.vector, score, seen.notes)
        return await self._record(asked, seen, judged)

    async def decide_all(
        self, asked: Sequence[Asked], rows: Sequence[FeatureRow] | None = None
    ) -> list[Decided | ScoregateError]:
        """Decide many as `decide` would one by one, each with its answer or its problem, in order.

        They share a round trip to the store, a call of the forest, and commits. `rows`: what to decide by, in place of
        what the online store says now; views that a request brings itself go before them too.

        Raises:
            StoreUnavailable: the store does not answer; none of them was decided.
        """
        if rows is None:
            rows = await asyncio.gather(*(self._row(one, must_answer=True) for one in asked))
        else:
            rows = [self._completed(row, self._own_views(one)) for one, row in zip(asked, rows, strict=True)]
        unknown = [self._unknown(row) for row in rows]
        seen = [
            None if strange else self._seen(one, row) for one, row, strange in zip(asked, rows, unknown, strict=True)
        ]
        scores = self._scores(seen)
        return await asyncio.gather(
            *(
                self._one_of_many(one, sight, score, strange)
                for one, sight, score, strange in zip(asked, seen, scores, unknown, strict=True)
            )
        )

    def _scores(self, seen: Sequence[_Seen | None]) -> list[float | None]:
        """Return the score of each that a model can answer, by one call."""
        scored = [i for i, one in enumerate(seen) if one and not self._decider.is_blind(one.ages)]
        found: list[float | None] = [None] * len(seen)
        if scored:
            scores = self._decider.scores([one.vector for i in scored if (one := seen[i])])
            for i, score in zip(scored, scores.tolist(), strict=True):
                found[i] = score
        return found

    async def _one_of_many(
        self, asked: Asked, seen: _Seen | None, score: float | None, unknown: list[str]
    ) -> Decided | ScoregateError:
        try:
            if seen is None:
                return await self._repeat_or_refuse(asked.request, unknown)
            return await self._record(asked, seen, self._decider.decide(seen.vector, score, seen.notes))
        except ScoregateError as problem:
            return problem

    def _seen(self, asked: Asked, row: FeatureRow) -> _Seen:
        at_s = _event_at_s(asked)
        ages = ages_of(row)
        return _Seen(at_s, row, ages, Notes.of(ages), self._code.vector(asked.request, row, at_s))

    async def _record(self, asked: Asked, seen: _Seen, judged: Judged) -> Decided:
        """Make a decision durable, or give the earlier one again."""
        request, trace, decision = asked.request, asked.trace, judged.decision
        decided_at = time.time()
        decision_id = _time_ordered_id(decided_at)
        alert = self._alert(request, seen.row, self.hashed, seen.at_s)
        entry = Entry(
            decision_id=decision_id,
            service=self._service,
            natural_key=getattr(request, request.NATURAL_KEY),
            idempotency_key=asked.idempotency_key,
            request_digest=self._digest(request),
            outcome=decision.outcome.name,
            score=judged.score,
            source=judged.source,
            rung=decision.rung,
            vector=self._pack(*seen.vector),
            ages=encode_ages(seen.ages),
            personal={f: self.hashed.tagged(f, str(getattr(request, f))) for f in sorted(request.PERSONAL)},
            answer=self._decider.answer(
                judged,
                decision_id=decision_id,
                alert=None if alert is None else alert.as_json(),
                arm=self._arm,
                decided_at=decided_at,
            ),
            model_digest=self._artefact.digest,
            policy_digest=self._artefact.policy_digest,
            feature_digest=self._artefact.signature.plan.digest,
            arm=self._arm,
            trace_id=trace.trace_id,
            event_at=seen.at_s,
            decided_at=decided_at,
        )
        with trace.stage(names.SPAN_LEDGER):
            appended = await self._ledger.append(entry, _grouped(asked.event, alert))
        trace.set(
            {
                names.ATTR_DECISION_ID: appended.decision_id,
                names.ATTR_OUTCOME: decision.outcome.name,
                names.ATTR_SOURCE: judged.source,
                names.ATTR_RUNG: decision.rung,
                names.ATTR_MODEL: self._artefact.version,
                names.ATTR_ARM: self._arm,
            }
        )
        if not appended.replayed:
            self._count(judged)
        return Decided(
            appended.decision_id,
            appended.answer,
            appended.replayed,
            decision.outcome.name,
            judged.source,
            decision.rung,
        )

    async def _row(self, asked: Asked, *, must_answer: bool = False) -> FeatureRow:
        """Return the features of a request, those that it brings itself among them; all missing from a dead store.

        Raises:
            StoreUnavailable: the store is dead, and must answer.
        """
        supplied = self._own_views(asked)
        entities = self._code.entities(asked.request, self.hashed)
        row: FeatureRow | None = None
        if self._views.keys() - supplied.keys():
            row = await self._read(entities, asked.received_at, asked.trace, must_answer)
        if row is None:
            row = FeatureRow({view: ViewRow({}, Status.MISSING, None) for view in self._views}, entities)
        if asked.received_at - _event_at_s(asked) > LATE_S:
            row = replace(row, views={view: self._late(view, found) for view, found in row.views.items()})
        return self._completed(row, supplied)

    def _own_views(self, asked: Asked) -> dict[str, Mapping[str, Any]]:
        return {view: said for view, said in self._supplied(asked.request).items() if view in self._views}

    def _completed(self, row: FeatureRow, supplied: Mapping[str, Mapping[str, Any]]) -> FeatureRow:
        if not supplied:
            return row
        return replace(row, views={**row.views, **{view: self._brought(view, supplied[view]) for view in supplied}})

    async def _read(
        self, entities: Mapping[str, str], now_s: float, trace: RequestTrace, must_answer: bool
    ) -> FeatureRow | None:
        with trace.stage(names.SPAN_FEATURES, SpanKind.CLIENT) as stage:
            stage.set({"db.system.name": "redis", "db.operation.name": "HMGET"})
            try:
                row = await self._source.read(entities, now_s)
            except StoreUnavailable:
                stage.set({"error.type": "online-store-unavailable"})
                if must_answer:
                    raise
                return None
            stage.set({names.ATTR_STALE: len(row.stale), names.ATTR_MISSING: len(row.missing)})
            return row

    def _late(self, view: str, found: ViewRow) -> ViewRow:
        """What a stream counts is that of now: to a request about an earlier time it is not fresh, however young."""
        is_wrong = self._views[view].kind != "facts" and found.status is Status.FRESH
        return replace(found, status=Status.STALE) if is_wrong else found

    def _brought(self, view: str, values: Mapping[str, Any]) -> ViewRow:
        """What is not said of a view that the request brings is null, as it would be in the store."""
        said = {name: values.get(name) for name, _ in self._views[view].features}
        return ViewRow(said, Status.FRESH, 0.0, version=SUPPLIED)

    def _unknown(self, row: FeatureRow) -> list[str]:
        """Fields of the request whose entity must be known and is not, in a store that is whole."""
        known = self.policy.known.items()
        return [field for view, field in known if (found := row.views.get(view)) and not found.known]

    async def _repeat_or_refuse(self, request: ScoreRequest, unknown: list[str]) -> Decided:
        """Give an earlier answer to the same request again, for an entity that has gone since; else refuse."""
        recorded = await self._ledger.find(getattr(request, request.NATURAL_KEY))
        if recorded is None or recorded.entry.request_digest != self._digest(request):
            raise UnknownEntity(
                f"The feature store does not know this {' and '.join(unknown)}",
                fields=tuple(FieldProblem(f"/{field}", "is not known") for field in unknown),
            )
        entry = recorded.entry
        return Decided(entry.decision_id, entry.answer, True, entry.outcome, entry.source, entry.rung)

    def _digest(self, request: ScoreRequest) -> str:
        return self.hashed("request", request.model_dump_json())

    def _count(self, judged: Judged) -> None:
        decision, notes = judged.decision, judged.notes
        self._metrics.decision(
            self._artefact.version, decision.outcome.name, judged.source, decision.rung, judged.score
        )
        for view in notes.stale:
            self._metrics.degraded(view, Status.STALE)
        for view in notes.missing:
            self._metrics.degraded(view, Status.MISSING)


def row_of(golden: Mapping[str, Any]) -> FeatureRow:
    """Rebuild what was read for a golden request."""
    views = {
        view: ViewRow(found["values"], Status(found["status"]), found["age_s"], found.get("known", True))
        for view, found in golden["views"].items()
    }
    return FeatureRow(views, golden["entities"])


def check_goldens(artefact: Artefact, code: FeatureCode, request_type: type[ScoreRequest]) -> None:
    """Rescore every golden request with this process's own code and libraries.

    Raises:
        GoldenMismatch: a vector, score or outcome differs from what the model was accepted with.
    """
    if tuple(code.FEATURES) != artefact.signature.names:
        raise GoldenMismatch("the service's features.py and the signature name different features")
    policy = Policy.from_toml(artefact.policy)
    for number, golden in enumerate(artefact.golden):
        request = request_type.model_validate_json(json.dumps(golden["request"]))
        row = row_of(golden)
        vector = code.vector(request, row, golden["at_s"])
        expected = [math.nan if v is None else v for v in golden["vector"]]
        for name, want, got in zip(code.FEATURES, expected, vector, strict=True):
            if not (want == got or (math.isnan(want) and math.isnan(got))):
                raise GoldenMismatch(f"golden request {number} has another {name} than the model was accepted with")
        score = float(artefact.forest.predict(np.array([vector], dtype=np.float32))[0])
        check_golden(str(number), golden["score"], score)
        values = dict(zip(code.FEATURES, vector, strict=True))
        outcome = policy.decide(score, values, [*row.stale, *row.missing]).outcome.name
        if outcome != golden["outcome"]:
            raise GoldenMismatch(f"golden request {number} ends in {outcome}, accepted with {golden['outcome']}")


def _grouped(event: Event | None, alert: Alert | None) -> Event | None:
    """Let the event say what the answer says of its group, for those who come next."""
    return event if event is None or alert is None else replace(event, row={**event.row, **alert.columns()})


def _event_at_s(asked: Asked) -> float:
    return asked.request.event_at.timestamp() if asked.request.event_at else asked.received_at


def _time_ordered_id(at_s: float) -> str:
    """Make a UUIDv7 (RFC 9562): time-ordered, so that inserts land at the end of the index."""
    value = (int(at_s * 1000) << 80) | (7 << 76) | (secrets.randbits(12) << 64) | (2 << 62) | secrets.randbits(62)
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
