"""The as-of join against a loop over every row."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from feast import Entity, FeatureView, Field, FileSource, RepoConfig, ValueType
from feast.types import Array, Int64, String

from scoregate.features.offline import AsofDuckDBOfflineStore, oldest_row
from scoregate.features.windows import KEPT

START = datetime(2025, 1, 1, tzinfo=UTC)
UTC_US = pa.timestamp("us", tz="UTC")
NO_REGISTRY: Any = SimpleNamespace(list_on_demand_feature_views=lambda *_, **__: [])


def view(name: str, kind: str, ttl: timedelta, created: str = "") -> FeatureView:
    user = Entity(name="user", join_keys=["user_id"], value_type=ValueType.STRING)
    found = FeatureView(
        name=name,
        entities=[user],
        schema=[
            Field(name="user_id", dtype=String),
            Field(name="amount", dtype=Int64),
            Field(name="days", dtype=Array(Int64)),
        ],
        source=FileSource(name=name, path=name, timestamp_field="event_timestamp", created_timestamp_column=created),
        ttl=ttl,
        tags={"kind": kind},
    )
    found.entity_columns = [Field(name="user_id", dtype=String)]
    return found


def config(root: Path) -> RepoConfig:
    return RepoConfig(
        project="test",
        registry=str(root / "registry.db"),
        provider="local",
        offline_store={"type": "scoregate.features.offline.AsofDuckDBOfflineStore", "root": str(root)},
    )


def history(seed: int, count: int) -> list[dict[str, Any]]:
    """Random rows of few users with repeated times, nulls and empty lists; later rows were created later."""
    rng = np.random.default_rng(seed)
    return [
        {
            "user_id": f"u{rng.integers(0, 6)}",
            "event_timestamp": START
            + timedelta(hours=int(rng.integers(0, 2_000)), microseconds=int(rng.integers(0, 2))),
            "amount": None if rng.random() < 0.2 else int(rng.integers(0, 100)),
            "days": None if rng.random() < 0.1 else rng.integers(0, 9, rng.integers(0, 4)).tolist(),
            "created": START + timedelta(seconds=i),
        }
        for i in range(count)
    ]


def write(root: Path, name: str, rows: list[dict[str, Any]], files: int = 3) -> None:
    schema = pa.schema(
        [
            ("user_id", pa.string()),
            ("event_timestamp", UTC_US),
            ("amount", pa.int64()),
            ("days", pa.list_(pa.int64())),
            ("created", UTC_US),
        ]
    )
    (root / name).mkdir()
    for i in range(files):
        pq.write_table(pa.Table.from_pylist(rows[i::files], schema), root / name / f"{i}.parquet")


def requests(seed: int, rows: list[dict[str, Any]], count: int) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    at = [rows[i]["event_timestamp"] for i in rng.integers(0, len(rows), count)]
    shift = rng.choice([-1, 0, 1, 3_600_000_000, 7 * 86_400_000_000, 38 * 86_400_000_000, 39 * 86_400_000_000], count)
    users = [f"u{i}" for i in rng.integers(0, 8, count)]
    times = [t + timedelta(microseconds=int(s)) for t, s in zip(at, shift, strict=True)]
    return pd.DataFrame({"user_id": users, "event_timestamp": pd.to_datetime(times, utc=True), "place": range(count)})


def oracle(rows: list[dict[str, Any]], user: str, at: datetime, age: timedelta | None) -> tuple[Any, Any]:
    known = [r for r in rows if r["user_id"] == user and r["event_timestamp"] <= at]
    newest = max(known, key=lambda r: (r["event_timestamp"], r["created"]), default=None)
    if newest is None or (age is not None and at - newest["event_timestamp"] > age):
        return None, None
    return newest["amount"], newest["days"]


@pytest.mark.parametrize(
    ("kind", "ttl"), [("facts", timedelta(days=7)), ("facts", timedelta(0)), ("tiles", timedelta(days=1))]
)
def test_each_request_gets_the_newest_row_at_or_before_it(tmp_path: Path, kind: str, ttl: timedelta) -> None:
    """The join equals a loop over every row, for every request, in their order, lists kept as lists."""
    rows = history(1, 300)
    write(tmp_path, "seen", rows)
    wanted = view("seen", kind, ttl, created="created")
    asked = requests(2, rows, 400)

    table = AsofDuckDBOfflineStore.get_historical_features(
        config(tmp_path), [wanted], ["seen:amount", "seen:days"], asked, NO_REGISTRY, "test", full_feature_names=True
    ).to_arrow()

    expected = [
        oracle(rows, u, t.to_pydatetime(), oldest_row(wanted))
        for u, t in zip(asked["user_id"], asked["event_timestamp"], strict=True)
    ]
    assert list(range(400)) == table["place"].to_pylist()
    assert expected == list(zip(table["seen__amount"].to_pylist(), table["seen__days"].to_pylist(), strict=True))
    assert pa.types.is_list(table["seen__days"].type)


def test_requests_alike_are_each_answered(tmp_path: Path) -> None:
    """Two requests with the same key and time are two rows of the answer."""
    write(
        tmp_path,
        "seen",
        [{"user_id": "u", "event_timestamp": START, "amount": 1, "days": [1], "created": START}],
        files=1,
    )
    asked = pd.DataFrame({"user_id": ["u", "u"], "event_timestamp": pd.to_datetime([START, START], utc=True)})

    job = AsofDuckDBOfflineStore.get_historical_features(
        config(tmp_path), [view("seen", "facts", timedelta(days=1))], ["seen:amount"], asked, NO_REGISTRY, "test"
    )

    assert [1, 1] == job.to_df()["amount"].tolist()


def test_a_row_of_tiles_outlives_the_ttl_of_its_view() -> None:
    """Tiles age by their stream, so a row is true until the next event; facts are void after their ttl."""
    day = timedelta(days=1)

    assert timedelta(days=KEPT["days"]) == oldest_row(view("t", "tiles", day))
    assert day == oldest_row(view("f", "facts", day))
    assert oldest_row(view("f", "facts", timedelta(0))) is None


def test_requests_without_a_time_zone_are_utc(tmp_path: Path) -> None:
    """Nanosecond times as pandas makes them are understood, and naive ones read as UTC."""
    write(
        tmp_path,
        "seen",
        [{"user_id": "u", "event_timestamp": START, "amount": 1, "days": [1], "created": START}],
        files=1,
    )
    naive = pd.to_datetime([START.replace(tzinfo=None), START.replace(tzinfo=None) - timedelta(microseconds=1)])
    asked = pd.DataFrame({"user_id": ["u", "u"], "event_timestamp": naive})

    job = AsofDuckDBOfflineStore.get_historical_features(
        config(tmp_path), [view("seen", "facts", timedelta(days=1))], ["seen:amount"], asked, NO_REGISTRY, "test"
    )

    assert [1, None] == job.to_arrow()["amount"].to_pylist()


def test_materialisation_pulls_the_newest_row_of_each_entity(tmp_path: Path) -> None:
    """Of the rows in the interval, both ends included, each entity's newest is pulled, the later created of two."""
    rows = history(3, 300)
    write(tmp_path, "seen", rows)
    times = sorted(r["event_timestamp"] for r in rows)
    start, end = times[40], times[200]

    table = AsofDuckDBOfflineStore.pull_latest_from_table_or_query(
        config(tmp_path),
        view("seen", "facts", timedelta(0)).batch_source,
        ["user_id"],
        ["amount", "days"],
        "event_timestamp",
        "created",
        start,
        end,
    ).to_arrow()

    inside = [r for r in rows if start <= r["event_timestamp"] <= end]
    newest = {}
    for row in sorted(inside, key=lambda r: (r["event_timestamp"], r["created"])):
        newest[row["user_id"]] = row
    assert newest == {row["user_id"]: row for row in table.to_pylist()}
    assert len(newest) == table.num_rows
