"""Random Feast repositories, defined and filled by Feast itself: what readers of the online store are compared over."""

from __future__ import annotations

import contextlib
import io
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from feast import Entity, FeatureService, FeatureStore, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Array, Bool, Bytes, FeastType, Float32, Float64, Int32, Int64, String, UnixTimestamp

from scoregate.features.plan import FeaturePlan, compile_plan
from scoregate.features.windows import GRAIN_S

NOW_S: Final = 1_750_000_000.25
STREAM: Final = "payments"
KEYS: Final = ("user_id", "Zone", "a.key", "país")
WORDS: Final = ("", "a", "A", "ü", "日本", "x y", "né:1", "z" * 300, "\U0001f9fe")

_TIMES: Final = [datetime.fromtimestamp(s, UTC) for s in (0, 1, -86_400, 1_750_000_000, 32_503_680_000)]
_OF: Final[list[tuple[FeastType, pa.DataType, list[Any]]]] = [
    (Bytes, pa.binary(), [b"", b"\x00", bytes(range(256))]),
    (String, pa.string(), list(WORDS)),
    (Int32, pa.int32(), [-(2**31), -1, 0, 1, 2**31 - 1]),
    (Int64, pa.int64(), [-(2**62), -1, 0, 1, 2**53 + 1, 2**62]),
    (Float64, pa.float64(), [-0.0, 1e-320, 0.1, math.inf, -math.inf, math.nan, 1.7e308]),
    (Float32, pa.float32(), [0.0, -1.5, math.inf, math.nan, 3.4e38]),
    (Bool, pa.bool_(), [True, False]),
    (UnixTimestamp, pa.timestamp("us", tz="UTC"), _TIMES),
]
TYPES: Final = [*_OF, *((Array(feast), pa.list_(arrow), some) for feast, arrow, some in _OF)]
"""(Feast's type, Arrow's, values worth trying) for every type that a plan may name."""

_TILES: Final = (*GRAIN_S, "hour_parties", "day_parties")


@dataclass(frozen=True, slots=True)
class Repository:
    """One applied and filled repository: its store, the plans of its services, and whom to ask for."""

    store: FeatureStore
    plans: list[FeaturePlan]
    people: list[dict[str, str]]


def online_config(folder: Path, port: int, project: str, **registry: Any) -> RepoConfig:
    """Return the configuration of a repository whose registry is in `folder` and whose rows are in Valkey."""
    return RepoConfig(
        project=project,
        provider="local",
        registry={"path": str(folder / "registry.db"), **registry},
        online_store={"type": "redis", "connection_string": f"127.0.0.1:{port}"},
        offline_store={"type": "duckdb"},
        entity_key_serialization_version=3,
    )


def random_repository(rng: np.random.Generator, folder: Path, port: int, project: str, people: int) -> Repository:
    """Define one to four views and two services over parts of them, and let Feast write rows for some of the people.

    Rows are ingested or materialised; about one view in eight has none. `project` must be new to this process:
    Feast resolves services by (service, project) for as long as it runs.
    """
    entities = {k: Entity(name=f"of {k}", join_keys=[k], value_type=ValueType.STRING) for k in KEYS}
    store = FeatureStore(config=online_config(folder, port, project))
    views = [_view(rng, folder, f"{name}_{i}", entities) for i, name in enumerate(_names(rng))]
    services = [
        FeatureService(name=f"{project}_v{i}", features=[_part(rng, v) for v in _some(rng, views)]) for i in (1, 2)
    ]
    everybody = [{k: str(rng.choice(WORDS)) + str(rng.integers(0, 3)) for k in KEYS} for _ in range(people)]
    with quiet():
        store.apply([*entities.values(), *views, *services])
        for view in views:
            if rng.random() < 0.88:
                _fill(rng, store, view, [who for who in everybody if rng.random() < 0.7])
    registry = (folder / "registry.db").read_bytes()
    return Repository(store, [compile_plan(registry, service.name) for service in services], everybody)


def _names(rng: np.random.Generator) -> list[str]:
    return list(rng.choice(["facts", "Ünï", "v", "日本"], rng.integers(1, 5)))


def _some(rng: np.random.Generator, among: list[Any]) -> list[Any]:
    """Pick one or more, in any order."""
    return [among[i] for i in rng.permutation(len(among))[: rng.integers(1, len(among) + 1)]]


def _part(rng: np.random.Generator, view: FeatureView) -> FeatureView:
    names = [f.name for f in view.features]
    return view if rng.random() < 0.4 else view[_some(rng, names)]


def _view(rng: np.random.Generator, folder: Path, name: str, entities: dict[str, Entity]) -> FeatureView:
    keys = _some(rng, list(KEYS))[:3]
    tiles = rng.random() < 0.3
    if tiles:
        schema: dict[str, FeastType] = dict.fromkeys(_TILES, Array(Int64)) | {"last_event_us": Int64}
    else:
        picked = rng.choice(len(TYPES), rng.integers(1, len(TYPES) + 1), replace=False)
        schema = {f"f{i}" if i % 2 else f"ñ {i}": TYPES[i][0] for i in picked}
    return FeatureView(
        name=name,
        entities=[entities[k] for k in keys],
        schema=[Field(name=k, dtype=String) for k in keys] + [Field(name=n, dtype=t) for n, t in schema.items()],
        source=FileSource(name=name, path=str(folder / f"{name}.parquet"), timestamp_field="event_timestamp"),
        ttl=timedelta(hours=int(rng.integers(0, 3))),
        tags={"kind": "tiles", "stream": STREAM} if tiles else {"kind": "facts", "stream": "facts"},
    )


def _fill(rng: np.random.Generator, store: FeatureStore, view: FeatureView, known: list[dict[str, str]]) -> None:
    # One row per entity: which of two Feast keeps is not what is asked here.
    rows = list({tuple(who[k] for k in view.join_keys): who for who in known}.values())
    if not rows:
        return
    table = pa.table(
        {k: pa.array([who[k] for who in rows], pa.string()) for k in view.join_keys}
        | {f.name: _column(rng, view, f, len(rows)) for f in view.features}
        | {"event_timestamp": _row_times(rng, len(rows))}
    )
    if rng.random() < 0.5:
        store.write_to_online_store(view.name, table.to_pandas(types_mapper=pd.ArrowDtype))
        return
    pq.write_table(table, view.batch_source.path)
    at = datetime.fromtimestamp(NOW_S, UTC)
    store.materialize(at - timedelta(days=1), at + timedelta(days=1), feature_views=[view.name])


def _row_times(rng: np.random.Generator, count: int) -> pa.Array:
    ages_us = rng.integers(-60_000_000, 3 * 3_600_000_000, count)
    return pa.array([round(NOW_S * 1e6) - int(age) for age in ages_us], pa.timestamp("us", tz="UTC"))


def _column(rng: np.random.Generator, view: FeatureView, field: Field, count: int) -> pa.Array:
    _, arrow, some = next(found for found in TYPES if found[0] == field.dtype)
    return pa.array([_value(rng, view, field.name, arrow, some) for _ in range(count)], arrow)


def _value(rng: np.random.Generator, view: FeatureView, feature: str, arrow: pa.DataType, some: list[Any]) -> Any:
    if rng.random() < 0.2:
        return None
    if feature in GRAIN_S and view.tags["kind"] == "tiles":
        return [int(n) for n in rng.integers(0, 10**9, 5 * rng.integers(0, 6))]
    if feature in _TILES:
        return [int(n) for n in rng.integers(0, 2**40, 2 * rng.integers(0, 6))]
    if pa.types.is_list(arrow):
        return [some[i] for i in rng.integers(0, len(some), rng.integers(0, 4))]
    return some[rng.integers(0, len(some))]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Feast tells its progress, and warns of what is meant here."""
    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        yield
