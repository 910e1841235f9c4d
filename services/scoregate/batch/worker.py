"""One process of a batch: rows → valid requests → features → decisions in the ledger → results."""

from __future__ import annotations

import asyncio
import datetime as dt
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import pyarrow as pa

from scoregate import catalog
from scoregate.batch import results
from scoregate.batch.results import Result
from scoregate.batch.rows import Columns
from scoregate.contract import ScoreRequest
from scoregate.errors import DependencyError, FieldProblem, InvalidFields, RequestError, ScoregateError
from scoregate.features import FeatureRow
from scoregate.features.online import OnlineFeatures
from scoregate.hashing import KeyedHash
from scoregate.ledger.cipher import FieldCipher
from scoregate.ledger.opening import open_ledger
from scoregate.models.artefact import Artefact
from scoregate.scoring import Asked, Decided
from scoregate.scoring.scorer import Scorer
from scoregate.serving import wire
from scoregate.serving.events import Intake, event_code
from scoregate.settings import Settings
from scoregate.telemetry.metrics import NoCounts
from scoregate.telemetry.tracing import UNTRACED, RequestTrace
from scoregate.values import frozen

AT_ONCE: Final = 10_000
"""Rows that share a round trip to the store; the ledger writes them in groups of its own size."""
STORE_TIMEOUT_S: Final = 5.0
TRIES: Final = 5
PAUSE_S: Final = 0.5
"""Before a dependency that did not answer is asked again; doubled each time."""
EVER: Final = dt.timedelta(days=36_500)
"""How long ago a row may have happened, where features are looked up as of then."""


@frozen
class Work:
    """What every worker of a job is told."""

    service: str
    input: Path
    model: Path
    as_of: str


class BatchWorker:
    """Decides chunks of one job. `await start()` before use, `await close()` after."""

    def __init__(self, work: Work, settings: Settings) -> None:
        self._work, self._settings = work, settings
        self._code: Any = catalog.part(work.service, "features")
        self._request_type: type[ScoreRequest] = catalog.part(work.service, "contract").Request
        self._columns = Columns.of(work.input, self._request_type)
        self._artefact = Artefact.load(work.model)
        self._hashed = KeyedHash.load(settings.hash_key_path)

    async def start(self) -> None:
        """Connect.

        Raises:
            LedgerUnavailable: the ledger cannot be opened.
        """
        service, settings = self._work.service, self._settings
        plan = self._artefact.signature.plan
        self._source = OnlineFeatures(plan, settings.store_url, timeout_s=STORE_TIMEOUT_S)
        cipher = FieldCipher.load(settings.ledger_key_file)
        timeout_s = settings.ledger_timeout_ms / 1000
        self._ledger = await open_ledger(settings.ledger(service), service, timeout_s=timeout_s, cipher=cipher)
        self._scorer = Scorer(
            self._artefact, self._code, self._source, self._ledger, self._hashed, NoCounts(), arm=settings.arm
        )
        # What happened long ago has been counted, or is not to be: history brings no events.
        code = event_code(service) if self._work.as_of == "now" else None
        self._intake = Intake(service, code, self._request_type, self._ledger, self._hashed) if code else None

    async def close(self) -> None:
        await self._ledger.close()
        await self._source.close()

    async def results(self, chunk: pa.Table, first_row: int) -> pa.Table:
        """Decide the rows of a chunk; `first_row` is the number of its first one.

        Raises:
            DependencyError: store or ledger did not answer, however often they were asked; what was decided until then
                is in the ledger, and is given again.
        """
        rows = self._columns.rows(chunk)
        parsed = self._parsed(rows)
        found = {i: _result(one) for i, one in enumerate(parsed) if isinstance(one, RequestError)}
        valid = [i for i in range(len(rows)) if i not in found]
        requests = [one for one in parsed if isinstance(one, ScoreRequest)]
        then = self._then(requests) if self._work.as_of == "row" else None
        for start in range(0, len(valid), AT_ONCE):
            some = slice(start, start + AT_ONCE)
            decided = await self._decided(requests[some], None if then is None else then[some])
            for i, one in zip(valid[some], decided, strict=True):
                found[i] = _result(one)
        name = self._request_type.NATURAL_KEY
        keys = [key if isinstance(key := row.get(name), str) else None for row in rows]
        return results.as_table(first_row, name, keys, [found[i] for i in range(len(rows))])

    def _parsed(self, rows: Sequence[dict[str, Any]]) -> list[ScoreRequest | RequestError]:
        is_then = self._work.as_of == "row"
        now, oldest = dt.datetime.now(dt.UTC), EVER if is_then else wire.OLDEST
        parsed = wire.parse_rows(rows, self._request_type, now, oldest)
        return [_timeless() if is_then and "event_at" not in row else p for row, p in zip(rows, parsed, strict=True)]

    async def _decided(
        self, requests: Sequence[ScoreRequest], features: Sequence[FeatureRow] | None
    ) -> list[Decided | ScoregateError]:
        """Decide some rows, asking again for those that a dependency did not answer."""
        found: dict[int, Decided | ScoregateError] = {}
        waiting = list(range(len(requests)))
        for attempt in range(TRIES):
            if attempt:
                await asyncio.sleep(PAUSE_S * 2 ** (attempt - 1))
            # At the same moment, as far as features and their ages are concerned.
            now_s = time.time()
            trace = UNTRACED.begin(None, "", {})
            asked = [self._asked(requests[i], now_s, trace) for i in waiting]
            rows = None if features is None else [features[i] for i in waiting]
            try:
                some = await self._scorer.decide_all(asked, rows)
            except DependencyError as problem:
                failed: DependencyError = problem
                continue
            found.update(zip(waiting, some, strict=True))
            failures = {i: one for i in waiting if isinstance(one := found[i], DependencyError)}
            if not failures:
                return [found[i] for i in range(len(requests))]
            waiting, failed = list(failures), next(iter(failures.values()))
        raise failed

    def _asked(self, request: ScoreRequest, now_s: float, trace: RequestTrace) -> Asked:
        if self._work.as_of == "row" and request.event_at:
            now_s = request.event_at.timestamp()
        event = self._intake.scored(request, now_s) if self._intake else None
        return Asked(request, None, now_s, trace, event)

    def _then(self, requests: Sequence[ScoreRequest]) -> list[FeatureRow]:
        from scoregate.batch.history import as_of_then

        signature = self._artefact.signature
        return as_of_then(self._settings, signature.feature_service, signature.plan, self._code, requests, self._hashed)


def _timeless() -> InvalidFields:
    field = FieldProblem("/event_at", "must be there, to look features up as of then")
    return InvalidFields("1 field cannot be accepted; 'errors' names it", fields=(field,))


def _result(one: Decided | ScoregateError) -> Result:
    if isinstance(one, ScoregateError):
        return Result(problem=one.as_problem())
    return Result(one.answer, one.replayed)
