"""The path: read, score, decide, record."""

from __future__ import annotations

import time
from collections.abc import Sequence

from scoregate.deciding import Decider
from scoregate.errors import ModelUnavailable, ScoregateError
from scoregate.features import FeatureRow, FeatureSource
from scoregate.hashing import KeyedHash
from scoregate.ledger import Ledger
from scoregate.models.artefact import Artefact
from scoregate.policy import Policy
from scoregate.scoring import Asked, Clock, Decided, FeatureCode
from scoregate.scoring.reading import RequestReader, Seen
from scoregate.scoring.recording import Made, Recorder
from scoregate.scoring.shadow import Shadow
from scoregate.scoring.together import Together
from scoregate.telemetry import names
from scoregate.telemetry.metrics import Counts
from scoregate.telemetry.tracing import Stages


class Scorer:
    """Decides requests of one service with one artefact. `shadow` looks on at single requests, and decides nothing."""

    def __init__(
        self,
        artefact: Artefact,
        code: FeatureCode,
        source: FeatureSource,
        ledger: Ledger,
        hashed: KeyedHash,
        metrics: Counts,
        *,
        arm: str,
        clock: Clock = time.time,
        shadow: Shadow | None = None,
    ) -> None:
        self.hashed, self._shadow = hashed, shadow
        self._decider = Decider(artefact)
        self._reader = RequestReader(artefact.signature.plan, code, source, hashed)
        self._coming = self._reading = 0
        self._together = Together(self._made, lambda: self._reading)
        ledger.coming = lambda: self._coming
        self._recorder = Recorder(self._decider, code, ledger, hashed, metrics, arm=arm, clock=clock)

    def become(self, arm: str) -> None:
        """Decide as another arm from now on."""
        self._recorder.arm = arm

    @property
    def policy(self) -> Policy:
        return self._decider.policy

    async def decide(self, asked: Asked) -> Decided:
        """Decide and make the decision durable.

        Raises:
            UnknownEntity: the store is whole and lacks an entity that the policy says must be known.
            KeyReused: the natural or idempotency key was used with another request.
            LedgerUnavailable: the decision could not be made durable.
            DeadlineExceeded: no rung of the ladder fitted into the deadline.
        """
        self._coming += 1
        try:
            row = await self._row(asked)
            unknown = self._unknown(row)
            made = None if unknown else await self._together((asked, row))
        finally:
            self._coming -= 1
        if made is None:
            return await self._recorder.repeat_or_refuse(asked, unknown)
        return await self._recorder.record(asked, made)

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
            rows = await self._reader.rows(asked)
        else:
            rows = [self._reader.completed(one, row) for one, row in zip(asked, rows, strict=True)]
        unknown = [self._unknown(row) for row in rows]
        known = [(one, row) for one, row, strange in zip(asked, rows, unknown, strict=True) if not strange]
        recorded = iter(await self._recorder.record_all(self._made(known)))
        return [
            await self._repeated(one, strange) if strange else next(recorded)
            for one, strange in zip(asked, unknown, strict=True)
        ]

    async def _row(self, asked: Asked) -> FeatureRow:
        self._reading += 1
        try:
            return await self._reader.row(asked)
        finally:
            self._reading -= 1
            if not self._reading:
                self._together.go()

    def _made(self, some: Sequence[tuple[Asked, FeatureRow]]) -> list[Made]:
        """Make the decision of each, step by step, and let the shadow see it."""
        asked = [one for one, _ in some]
        seen = [self._reader.seen(one, row) for one, row in some]
        with Stages(one.trace.stage(names.SPAN_MODEL) for one in asked):
            scores = self._scores(seen)
        with Stages(one.trace.stage(names.SPAN_POLICY) for one in asked):
            judged = [
                self._decider.decide(one.vector, score, one.notes) for one, score in zip(seen, scores, strict=True)
            ]
        shadows = [self._looked_at(one, score) for one, score in zip(seen, scores, strict=True)]
        return [self._recorder.made(*each) for each in zip(asked, seen, judged, shadows, strict=True)]

    def _looked_at(self, seen: Seen, score: float | None) -> str | None:
        # Where rules decided there is nothing that another model could have decided otherwise.
        return self._shadow.look(seen.vector, seen.notes) if self._shadow and score is not None else None

    def _scores(self, seen: Sequence[Seen]) -> list[float | None]:
        """Return the score of each that a model can answer; None is for rules to decide."""
        found: list[float | None] = [None] * len(seen)
        scored = [i for i, one in enumerate(seen) if not self._decider.is_blind(one.ages)]
        try:
            scores = self._decider.scores([seen[i].vector for i in scored]) if scored else ()
        except ModelUnavailable:
            return found
        for i, score in zip(scored, scores, strict=True):
            found[i] = score
        return found

    async def _repeated(self, asked: Asked, unknown: list[str]) -> Decided | ScoregateError:
        try:
            return await self._recorder.repeat_or_refuse(asked, unknown)
        except ScoregateError as problem:
            return problem

    def _unknown(self, row: FeatureRow) -> list[str]:
        """Fields of the request whose entity must be known and is not, in a store that is whole."""
        known = self.policy.known.items()
        return [field for view, field in known if (found := row.views.get(view)) and not found.known]
