"""The cheapest refusal: written before the request is parsed, when all places are taken.

A refusal on the usual way costs a third of a decision, so that at three times of what a process can do refusing alone
would take all of its time. Here it costs a look at the first line. What cannot be told at a glance (a body that has not
come yet, several requests in one piece) goes the usual way, and is refused there.
"""

from __future__ import annotations

import json
import re

from scoregate.errors import Overloaded
from scoregate.serving.admission import Admission

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d{1,7})\r\n", re.IGNORECASE)
_END = b"\r\n\r\n"


class Shedding:
    """Refuses requests of one service to score one record."""

    def __init__(self, service: str, admission: Admission) -> None:
        self._admission = admission
        self._first_line = f"POST /v1/{service}/score HTTP/1.1\r\n".encode()
        problem = Overloaded("All places are taken; try again shortly")
        body = json.dumps(problem.as_problem()).encode()
        self._answer = (
            b"HTTP/1.1 503 Service Unavailable\r\ncontent-type: application/problem+json\r\ncache-control: no-store\r\n"
            b"retry-after: %d\r\ncontent-length: %d\r\n\r\n%b" % (problem.retry_after_s or 1, len(body), body)
        )

    def refusal(self, data: bytes, running: int) -> bytes | None:
        """Return the answer to what has come on an idle connection, if there is no place for it.

        `running`: requests that the server works on, of whatever kind.
        """
        if running - self._admission.idle < self._admission.bound.places or not self._is_whole(data):
            return None
        self._admission.shed()
        return self._answer

    def _is_whole(self, data: bytes) -> bool:
        if not data.startswith(self._first_line):
            return False
        end = data.find(_END)
        length = _LENGTH.search(data, 0, end + 2)
        return length is not None and len(data) == end + len(_END) + int(length[1])
