"""JSON lines on standard error: events with fields, one per request, never an identifier, amount or feature."""

from __future__ import annotations

import json
import sys
import time
from typing import TextIO

# Made once: `json.dumps` with separators makes an encoder for each line.
_encode = json.JSONEncoder(separators=(",", ":")).encode


class EventLog:
    """Writes events of one service and arm."""

    def __init__(self, service: str, arm: str, stream: TextIO | None = None) -> None:
        self._fixed = {"service": service, "arm": arm}
        self._stream = stream or sys.stderr

    def become(self, arm: str) -> None:
        """Say another arm from now on."""
        self._fixed = {**self._fixed, "arm": arm}

    def event(self, name: str, **fields: str | float | None) -> None:
        """Write one line; a full disk or a closed pipe must not fail a request."""
        line = {"time": round(time.time(), 6), "event": name, **self._fixed, **fields}
        try:
            self._stream.write(_encode(line) + "\n")
            self._stream.flush()
        except (OSError, ValueError):
            pass
