"""What keeps the traces of a serving process: settings to keepers."""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from scoregate import __version__
from scoregate.settings import Settings
from scoregate.telemetry.export import OtlpExport, exporter
from scoregate.telemetry.metrics import Metrics
from scoregate.telemetry.recent import Recent, TraceFile
from scoregate.telemetry.tracing import Keeper, Tracing, Value
from scoregate.tracing_settings import queue


def make_tracing(service: str, settings: Settings, metrics: Metrics) -> Tracing:
    """Make the tracing of one process."""
    keepers: list[Keeper] = []
    store = store_attributes(settings.store_url)
    if settings.otlp_url is not None:
        settings.lend()
        make = exporter(settings.otlp_protocol)
        keepers.append(
            OtlpExport(resource(service, None if settings.arm_file else settings.arm), make, metrics, queue(), store)
        )
    if settings.recent_traces:
        file = TraceFile(settings.home / "run" / "traces", f"{service}-{settings.arm}")
        keepers.append(Recent(service, file, store))
    return Tracing(
        metrics.stage, tuple(keepers), ratio=settings.sampled_share, follows_parents=settings.follows_parents
    )


def resource(service: str, arm: str | None) -> dict[str, Value]:
    """Say which process it is; its arm only if that never changes. Spans say theirs in any case."""
    fixed: dict[str, Value] = {"scoregate.arm": arm} if arm else {}
    return fixed | {
        "service.name": service,
        "service.namespace": "scoregate",
        "service.version": __version__,
        "service.instance.id": secrets.token_hex(8),
    }


def store_attributes(url: str) -> dict[str, Value]:
    """Say where the online store is, by the conventions for Redis clients."""
    parts = urlsplit(url)
    return {
        "db.system.name": "redis",
        "db.operation.name": "PIPELINE",
        "db.namespace": parts.path.lstrip("/") or "0",
        "server.address": parts.hostname or "",
        "server.port": parts.port or 6379,
    }
