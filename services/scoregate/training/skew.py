"""Skew: the vectors that decisions were made by, held against what serving must have seen by the offline store.

What a decision is compared with, view by view:

    tiles   every event of history that the store was filled with, and every streamed event up to the row's version,
            the id that the ledger has of the last entry counted in the row, or up to PROMISED_MS before the watermark
            that was read with it, if that is later; a row that was not there has a watermark and no version
    facts   the newest statement among those of history and those streamed up to the row's version

So a row that lost an event, counted one twice or stayed behind its watermark shows, and one that was merely read before
the next event was counted does not: by how much that alone would change vectors is `Skew.by_time`.

The request is rebuilt from the decision's own event, which holds nothing personal. A service whose features need the
person offers `viewed(row, at_s)` in its `features.py`: the features by name that derive from views; only those are
compared. Tiles become windows, and windows features, by the service's own code: another result than the logged one is
another row, or another code.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import SimpleNamespace
from typing import Any, Final

from scoregate.events import FACTS, Event
from scoregate.features import LATE_S, SUPPLIED, FeatureRow, Status, ViewRow
from scoregate.features.plan import ViewPlan, views
from scoregate.features.registry import registry_of
from scoregate.models import Signature
from scoregate.settings import Settings
from scoregate.training import decided
from scoregate.training.decided import Decided
from scoregate.training.live import NOTHING, order_of
from scoregate.training.past import FactsPast, Filling, Order, Place, TilePast, Twin, by_entry, by_moment
from scoregate.training.tilelog import tile_views
from scoregate.values import frozen

PROMISED_MS: Final = 1_000
"""Entries that came this long before the watermark are in every row. A row and its watermark are read one after the
other, so of those that came in between a row may lack some."""

NAMED: Final = 5
"""Decisions that are named per feature."""

Say = Callable[[str], None]


@frozen
class Differing:
    """A feature that was served otherwise: how often, the newest such decisions, and both values of the first."""

    feature: str
    count: int
    decisions: tuple[str, ...]
    served: float
    offline: float


@frozen
class Skew:
    """What a comparison found. `not_compared`: why → decisions; `not_compared_features` need more than views hold.

    `by_time`: decisions that would have other features if every event had counted from its own time on.
    """

    service: str
    decisions: int
    compared: int
    values: int
    differing: tuple[Differing, ...]
    not_compared: Mapping[str, int]
    not_compared_features: tuple[str, ...]
    by_time: int


@frozen
class _Case:
    """A decision that can be compared: its event, the views that its features are made of, whom it is about.

    `cuts`: view → the last entry that its row had to hold.
    """

    decided: Decided
    own: Event
    views: tuple[ViewPlan, ...]
    entities: Mapping[str, str]
    cuts: Mapping[str, Order]


class _Excused(Exception):
    """Why a decision cannot be compared."""


def compare(
    settings: Settings,
    service: str,
    code: Any,
    *,
    since_s: float = 0.0,
    limit: int = 10_000,
    say: Say = lambda _: None,
) -> Skew:
    """Compare the last decisions of a service since a time, seconds since the epoch. `code`: its `features.py`.

    Raises:
        SignatureMismatch: there is no feature registry.
        LedgerUnavailable: the ledger cannot be read.
    """
    decisions = decided.newest(settings, service, since_s=since_s, limit=limit)
    say(f"{service}: {len(decisions):,} decisions")
    offline = _Offline(settings)
    excused: Counter[str] = Counter()
    cases: list[_Case] = []
    for each in decisions:
        try:
            cases.append(_case(offline, code, service, each))
        except _Excused as why:
            excused[str(why)] += 1
    names, compute = _computed(code)
    offline.load(cases)
    say(f"{service}: {len(cases):,} can be compared")
    wrong: dict[str, list[tuple[str, float, float]]] = {}
    compared = by_time = 0
    moments = offline.rows(cases, by_moment)
    for case, row, then in zip(cases, offline.rows(cases, by_entry), moments, strict=True):
        request, at_s = SimpleNamespace(**case.own.row), case.decided.event_at
        try:
            expected = compute(request, row, at_s)
        except AttributeError:
            excused["its event does not hold what features are made of"] += 1
            continue
        compared += 1
        served = dict(zip(code.FEATURES, case.decided.vector, strict=True))
        for name in _unequal(names, expected, served):
            wrong.setdefault(name, []).append((case.decided.decision_id, served[name], expected[name]))
        by_time += bool(_unequal(names, expected, compute(request, then, at_s)))
    differing = tuple(
        Differing(name, len(found), tuple(id_ for id_, _, _ in found[:NAMED]), *found[0][1:])
        for name, found in sorted(wrong.items())
    )
    rest = tuple(name for name in code.FEATURES if name not in names)
    counts = dict(excused.most_common())
    return Skew(service, len(decisions), compared, compared * len(names), differing, counts, rest, by_time)


def _computed(code: Any) -> tuple[tuple[str, ...], Callable[[Any, FeatureRow, float], dict[str, float]]]:
    """Return the names of the features that can be computed, and how."""
    viewed = getattr(code, "viewed", None)
    if viewed is None:
        return code.FEATURES, lambda request, row, at_s: dict(
            zip(code.FEATURES, code.vector(request, row, at_s), strict=True)
        )
    return tuple(viewed(FeatureRow(), 0.0)), lambda _, row, at_s: dict(viewed(row, at_s))


def _unequal(names: Sequence[str], one: Mapping[str, float], other: Mapping[str, float]) -> list[str]:
    return [
        name for name in names if one[name] != other[name] and not (math.isnan(one[name]) and math.isnan(other[name]))
    ]


def _case(offline: _Offline, code: Any, service: str, each: Decided) -> _Case:
    """Raise `_Excused` where there is nothing to compare a decision with."""
    own, signature = each.own, offline.signature(service, each.model_digest)
    if each.source == "fallback":
        raise _Excused("no model answered")
    if not each.vector:
        raise _Excused("its vector was forgotten")
    if signature is None:
        raise _Excused("its model's artefact is gone")
    if signature.names != tuple(code.FEATURES):
        raise _Excused("its model had other features than the code has now")
    made_of = signature.plan.with_history
    if any(view.name not in each.read or view.name not in offline.columns for view in made_of):
        raise _Excused("its views are not those of the registry")
    read = [each.read[view.name] for view in made_of]
    if any(status == Status.MISSING for status, _, _ in read):
        raise _Excused("a view was missing")
    if any(version == SUPPLIED for _, _, version in read):
        raise _Excused("the request brought a view itself")
    if own is None:
        raise _Excused("no event of its own is recorded")
    if abs(own.at_us / 1e6 - each.event_at) > 1e-3 or not 0 <= each.decided_at - own.known_us / 1e6 < LATE_S:
        raise _Excused("its event had been posted before")
    if own.known_us / 1e6 - each.event_at > LATE_S:
        raise _Excused("it was asked for late, when tiles were those of a later time")
    entities = {view.join_keys[0]: own.row.get(offline.columns[view.name]) for view in made_of}
    if None in entities.values():
        raise _Excused("its event does not say whom it is about")
    cuts = {view.name: _cut(offline, view, each, own) for view in made_of}
    return _Case(each, own, made_of, {key: str(value) for key, value in entities.items()}, cuts)


def _cut(offline: _Offline, view: ViewPlan, each: Decided, own: Event) -> Order:
    """Return the last entry that a view's row had to hold."""
    filling, twin = offline.filling(view.stream), offline.twin(view.stream)
    if filling is None or own.known_us / 1e6 < filling.at_s:
        raise _Excused("the store has been filled anew since")
    _, age_s, version = each.read[view.name]
    order = order_of(version or NOTHING)
    if order > twin.last:
        raise _Excused("the offline store is not that far yet")
    if order not in twin.ids:
        raise _Excused("the offline store lacks the last entry that a row had counted")
    if view.kind != "tiles":
        return order
    watermark_ms = int(own.known_us / 1e3 - (age_s or 0.0) * 1e3)
    return max(order, (watermark_ms - PROMISED_MS, 0))


class _Offline:
    """What the offline store says, read once."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        registry = registry_of(settings)
        self._tile_views = {view.name: view for view in tile_views(registry)}
        self.columns = {plan.name: plan.join_keys[0] for plan, _ in views(registry, FACTS)}
        """View → the column of events that says whom its row is about."""
        self.columns |= {name: view.key for name, view in self._tile_views.items()}
        self._signatures: dict[str, Signature | None] = {}
        self._fillings: dict[str, Filling | None] = {}
        self._twins: dict[str, Twin] = {}
        self._past: dict[str, TilePast | FactsPast] = {}

    def signature(self, service: str, digest: str) -> Signature | None:
        if digest not in self._signatures:
            file = self._settings.models(service) / digest[:12] / "signature.json"
            self._signatures[digest] = Signature.from_json(json.loads(file.read_text())) if file.exists() else None
        return self._signatures[digest]

    def filling(self, stream: str) -> Filling | None:
        if stream not in self._fillings:
            self._fillings[stream] = Filling.of(self._settings, stream)
        return self._fillings[stream]

    def twin(self, stream: str) -> Twin:
        if stream not in self._twins:
            self._twins[stream] = Twin.of(self._settings, stream)
        return self._twins[stream]

    def load(self, cases: Sequence[_Case]) -> None:
        """Read the past of every entity of these decisions."""
        if not cases:
            return
        from_us = min(case.own.at_us for case in cases)
        plans = {view.name: view for case in cases for view in case.views}
        for name, view in plans.items():
            entities = {case.entities[view.join_keys[0]] for case in cases if name in case.cuts}
            filling, twin = self.filling(view.stream), self.twin(view.stream)
            assert filling is not None, "a case has the filling of each of its views"
            self._past[name] = (
                TilePast(self._settings, self._tile_views[name], filling, twin, entities, from_us)
                if view.kind == "tiles"
                else FactsPast(self._settings, view, filling, twin, entities)
            )

    def rows(self, cases: Sequence[_Case], place: Place) -> Iterator[FeatureRow]:
        """Yield what each decision read: up to its cuts, or by the time of events up to just before its own."""
        found: dict[str, Iterator[dict[str, Any] | None]] = {}
        for name, past in self._past.items():
            asked = [
                (case.entities[view.join_keys[0]], case.cuts[name] if place is by_entry else case.own.at_us - 1)
                for case in cases
                for view in case.views
                if view.name == name
            ]
            found[name] = iter(past.rows(asked, place))
        for case in cases:
            rows = {
                view.name: _view_row(view.kind, [name for name, _ in view.features], next(found[view.name]))
                for view in case.views
            }
            yield FeatureRow(rows, case.entities)


def _view_row(kind: str, names: Sequence[str], values: Mapping[str, Any] | None) -> ViewRow:
    if values is None:
        return ViewRow({}, Status.FRESH if kind == "tiles" else Status.MISSING, None, known=False)
    said = {name: values.get(name) for name in names}
    return ViewRow(
        {name: v if v is None or isinstance(v, int | float | str) else list(v) for name, v in said.items()},
        Status.FRESH,
        0.0,
    )
