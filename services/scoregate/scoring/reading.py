"""What a request is decided by: features of the store, or of the request itself, and its vector."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from scoregate.contract import ScoreRequest
from scoregate.deadline import NEVER, Deadline, Limit
from scoregate.deciding import Ages, Notes, ages_of
from scoregate.errors import StoreUnavailable
from scoregate.features import LATE_S, SUPPLIED, FeatureRow, FeatureSource, Status, ViewRow
from scoregate.features.plan import FeaturePlan
from scoregate.hashing import KeyedHash
from scoregate.scoring import Asked, FeatureCode
from scoregate.telemetry import names
from scoregate.telemetry.tracing import Stage
from scoregate.values import frozen

READ_SHARE = 0.5
"""Of what is left of a deadline, what the read may take: the rest is for deciding without it, and for the ledger."""


@frozen
class Seen:
    """What a request is decided by. `ages` is as in the ledger; `at_s` the time of the event."""

    at_s: float
    row: FeatureRow
    ages: Ages
    notes: Notes
    vector: list[float]


class RequestReader:
    """Reads what a plan's model wants to know of requests."""

    def __init__(self, plan: FeaturePlan, code: FeatureCode, source: FeatureSource, hashed: KeyedHash) -> None:
        self._code, self._source, self._hashed = code, source, hashed
        self._supplied: Callable[[ScoreRequest], dict[str, Mapping[str, Any]]] = getattr(code, "supplied", lambda _: {})
        self._views = {view.name: view for view in plan.views}

    async def row(self, asked: Asked) -> FeatureRow:
        """Return the features of a request, those that it brings itself among them; all missing from a dead store."""
        with asked.trace.stage(names.SPAN_FEATURES) as stage:
            supplied = self._own_views(asked)
            entities = self._code.entities(asked.request, self._hashed)
            read: FeatureRow | None = None
            if self._views.keys() - supplied.keys():
                read = await self._read(entities, asked, stage)
            row = self._with(self._in_time(asked, read or self._nothing(entities)), supplied)
            stage.set({names.ATTR_STALE: len(row.stale), names.ATTR_MISSING: len(row.missing)})
            return row

    async def rows(self, asked: Sequence[Asked]) -> list[FeatureRow]:
        """Return the same of requests that came together, by one round trip.

        Raises:
            StoreUnavailable: the store does not answer.
        """
        supplied = [self._own_views(one) for one in asked]
        entities = [self._code.entities(one.request, self._hashed) for one in asked]
        lacking = [who for who, own in zip(entities, supplied, strict=True) if self._views.keys() - own.keys()]
        read = iter(await self._read_all(lacking, asked[0]) if lacking else ())
        rows = [
            next(read) if self._views.keys() - own.keys() else self._nothing(who)
            for who, own in zip(entities, supplied, strict=True)
        ]
        each = zip(asked, rows, supplied, strict=True)
        return [self._with(self._in_time(one, row), own) for one, row, own in each]

    def completed(self, asked: Asked, row: FeatureRow) -> FeatureRow:
        """Put the views that a request brings itself before those of the row."""
        return self._with(row, self._own_views(asked))

    def seen(self, asked: Asked, row: FeatureRow) -> Seen:
        ages = ages_of(row)
        at_s = asked.event_at_s
        return Seen(at_s, row, ages, Notes.of(ages), self._code.vector(asked.request, row, at_s))

    def _own_views(self, asked: Asked) -> dict[str, Mapping[str, Any]]:
        return {view: said for view, said in self._supplied(asked.request).items() if view in self._views}

    def _with(self, row: FeatureRow, supplied: Mapping[str, Mapping[str, Any]]) -> FeatureRow:
        if not supplied:
            return row
        return replace(row, views={**row.views, **{view: self._brought(view, supplied[view]) for view in supplied}})

    def _nothing(self, entities: Mapping[str, str]) -> FeatureRow:
        return FeatureRow({view: ViewRow({}, Status.MISSING, None) for view in self._views}, entities)

    async def _read(self, entities: Mapping[str, str], asked: Asked, under: Stage) -> FeatureRow | None:
        with asked.trace.stage(names.SPAN_STORE, under=under, is_client=True) as stage:
            try:
                with _share_of(asked.deadline):
                    return await self._source.read(entities, asked.received_at)
            except (StoreUnavailable, TimeoutError):
                stage.fail(StoreUnavailable.slug)
                return None

    async def _read_all(self, entities: Sequence[Mapping[str, str]], first: Asked) -> list[FeatureRow]:
        try:
            with _share_of(first.deadline):
                return await self._source.read_all(entities, first.received_at)
        except TimeoutError as problem:
            raise StoreUnavailable("the online store does not answer within the deadline") from problem

    def _in_time(self, asked: Asked, row: FeatureRow) -> FeatureRow:
        if asked.received_at - asked.event_at_s <= LATE_S:
            return row
        return replace(row, views={view: self._late(view, found) for view, found in row.views.items()})

    def _late(self, view: str, found: ViewRow) -> ViewRow:
        """What a stream counts is that of now: to a request about an earlier time it is not fresh, however young."""
        is_wrong = self._views[view].kind != "facts" and found.status is Status.FRESH
        return replace(found, status=Status.STALE) if is_wrong else found

    def _brought(self, view: str, values: Mapping[str, Any]) -> ViewRow:
        """What is not said of a view that the request brings is null, as it would be in the store."""
        said = {name: values.get(name) for name, _ in self._views[view].features}
        return ViewRow(said, Status.FRESH, 0.0, version=SUPPLIED)


def _share_of(deadline: Deadline) -> Limit:
    return Limit(None if deadline is NEVER else deadline.left_s * READ_SHARE)
