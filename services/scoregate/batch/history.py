"""The features of many requests, each as of its own time, from the offline store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from scoregate.contract import ScoreRequest
from scoregate.features import FeatureRow
from scoregate.features.plan import FeaturePlan
from scoregate.hashing import KeyedHash
from scoregate.settings import Settings

_ROW: Final = "__row"


def as_of_then(
    settings: Settings,
    feature_service: str,
    plan: FeaturePlan,
    code: Any,
    requests: Sequence[ScoreRequest],
    hashed: KeyedHash,
) -> list[FeatureRow]:
    """Return what the views with history said at each request's `event_at`; links, which have none, are not there."""
    if not requests:
        return []
    import pandas as pd

    from scoregate.training import prepare, vectors

    entity_df = pd.DataFrame([code.entities(request, hashed) for request in requests])
    entity_df["event_timestamp"] = pd.to_datetime([request.event_at for request in requests], utc=True)
    entity_df[_ROW] = range(len(requests))
    views = prepare.historical(settings, feature_service, entity_df).sort_by(_ROW)
    # Feast's file store drops rows with equal key and time in silence (feast#6787): never trust a join to keep rows.
    if views[_ROW].to_pylist() != list(range(len(requests))):
        raise RuntimeError(f"the point-in-time join returned {views.num_rows} rows for {len(requests)}")
    return list(vectors._feature_rows(plan, views))
