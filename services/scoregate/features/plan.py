"""What one FeatureService reads, compiled from the Feast registry and kept in the model's artefact.

The digest covers this projection only (views, features, dtypes, join keys, largest ages, what a view's rows mean,
entity key version) and no timestamps: applying something unrelated never takes a running version down.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from typing import Any

from scoregate.errors import SignatureMismatch
from scoregate.features import encoding, links
from scoregate.features.windows import GRAIN_S
from scoregate.values import frozen

_NO_ENTITY = "__dummy_id"
_TILES = {**dict.fromkeys((*GRAIN_S, "hour_parties", "day_parties"), "int64_list"), "last_event_us": "int64"}
_TYPES = {"facts": {}, "tiles": _TILES, "links": links.FEATURES}


@frozen
class ViewPlan:
    """One view as one model reads it.

    `kind` is `facts` (ages by the row's own time), or `tiles` or `links` (age by the watermark of `stream`).
    `join_keys` are sorted, as in the key of a row; `max_age_s` 0 means that age never matters.
    """

    name: str
    kind: str
    stream: str
    join_keys: tuple[str, ...]
    features: tuple[tuple[str, str], ...]
    max_age_s: float


@frozen
class FeaturePlan:
    """All that a service reads for one request."""

    service: str
    project: str
    views: tuple[ViewPlan, ...]
    entity_key_version: int = encoding.ENTITY_KEY_VERSION

    @property
    def digest(self) -> str:
        """sha256 of the canonical plan, hex."""
        return hashlib.sha256(json.dumps(self.as_json(), sort_keys=True, separators=(",", ":")).encode()).hexdigest()

    @property
    def streams(self) -> tuple[str, ...]:
        """Streams whose markers are read, sorted."""
        return tuple(sorted({v.stream for v in self.views if v.stream}))

    @property
    def join_keys(self) -> frozenset[str]:
        return frozenset(key for view in self.views for key in view.join_keys)

    @property
    def with_history(self) -> tuple[ViewPlan, ...]:
        """Views that can be read as of an earlier time, and features made of: links are neither."""
        return tuple(view for view in self.views if view.kind != "links")

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> FeaturePlan:
        views = tuple(
            ViewPlan(
                name=v["name"],
                kind=v["kind"],
                stream=v["stream"],
                join_keys=tuple(v["join_keys"]),
                features=tuple((name, dtype) for name, dtype in v["features"]),
                max_age_s=v["max_age_s"],
            )
            for v in raw["views"]
        )
        return cls(raw["service"], raw["project"], views, raw["entity_key_version"])

    def difference(self, other: FeaturePlan) -> str:
        """Say in one sentence what the other plan has otherwise."""
        mine = {v.name: v for v in self.views}
        theirs = {v.name: v for v in other.views}
        for name in sorted(mine.keys() | theirs.keys()):
            if name not in theirs:
                return f"view {name} is gone"
            if name not in mine:
                return f"view {name} is new"
            if mine[name] != theirs[name]:
                changed = set(mine[name].features) ^ set(theirs[name].features)
                if changed:
                    return f"view {name} differs in " + ", ".join(sorted({f for f, _ in changed}))
                return f"view {name} differs in its keys, kind or largest age"
        return "the plans differ in project or entity key version"


def services(registry: bytes) -> list[str]:
    """Names of the FeatureServices in a serialised registry, sorted."""
    return sorted(s.spec.name for s in encoding.Registry.FromString(registry).feature_services)


def compile_plan(registry: bytes, service: str) -> FeaturePlan:
    """Compile the plan of a FeatureService from a serialised Feast registry.

    Raises:
        SignatureMismatch: the registry does not hold the service or one of its views, or Feast reads them in a way that
            the direct reader does not.
    """
    message = encoding.Registry.FromString(registry)
    named = [s.spec for s in message.feature_services if s.spec.name == service]
    if not named:
        raise SignatureMismatch(f"the feature registry holds no FeatureService {service}")
    if len(named) > 1:
        projects = ", ".join(sorted(s.project for s in named))
        raise SignatureMismatch(f"the feature registry holds a FeatureService {service} in each of {projects}")
    (found,) = named
    specs = {v.spec.name: v.spec for v in message.feature_views if v.spec.project == found.project}
    views = sorted((_view(service, projection, specs) for projection in found.features), key=lambda v: v.name)
    for view, following in pairwise(views):
        if view.name == following.name:
            raise SignatureMismatch(f"FeatureService {service} names the view {view.name} twice")
    return FeaturePlan(service, found.project, tuple(views))


def _view(service: str, projection: Any, specs: dict[str, Any]) -> ViewPlan:
    name = projection.feature_view_name
    if name not in specs:
        raise SignatureMismatch(f"FeatureService {service} names the view {name}, which the feature registry lacks")
    spec = specs[name]
    tags = {entry.key: entry.value for entry in spec.tags}
    # The view is what the store was written by: its dtype counts, not the projection's copy of it.
    dtypes = {f.name: encoding.DTYPES.get(f.value_type, str(f.value_type)) for f in spec.features}
    wanted = [f.name for f in projection.feature_columns]
    gone = [f for f in wanted if f not in dtypes]
    if gone:
        raise SignatureMismatch(f"FeatureService {service} names {', '.join(gone)}, which view {name} lacks")
    strange = _strange(projection, spec, tags, {f: dtypes[f] for f in wanted})
    if strange:
        raise SignatureMismatch(f"FeatureService {service} reads the view {name} {strange}, which serving cannot")
    return ViewPlan(
        name=name,
        kind=tags.get("kind", "facts"),
        stream=tags.get("stream", ""),
        join_keys=tuple(sorted(c.name for c in spec.entity_columns)),
        features=tuple((f, dtypes[f]) for f in sorted(wanted)),
        max_age_s=spec.ttl.seconds + spec.ttl.nanos / 1e9,
    )


def _strange(projection: Any, spec: Any, tags: dict[str, str], dtypes: dict[str, str]) -> str:
    """Say what would be read as something else than Feast reads, or as nothing; empty when all is well."""
    kind = tags.get("kind", "facts")
    odd_keys = ", ".join(sorted(c.name for c in spec.entity_columns if c.value_type != encoding.STRING))
    odd_types = ", ".join(sorted(f for f, dtype in dtypes.items() if dtype not in encoding.DTYPES.values()))
    odd_own = ", ".join(sorted(f for f, dtype in dtypes.items() if dtype != _TYPES.get(kind, {}).get(f, dtype)))
    found = {
        f"as {projection.feature_view_name_alias}": projection.feature_view_name_alias,
        "by other join keys than its own": projection.join_key_map,
        "in a pinned version": projection.version_tag,
        "although it is disabled": spec.disabled,
        "without an entity": not spec.entity_columns or spec.entity_columns[0].name == _NO_ENTITY,
        f"by join keys that are not strings ({odd_keys})": odd_keys,
        f"with features of types beyond scalars and lists of them ({odd_types})": odd_types,
        f"of kind {kind}": kind not in _TYPES,
        f"of {kind} without a stream": kind != "facts" and not tags.get("stream"),
        f"of {kind} with other types than {kind} have ({odd_own})": odd_own,
    }
    return next((said for said, holds in found.items() if holds), "")


def views(registry: bytes, kind: str) -> list[tuple[ViewPlan, dict[str, str]]]:
    """Every view of a kind in the registry with all its features, and its tags."""
    message = encoding.Registry.FromString(registry)
    found: Iterable[Any] = (v.spec for v in message.feature_views)
    out = []
    for spec in found:
        tags = {entry.key: entry.value for entry in spec.tags}
        if tags.get("kind", "facts") != kind:
            continue
        plan = ViewPlan(
            spec.name,
            kind,
            tags.get("stream", ""),
            tuple(sorted(c.name for c in spec.entity_columns)),
            tuple((f.name, encoding.DTYPES.get(f.value_type, str(f.value_type))) for f in spec.features),
            spec.ttl.seconds + spec.ttl.nanos / 1e9,
        )
        out.append((plan, tags))
    return sorted(out, key=lambda pair: pair[0].name)


def read_registry(path: Path) -> bytes:
    """Read a file registry.

    Raises:
        SignatureMismatch: there is none.
    """
    try:
        return path.read_bytes()
    except OSError as problem:
        raise SignatureMismatch(f"the feature registry cannot be read: {problem.strerror}") from problem
