"""Feast registries written by field number, for tests that need no Feast."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scoregate.features import encoding

PROJECT = "scoregate"
NUMBERS = {name: number for number, name in encoding.DTYPES.items()}
TILES = dict.fromkeys(("minutes", "hours", "days"), "int64_list")
PARTIES = {"hour_parties": "int64_list", "day_parties": "int64_list"}


def add_view(
    registry: encoding.Registry,  # type: ignore[valid-type]
    name: str,
    key: str,
    features: Mapping[str, str],
    tags: Mapping[str, str],
    ttl_s: int,
) -> None:
    """Add a view with one string join key."""
    spec = registry.feature_views.add().spec  # type: ignore[attr-defined]
    spec.name, spec.project = name, PROJECT
    for feature, dtype in features.items():
        spec.features.add(name=feature, value_type=NUMBERS[dtype])
    for tag, value in tags.items():
        spec.tags.add(key=tag, value=value)
    spec.ttl.seconds = ttl_s
    spec.entity_columns.add(name=key, value_type=NUMBERS["string"])


def tile_view(
    registry: encoding.Registry,  # type: ignore[valid-type]
    name: str,
    stream: str,
    key: str,
    party: str = "",
    amount: str = "",
    ttl_s: int = 60,
) -> None:
    """Add a view of tiles over a stream, as `feature_repo/sources.py` does."""
    features = TILES | (PARTIES if party else {}) | {"last_event_us": "int64"}
    tags = {"kind": "tiles", "stream": stream, "key": key, "party": party, "amount": amount}
    add_view(registry, name, key, features, {tag: value for tag, value in tags.items() if value}, ttl_s)


def service(registry: encoding.Registry, name: str, views: Sequence[str]) -> bytes:  # type: ignore[valid-type]
    """Add a FeatureService over whole views, and write the registry."""
    spec = registry.feature_services.add().spec  # type: ignore[attr-defined]
    spec.name, spec.project = name, PROJECT
    known = {view.spec.name: view.spec for view in registry.feature_views}  # type: ignore[attr-defined]
    for view in views:
        projection = spec.features.add(feature_view_name=view)
        projection.feature_columns.extend(known[view].features)
    written: bytes = registry.SerializeToString()  # type: ignore[attr-defined]
    return written
