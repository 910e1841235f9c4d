"""The two kinds of views: facts, which are stated, and tiles, which are counted from a stream."""

from __future__ import annotations

from datetime import timedelta

from feast import Entity, FeatureView, Field, FileSource
from feast.types import Array, FeastType, Int64, String

from scoregate.features.windows import GRAIN_S

STREAM_AGE = timedelta(seconds=3)
"""How far a stream's watermark may lie back before what is counted from it is stale: a worker says it every moment."""


def facts(name: str, entity: Entity, ttl: timedelta, features: dict[str, FeastType]) -> FeatureView:
    """Return a view of facts: a row is stale when it is older than `ttl`."""
    return FeatureView(
        name=name,
        entities=[entity],
        schema=[_key(entity), *(Field(name=feature, dtype=dtype) for feature, dtype in features.items())],
        source=_source("facts", name),
        ttl=ttl,
        tags={"kind": "facts", "stream": "facts"},
    )


def tiles(name: str, entity: Entity, stream: str, *, party: str = "", amount: str = "") -> FeatureView:
    """Return a view of tiles over a stream whose events carry the entity's key, and perhaps a counterparty, an amount.

    Rows do not age, the stream does: `ttl` is the largest age of its watermark.
    """
    lists = [*GRAIN_S, *(("hour_parties", "day_parties") if party else ())]
    columns = {"key": entity.join_key, "party": party, "amount": amount}
    return FeatureView(
        name=name,
        entities=[entity],
        schema=[
            _key(entity),
            *(Field(name=feature, dtype=Array(Int64)) for feature in lists),
            Field(name="last_event_us", dtype=Int64),
        ],
        source=_source("tiles", name),
        ttl=STREAM_AGE,
        tags={"kind": "tiles", "stream": stream} | {tag: column for tag, column in columns.items() if column},
    )


def _key(entity: Entity) -> Field:
    return Field(name=entity.join_key, dtype=String)


def _source(kind: str, name: str) -> FileSource:
    # Relative to the offline store's root, so that the registry holds no path of one machine.
    return FileSource(name=name, path=f"{kind}/{name}", timestamp_field="event_timestamp")
