"""The HTTP protocol of a worker: uvicorn's, with a glance at what comes while all places are taken."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import uvicorn.config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

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

    protocols: dict[str, Any] = uvicorn.config.HTTP_PROTOCOLS  # type: ignore[assignment]
    protocols["auto"] = Protocol
