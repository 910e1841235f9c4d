"""The verdict over HTTP, for whoever asks by web: Argo's web metric reads `{$.verdict}` of GET /<service>/verdict.

200 with the verdict, also when it is to hold; 404 without a canary; 503 when the ledger or Prometheus cannot be read.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from scoregate.errors import DependencyError
from scoregate.local.traefik import HOST
from scoregate.rollout import canary as records
from scoregate.rollout.gathering import Gathering, metrics_of
from scoregate.settings import Settings


class Looker:
    """Keeps what was gathered between questions, so that each reads only what is new."""

    def __init__(self, settings: Settings, prometheus: str | None) -> None:
        self._settings, self._prometheus = settings, prometheus
        self._known: dict[str, Gathering] = {}
        self._one_at_a_time = threading.Lock()

    def look(self, service: str) -> dict[str, Any] | None:
        with self._one_at_a_time:
            canary = records.read(self._settings.home, service)
            if canary is None:
                self._known.pop(service, None)
                return None
            known = self._known.get(service)
            if known is None or known.canary != canary:
                self._known[service] = known = Gathering(self._settings, canary, metrics_of(canary, self._prometheus))
            verdict = known.verdict()
        return {"service": service, "model": canary.model, "weight_percent": canary.weight_percent, **verdict.as_json()}


def server(settings: Settings, port: int, prometheus: str | None = None) -> ThreadingHTTPServer:
    """Make a server on 127.0.0.1; `serve_forever` runs it. `prometheus`: its URL, where metrics come from it."""
    looker = Looker(settings, prometheus)

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            service, _, what = self.path.strip("/").partition("/")
            status, body = _answer(looker.look, service) if what == "verdict" else (404, {"detail": "no such path"})
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the library's name
            pass

    return ThreadingHTTPServer((HOST, port), Answer)


def _answer(look: Callable[[str], dict[str, Any] | None], service: str) -> tuple[int, dict[str, Any]]:
    try:
        found = look(service)
    except DependencyError as problem:
        return 503, {"detail": problem.detail}
    return (404, {"detail": f"{service} has no canary"}) if found is None else (200, found)
