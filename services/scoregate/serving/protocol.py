"""The HTTP protocol of a worker: uvicorn's, with a glance at what comes while all places are taken.

uvicorn checks name and value of every header of every answer, and writes head and body by two messages. Ours are made
of constants, so that the door hands over an answer as the bytes that it is: see `WHOLE` in `http.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import uvicorn.config
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from scoregate.serving.http import WHOLE

Refusal = Callable[[bytes, int], bytes | None]
"""Takes what came and how many requests run; returns the bytes of a refusal."""


def use(refusal: Refusal) -> None:
    """Let every server that this process configures from now on refuse so."""

    class Protocol(HttpToolsProtocol):
        def data_received(self, data: bytes) -> None:
            is_idle = self.cycle is None or self.cycle.response_complete
            if is_idle and (answer := refusal(data, len(self.tasks))):
                self.transport.write(answer)
                return
            super().data_received(data)

        def _start_asgi_task(self, cycle: Any, app: Any) -> None:
            cycle.scope["extensions"] = {WHOLE: partial(_respond, cycle)}
            super()._start_asgi_task(cycle, app)

    protocols: dict[str, Any] = uvicorn.config.HTTP_PROTOCOLS  # type: ignore[assignment]
    protocols["auto"] = Protocol


def _respond(cycle: Any, status: int, head: bytes, body: bytes) -> bool:
    """Send an answer at once, as `RequestResponseCycle.send` does in parts; False where that is not possible."""
    if cycle.response_started or cycle.disconnected or cycle.flow.write_paused or cycle.scope["method"] == "HEAD":
        return False
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    cycle.message_event.set()
    theirs = b"".join([b"%b: %b\r\n" % header for header in cycle.default_headers])
    end = b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n"
    cycle.transport.write(b"".join((STATUS_LINE[status], theirs, head, end, body)))
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
