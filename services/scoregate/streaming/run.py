"""One worker process: a thread per stream, metrics and health on a port, an orderly end on SIGTERM."""

from __future__ import annotations

import gc
import importlib.util
import signal
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

from prometheus_client import REGISTRY, make_wsgi_app

from scoregate import __version__, catalog
from scoregate.events import LABELS
from scoregate.features.registry import registry_of
from scoregate.settings import Settings
from scoregate.streaming.worker import Rebuild, StreamWorker, streams_of
from scoregate.telemetry.export import OtlpExport, exporter
from scoregate.telemetry.logs import EventLog
from scoregate.telemetry.metrics import WORKER, EventMetrics
from scoregate.tracing_settings import queue


def run(settings: Settings, rebuild: Rebuild, *, shard: int, shards: int, host: str, port: int | None) -> int:
    """Count events until SIGTERM; return the exit code. A thread that fails ends the process: it is started again.

    Raises:
        SignatureMismatch: there is no feature registry.
    """
    registry = registry_of(settings)
    stop, failed = threading.Event(), threading.Event()
    metrics, log = EventMetrics(), EventLog(WORKER, "-")

    rebuilding: set[str] = set()

    def rebuild_and_say(stream: str) -> bool:
        log.event("store.rebuild", stream=stream)
        rebuilding.add(stream)
        try:
            if done := rebuild(stream):
                metrics.rebuilt(stream)
            return done
        finally:
            rebuilding.discard(stream)

    export = exporting(settings, metrics)
    put = export.put if export else None
    parts = (metrics, log, rebuild_and_say, stop)
    workers = [
        StreamWorker(settings, registry, stream, *parts, shard=shard, shards=shards, put_span=put)
        for stream in streams(registry)
    ]

    def guarded(worker: StreamWorker) -> None:
        try:
            worker.run()
        except BaseException as problem:
            log.event("events.failed", error=f"{type(problem).__name__}: {problem}")
            failed.set()
            stop.set()
            raise

    for each in (signal.SIGTERM, signal.SIGINT):
        signal.signal(each, lambda *_: stop.set())
    if port is not None:
        _listen(host, port, workers)
    # Rows in memory are many and live long: the collector would walk them all the time and find nothing.
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 1_000)
    threads = [threading.Thread(target=guarded, args=(worker,), name=worker.stream, daemon=True) for worker in workers]
    for thread in threads:
        thread.start()
    log.event("events.started", shard=shard, shards=shards)
    # Not join(): a signal is handled between its waits only.
    while not stop.wait(0.5):
        pass
    for thread in threads:
        # A rebuild is given up: its rows count for nothing without a marker, and the next worker begins anew.
        while thread.is_alive() and thread.name not in rebuilding:
            thread.join(0.1)
    if export:
        export.close()
    return 1 if failed.is_set() else 0


def exporting(settings: Settings, metrics: EventMetrics) -> OtlpExport | None:
    """Return what exports the worker's spans, where there is somebody to receive them."""
    if settings.otlp_url is None:
        return None
    settings.lend()
    said = {"service.name": WORKER, "service.namespace": "scoregate", "service.version": __version__}
    return OtlpExport(said, exporter(settings.otlp_protocol), metrics, queue(), {})


def streams(registry: bytes) -> list[str]:
    """Every stream that fills a view, and those that services only keep in the twin."""
    kept = {getattr(catalog.part(name, "events"), "STREAM", LABELS) for name in catalog.services() if _tells(name)}
    return sorted({*streams_of(registry), *kept, LABELS})


def _tells(service: str) -> bool:
    return importlib.util.find_spec(f"{service}.events") is not None


class _Quiet(WSGIRequestHandler):
    def log_request(self, *_: object) -> None:
        """A probe every few seconds is no news."""


def _listen(host: str, port: int, workers: Sequence[StreamWorker]) -> None:
    """Serve /metrics, /livez and /readyz; ready when every stream is caught up."""
    exposed = make_wsgi_app(REGISTRY)

    def app(environ: Any, start: Callable[..., Any]) -> Iterable[bytes]:
        path = environ["PATH_INFO"]
        if path == "/metrics":
            return exposed(environ, start)  # type: ignore[no-any-return]
        behind = [worker.stream for worker in workers if not worker.caught_up] if path == "/readyz" else []
        known = path in {"/livez", "/readyz"}
        status = "404 Not Found" if not known else "503 Service Unavailable" if behind else "200 OK"
        start(status, [("content-type", "text/plain")])
        return [f"behind: {', '.join(behind)}\n".encode() if behind else b"ok\n" if known else b""]

    server = make_server(host, port, app, handler_class=_Quiet)
    threading.Thread(target=server.serve_forever, daemon=True, name="health").start()
