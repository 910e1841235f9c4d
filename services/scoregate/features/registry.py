"""The feature registry as one serialised message, from the file or the database that Feast keeps it in.

The tables are those of Feast's SQL registry. Only the two that we need are read, and of one project alone: others may
share the database.
"""

from __future__ import annotations

import asyncio
from typing import Final

from scoregate.errors import SignatureMismatch
from scoregate.features import encoding
from scoregate.features.plan import read_registry
from scoregate.settings import Settings

TIMEOUT_S: Final = 5.0
_VIEWS: Final = "SELECT feature_view_proto FROM feature_views WHERE project_id = $1 ORDER BY feature_view_name"
_SERVICES: Final = (
    "SELECT feature_service_proto FROM feature_services WHERE project_id = $1 ORDER BY feature_service_name"
)


class RegistryUnreachable(SignatureMismatch):
    """Nothing can be said of the registry: its file or database is not there."""


def registry_of(settings: Settings) -> bytes:
    """Read the registry that the settings name; never from inside a running event loop.

    Raises:
        RegistryUnreachable: there is none.
    """
    if settings.registry_url is None:
        try:
            return read_registry(settings.registry_path)
        except SignatureMismatch as problem:
            raise RegistryUnreachable(str(problem)) from problem
    return asyncio.run(_from_database(settings.registry_url, settings.project))


async def _from_database(url: str, project: str) -> bytes:
    import asyncpg

    try:
        connection = await asyncpg.connect(url, timeout=TIMEOUT_S, command_timeout=TIMEOUT_S)
        try:
            views = [raw for (raw,) in await connection.fetch(_VIEWS, project)]
            services = [raw for (raw,) in await connection.fetch(_SERVICES, project)]
        finally:
            await connection.close(timeout=TIMEOUT_S)
    except (asyncpg.PostgresError, OSError, TimeoutError) as problem:
        # The type alone: a driver's message may hold the address, and with it a password.
        raise RegistryUnreachable(f"the feature registry's database: {type(problem).__name__}") from problem
    message = encoding.Registry()
    message.feature_views.extend(encoding.View.FromString(raw) for raw in views)
    message.feature_services.extend(encoding.Service.FromString(raw) for raw in services)
    for each in (*message.feature_views, *message.feature_services):
        # In a file every message names its project; here the row does.
        each.spec.project = project
    found: bytes = message.SerializeToString()
    return found
