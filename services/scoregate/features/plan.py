"""What one FeatureService reads, compiled from the Feast registry and kept in the model's artefact.

The digest covers this projection only (views, features, dtypes, join keys, largest ages, what a view's rows mean,
entity key version) and no timestamps: applying something unrelated never takes a running version down.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from scoregate.errors import SignatureMismatch
from scoregate.features import encoding


@dataclass(frozen=True, slots=True)
class ViewPlan:
    """One view as one model reads it.

    `kind` is `facts` (ages by the row's own time) or `tiles` (ages by the watermark of `stream`).
    `join_keys` are sorted, as in the key of a row; `max_age_s` 0 means that age never matters.
    """

    name: str
    kind: str
    stream: str
    join_keys: tuple[str, ...]
    features: tuple[tuple[str, str], ...]
    max_age_s: float


@dataclass(frozen=True, slots=True)
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
        SignatureMismatch: the registry does not hold the service or one of its views.
    """
    message = encoding.Registry.FromString(registry)
    specs = {v.spec.name: v.spec for v in message.feature_views}
    found = next((s.spec for s in message.feature_services if s.spec.name == service), None)
    if found is None:
        raise SignatureMismatch(f"the feature registry holds no FeatureService {service}")
    views = [_view(service, projection, specs) for projection in found.features]
    return FeaturePlan(service, found.project, tuple(sorted(views, key=lambda v: v.name)))


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
    return ViewPlan(
        name=name,
        kind=tags.get("kind", "facts"),
        stream=tags.get("stream", ""),
        join_keys=tuple(sorted(c.name for c in spec.entity_columns)),
        features=tuple((f, dtypes[f]) for f in sorted(wanted)),
        max_age_s=spec.ttl.seconds + spec.ttl.nanos / 1e9,
    )


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
