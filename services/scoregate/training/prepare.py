"""Makes features ready: data up to now, the Feast repository applied, the online store filled; and joins history."""

from __future__ import annotations

import contextlib
import datetime as dt
import errno
import hashlib
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from scoregate import catalog
from scoregate.errors import ScoregateError
from scoregate.events import FACTS
from scoregate.features.plan import compile_plan, views
from scoregate.features.registry import registry_of
from scoregate.hashing import KeyedHash
from scoregate.settings import ROOT, Settings
from scoregate.training import live, load, streams, tilelog
from scoregate.training.repository import REPO, apply, repo_config
from scoregate.training.streams import DEMO, Period, Say

if TYPE_CHECKING:
    import pandas as pd
    import pyarrow as pa
    from feast import FeatureStore


def features(
    settings: Settings, on_progress: Say = lambda _: None, *, until: dt.datetime | None = None, period: Period = DEMO
) -> None:
    """Bring data, registry and online store up to `until` (aware; now if absent), making only what is missing.

    Raises:
        StoreUnavailable: the online store does not answer.
        ScoregateError: the disk is full, or the repository cannot be applied.
    """
    until = until or dt.datetime.now(dt.UTC)
    services = catalog.services()
    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
        KeyedHash.create(settings.hash_key_path)
        with streams.Workers() as workers:
            with applied(settings, on_progress):
                streams.ensure(settings, services, until, period, workers=workers, say=on_progress)
            registry = registry_of(settings)
            tilelog.ensure(settings, registry, until, period, workers=workers, say=on_progress)
            live.write_facts(settings, (plan for plan, _ in views(registry, FACTS)))
    except OSError as problem:
        if problem.errno != errno.ENOSPC:
            raise
        raise ScoregateError(f"the disk is full: free some space, then run this again ({settings.data})") from problem
    load.load(settings, registry, until, on_progress)


def historical(settings: Settings, feature_service: str, entity_df: pd.DataFrame) -> pa.Table:
    """Return the requests, in their order, with the views of a FeatureService as of each one's `event_timestamp`.

    Feature columns are named `<view>__<feature>`; null where the entity had no row, or only one too old. Views without
    history are left out.
    """
    plan = compile_plan(registry_of(settings), feature_service)
    names = [f"{view.name}:{feature}" for view in plan.with_history for feature, _ in view.features]
    job = feature_store(settings).get_historical_features(entity_df, names, full_feature_names=True)
    return job.to_arrow()


def feature_store(settings: Settings) -> FeatureStore:
    """Open the Feast store of these settings. Importing Feast takes seconds."""
    from feast import FeatureStore

    return FeatureStore(config=repo_config(settings))


@contextlib.contextmanager
def applied(settings: Settings, say: Say) -> Any:
    """Apply the repository if it is not what the registry was made from, beside what is done meanwhile."""
    note = settings.registry_path.with_name(settings.registry_path.name + ".applied")
    # What became of a database since is not known here.
    if settings.registry_url is None and note.exists() and note.read_text() == _made_from(settings):
        yield
        return
    # In a process of its own: Feast changes the working directory, and keeps modules of an older repository loaded.
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        applying = pool.submit(apply, settings)
        yield
        applying.result()
    note.write_text(_made_from(settings))
    say("feature repository applied")


def _made_from(settings: Settings) -> str:
    """Digest the registry together with all that it is made from: either may have been changed by somebody else."""
    digest = hashlib.sha256(f"{version('feast')} {settings.project}".encode())
    windows = ROOT / "services" / "scoregate" / "features" / "windows.py"
    for file in [*sorted(REPO.glob("*.py")), REPO / "feature_store.yaml", windows, settings.registry_path]:
        digest.update(f"\0{file.name}\0".encode() + (file.read_bytes() if file.exists() else b""))
    return digest.hexdigest()
