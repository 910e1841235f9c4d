"""What goes into an artefact beside the forest: signature, reference histograms, golden requests."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, Final

import numpy as np

from scoregate import __version__
from scoregate.models import FeatureStats
from scoregate.models.forest import Forest
from scoregate.models.ranges import Ranges
from scoregate.policy import Policy
from scoregate.training.dataset import Dataset, Ints, Mask
from scoregate.training.fit import Fitted
from scoregate.training.vectors import Floats, as_json, nan_to_none

GOLDEN: Final = 12
SCORE_BINS: Final = 20
FEATURE_BINS: Final = 10


def signature(
    service: str, feature_service: str, data: Dataset, names: tuple[str, ...], fitted: Fitted, outcome: Ints, seed: int
) -> dict[str, Any]:
    """Tie the forest to its features: ranges of the training records, medians of those answered mildest."""
    mild = data.matrix[data.train & (outcome == 0)]
    return {
        "format": 1,
        "service": service,
        "feature_service": feature_service,
        "plan": data.plan.as_json(),
        "plan_digest": data.plan.digest,
        "features": [
            asdict(replace(one, median=_of(np.median, usual)))
            for one, usual in zip(stats(data, names), map(_known, mild.T), strict=True)
        ],
        "calibrator": {"a": fitted.a, "b": fitted.b},
        "training": {
            **period(data, data.train),
            "rows": int(data.train.sum()),
            "bad": int(data.learned[data.train].sum()),
            "data_digest": _digest(data),
            "seed": seed,
            "code_version": __version__,
        },
    }


def stats(data: Dataset, names: tuple[str, ...]) -> list[FeatureStats]:
    """Return the range of each feature in the training records; no medians, which depend on outcomes."""
    columns = map(_known, data.matrix[data.train].T)
    return [
        FeatureStats(name, _of(np.min, known), _of(np.max, known), None)
        for name, known in zip(names, columns, strict=True)
    ]


def ranges_of(policy: Policy, data: Dataset, names: tuple[str, ...]) -> Ranges | None:
    """Return what serving will take for ordinary values; None where the policy says nothing of others."""
    return Ranges.of(policy, stats(data, names))


def outside(policy: Policy, data: Dataset, names: tuple[str, ...]) -> dict[int, list[str]]:
    """Return position → names of the values outside, of each record that has any."""
    if (ranges := ranges_of(policy, data, names)) is None:
        return {}
    far = ranges.are_beyond(data.matrix)
    return {i: [names[at] for at in np.flatnonzero(far[i])] for i in np.flatnonzero(far.any(axis=1)).tolist()}


def share_outside(policy: Policy, data: Dataset, names: tuple[str, ...]) -> float:
    """Return the share of the test period that has a value outside, and low confidence for it."""
    far = np.isin(np.arange(len(data.matrix)), list(outside(policy, data, names)))
    return float(data.weight[data.test & far].sum() / data.weight[data.test].sum())


def period(data: Dataset, mask: Mask) -> dict[str, str]:
    """Return first and last day of some records, UTC."""
    at_us = data.at_us[mask]
    days = (datetime.fromtimestamp(at / 1e6, UTC).date().isoformat() for at in (at_us.min(), at_us.max()))
    return dict(zip(("start", "end"), days, strict=True))


def shares(policy: Policy, outcome: Ints, weight: Floats) -> dict[str, float]:
    """Return the share of each outcome."""
    return {o.name: float(weight[outcome == o.rank].sum() / weight.sum()) for o in policy.outcomes}


def reference(data: Dataset, names: tuple[str, ...], score: Floats, outcomes: dict[str, float]) -> dict[str, Any]:
    """Return histograms to measure drift against: scores and outcomes as tested, features as trained.

    Bins are [edge, next edge), the outermost open-ended; counts are of records that the sample stands for.
    """
    edges = np.linspace(0, 1, SCORE_BINS + 1)
    train, test = data.train, data.test
    return {
        "score": {"edges": np.round(edges, 6).tolist(), "counts": _counts(score[test], edges, data.weight[test])},
        "outcomes": outcomes,
        "features": {
            name: _feature(column, data.weight[train]) for name, column in zip(names, data.matrix[train].T, strict=True)
        },
    }


def golden(
    data: Dataset,
    names: tuple[str, ...],
    request_type: Any,
    forest: Forest,
    score: Floats,
    outcome: Ints,
    policy: Policy,
) -> list[dict[str, Any]]:
    """Return real requests, from the test period where they can be had, with all that serving must make of them again.

    They are spread over the outcomes and, within each, over the scores.
    """
    chosen: list[int] = []
    tested = np.flatnonzero(data.test)
    ranges = ranges_of(policy, data, names)
    present = [rank for rank in range(len(policy.outcomes)) if (outcome[tested] == rank).any()]
    for rank in present:
        some = tested[outcome[tested] == rank]
        some = some[np.argsort(score[some], kind="stable")]
        places = np.linspace(0, len(some) - 1, min(len(some), -(-GOLDEN // len(present)))).astype(int)
        chosen += some[np.unique(places)].tolist()
    out = []
    for request, row, vector in data.examples(request_type, chosen):
        scored = float(forest.predict(np.array([vector], np.float32))[0])
        beyond = ranges.outside(vector) if ranges else ()
        answer = policy.decide(scored, dict(zip(names, vector, strict=True)), [*row.stale, *row.missing], beyond)
        out.append(
            {
                "request": request.model_dump(mode="json"),
                "at_s": request.event_at.timestamp(),
                "views": as_json(row),
                "entities": dict(row.entities),
                "vector": nan_to_none(vector),
                "score": scored,
                "outcome": answer.outcome.name,
            }
        )
    return out


def _known(column: Floats) -> Floats:
    return column[~np.isnan(column)]


def _of(what: Any, values: Floats) -> float | None:
    return float(what(values)) if len(values) else None


def _counts(values: Floats, edges: Floats, weight: Floats) -> list[float]:
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    return [round(float(c), 3) for c in np.bincount(place, weight, minlength=len(edges) - 1)]


def _feature(column: Floats, weight: Floats) -> dict[str, Any]:
    there = ~np.isnan(column)
    known = column[there]
    missing = round(float(weight[~there].sum()), 3)
    edges = np.unique(np.quantile(known, np.linspace(0, 1, FEATURE_BINS + 1))) if len(known) else np.array([])
    if len(edges) < 2:
        # A constant has one bin of its own.
        edges = np.array([edges[0], edges[0] + 1]) if len(edges) else np.array([0.0, 1.0])
    return {"edges": edges.tolist(), "counts": _counts(known, edges, weight[there]), "missing": missing}


def _digest(data: Dataset) -> str:
    digest = hashlib.sha256()
    for part in (data.matrix, data.learned, data.learned_weight, data.weight, data.fold):
        digest.update(np.ascontiguousarray(part).tobytes())
    return digest.hexdigest()
