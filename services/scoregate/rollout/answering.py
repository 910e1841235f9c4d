"""The verdict over HTTP, for whoever asks by web: Argo's web metric reads `{$.verdict}` of GET /<service>/verdict.

Without more it is about the canary that a verb started here. `?canary=<id>` is about one that somebody else weighs,
such as Argo: what happens from the first question with this id on is its evidence; an id per step has each judged anew.
200 with the verdict, also when it is to hold; 404 without a canary; 503 when the ledger or Prometheus cannot be read.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import MappingProxyType
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from scoregate import catalog
from scoregate.errors import DependencyError
from scoregate.local.traefik import HOST
from scoregate.rollout import canary as records
from scoregate.rollout.canary import Canary
from scoregate.rollout.gathering import Gathering, metrics_of, readings
from scoregate.settings import Settings

REMEMBERED: Final = 32
"""Steps that are not begun anew when somebody asks about another; the one that was asked about longest ago goes."""


class Looker:
    """Keeps what was gathered between questions, so that each reads only what is new."""

    def __init__(self, settings: Settings, prometheus: str | None, of: Mapping[str, str]) -> None:
        self._settings, self._prometheus, self._of = settings, prometheus, of
        self._known: dict[tuple[str, str | None], Gathering] = {}
        self._one_at_a_time = threading.Lock()

    def look(self, service: str, id_: str | None = None) -> dict[str, Any] | None:
        with self._one_at_a_time:
            known = self._known.pop((service, id_), None)
            canary = self._canary(service, id_, known)
            if canary is None:
                return None
            if known is None or known.canary != canary:
                known = Gathering(self._settings, canary, metrics_of(canary, self._prometheus, self._of))
            # Whoever looks at another step must not make this one's evidence begin anew.
            self._known[service, id_] = known
            if len(self._known) > REMEMBERED:
                del self._known[next(iter(self._known))]
            verdict = known.verdict()
        return {"service": service, "model": canary.model, "weight_percent": canary.weight_percent, **verdict.as_json()}

    def _canary(self, service: str, id_: str | None, known: Gathering | None) -> Canary | None:
        """Return the canary of a verb here, or one of elsewhere since it was first asked about."""
        if id_ is None:
            return records.read(self._settings.home, service)
        if known is not None:
            return known.canary
        if service not in catalog.services():
            return None
        now_s = time.time()
        before = {} if self._prometheus else readings(self._settings, service)
        return Canary(service, id_, 0, now_s, now_s, before, "", "asked for over HTTP")


def server(
    settings: Settings,
    port: int,
    *,
    host: str = HOST,
    prometheus: str | None = None,
    of: Mapping[str, str] = MappingProxyType({}),
) -> ThreadingHTTPServer:
    """Make a server; `serve_forever` runs it. `prometheus`, `of`: where metrics come from, as `metrics_of` takes it."""
    looker = Looker(settings, prometheus, of)

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked = urlsplit(self.path)
            service, _, what = asked.path.strip("/").partition("/")
            (id_,) = parse_qs(asked.query).get("canary", [None])[:1]
            no_path = (404, {"detail": "no such path"})
            status, body = _answer(partial(looker.look, service, id_), service) if what == "verdict" else no_path
            content = json.dumps(body).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the library's name
            pass

    return ThreadingHTTPServer((host, port), Answer)


def _answer(look: Callable[[], dict[str, Any] | None], service: str) -> tuple[int, dict[str, Any]]:
    try:
        found = look()
    except DependencyError as problem:
        return 503, {"detail": problem.detail}
    return (404, {"detail": f"{service} has no canary"}) if found is None else (200, found)
