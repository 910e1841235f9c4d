"""The path: read, score, decide, record."""

from __future__ import annotations

import time
from collections.abc import Sequence

from scoregate.deciding import Decider, Judged
from scoregate.errors import ModelUnavailable, ScoregateError
from scoregate.features import FeatureRow, FeatureSource
from scoregate.hashing import KeyedHash
from scoregate.ledger import Ledger
from scoregate.models.artefact import Artefact
from scoregate.policy import Policy
from scoregate.scoring import Asked, Clock, Decided, FeatureCode
from scoregate.scoring.reading import RequestReader, Seen
from scoregate.scoring.recording import Recorder
from scoregate.scoring.shadow import Shadow
from scoregate.telemetry import names
from scoregate.telemetry.metrics import Counts


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
        self._coming = 0
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
            row = await self._reader.row(asked)
            unknown = self._unknown(row)
            judged = None if unknown else self._judged(asked, row)
        finally:
            self._coming -= 1
        if judged is None:
            return await self._recorder.repeat_or_refuse(asked, unknown)
        return await self._recorder.record(asked, *judged)

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
        seen = [
            None if strange else self._reader.seen(one, row)
            for one, row, strange in zip(asked, rows, unknown, strict=True)
        ]
        scores = self._scores(seen)
        judged = [
            (one, sight, self._decider.decide(sight.vector, score, sight.notes))
            for one, sight, score in zip(asked, seen, scores, strict=True)
            if sight
        ]
        recorded = iter(await self._recorder.record_all(judged))
        return [
            next(recorded) if sight else await self._repeated(one, strange)
            for one, sight, strange in zip(asked, seen, unknown, strict=True)
        ]

    def _judged(self, asked: Asked, row: FeatureRow) -> tuple[Seen, Judged, str | None]:
        """Decide, and let the shadow see it."""
        seen = self._reader.seen(asked, row)
        with asked.trace.stage(names.SPAN_MODEL):
            score = self._score(seen)
        with asked.trace.stage(names.SPAN_POLICY):
            judged = self._decider.decide(seen.vector, score, seen.notes)
        # Where rules decided there is nothing that another model could have decided otherwise.
        shadow = self._shadow.look(seen.vector, seen.notes) if self._shadow and score is not None else None
        return seen, judged, shadow

    def _score(self, seen: Seen) -> float | None:
        """Return the score of what a model can answer; None is for rules to decide."""
        if self._decider.is_blind(seen.ages):
            return None
        try:
            return self._decider.score(seen.vector)
        except ModelUnavailable:
            return None

    def _scores(self, seen: Sequence[Seen | None]) -> list[float | None]:
        """Return the same of each, by one call."""
        scored = [i for i, one in enumerate(seen) if one and not self._decider.is_blind(one.ages)]
        found: list[float | None] = [None] * len(seen)
        if scored:
            try:
                scores = self._decider.scores([one.vector for i in scored if (one := seen[i])])
            except ModelUnavailable:
                return found
            for i, score in zip(scored, scores.tolist(), strict=True):
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
