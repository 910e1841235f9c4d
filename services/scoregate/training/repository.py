"""The Feast repository of this checkout: its configuration from the settings, and applying it to a registry."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from scoregate.errors import ScoregateError
from scoregate.settings import ROOT, Settings

if TYPE_CHECKING:
    from feast import RepoConfig

REPO = ROOT / "feature_repo"


def repo_config(settings: Settings, *, applying: bool = False) -> RepoConfig:
    """Return what `feature_repo/feature_store.yaml` says, with the places that the settings name.

    `applying`: with an offline store that Feast brings along. Nobody asks it then, and who only applies has no DuckDB.
    """
    from feast import RepoConfig

    ours = {"type": "scoregate.features.offline.AsofDuckDBOfflineStore", "root": str(settings.data.resolve())}
    return RepoConfig(
        project=settings.project,
        provider="local",
        registry=_registry(settings),
        online_store={"type": "redis", "connection_string": connection_string(settings.store_url)},
        offline_store={"type": "dask"} if applying else ours,
        entity_key_serialization_version=3,
        repo_path=REPO,
    )


def connection_string(store_url: str) -> str:
    """Write a Redis URL the way Feast wants it: `host:port,db=0,…`."""
    url = urlsplit(store_url)
    options = {
        "db": url.path.strip("/") or "0",
        "username": unquote(url.username or ""),
        "password": unquote(url.password or ""),
        "ssl": "true" if url.scheme == "rediss" else "",
    }
    return ",".join([f"{url.hostname}:{url.port or 6379}", *(f"{k}={v}" for k, v in options.items() if v)])


def apply(settings: Settings) -> None:
    """Do what `feast apply` does. Rows in the online store stay, unless a view is gone from the repository.

    Changes the working process: give it one of its own.

    Raises:
        ScoregateError: the repository cannot be applied.
    """
    from feast.repo_operations import apply_total

    sys.path.append(str(REPO))
    os.umask(0o077)
    told = io.StringIO()
    try:
        with contextlib.redirect_stdout(told):
            apply_total(repo_config(settings, applying=True), REPO, skip_source_validation=True)
    except (Exception, SystemExit) as problem:
        # Feast's own exceptions do not survive the way to another process.
        said = told.getvalue().strip().splitlines()[-1:] or [""]
        raise ScoregateError(f"the feature repository cannot be applied: {problem} {said[0]}".strip()) from None


def _registry(settings: Settings) -> str | dict[str, Any]:
    if settings.registry_url is None:
        return str(settings.registry_path.resolve())
    return {"registry_type": "sql", "path": settings.registry_url, "cache_ttl_seconds": 60}
