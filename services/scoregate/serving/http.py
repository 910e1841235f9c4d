"""ASGI in two small values: a request as the door reads it, a response as it sends it."""

from __future__ import annotations

import json
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import field
from typing import Any

from scoregate.errors import PROBLEM_MEDIA_TYPE, BodyTooLarge, ScoregateError
from scoregate.values import frozen

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Request:
    """Method, path and headers at once; the body when it is asked for, up to a limit."""

    __slots__ = ("_receive", "began_s", "headers", "method", "path", "peer", "query")

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.query: bytes = scope["query_string"]
        self.peer: str = (scope.get("client") or ("",))[0]
        self.headers: dict[bytes, bytes] = dict(scope["headers"])
        self._receive = receive
        self.began_s = time.monotonic()

    def header(self, name: bytes) -> str | None:
        """Return a header by its lower-case name."""
        found = self.headers.get(name)
        return None if found is None else found.decode("latin-1")

    async def body(self, limit_bytes: int) -> bytes:
        """Read the whole body.

        Raises:
            BodyTooLarge: it is, or says it is, larger than the limit.
            ConnectionError: the caller went away.
        """
        declared = self.headers.get(b"content-length", b"0")
        if declared.isdigit() and int(declared) > limit_bytes:
            raise _too_large(limit_bytes)
        chunks, size = [], 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ConnectionError("the caller went away")
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > limit_bytes:
                raise _too_large(limit_bytes)
            chunks.append(chunk)
            if not message.get("more_body", False):
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limit_bytes: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body is larger than {limit_bytes} bytes; send less or use several requests")


STRANGE_TRACE = "X-Strange-Trace"
"""Set by the gateway, and by it alone, where a trace comes from outside: its id is kept, its sampling flag is not."""

SECURITY_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
}
"""On every answer, whichever gateway is in front. The answers are data: nothing may render or embed them."""

_ALWAYS = "".join(
    f"{name.lower()}: {value}\r\n" for name, value in {"Cache-Control": "no-store", **SECURITY_HEADERS}.items()
)

WHOLE = "scoregate.whole"
"""The extension of ASGI by which a server takes an answer whole: a `Whole`."""
Whole = Callable[[int, bytes, bytes], bool]
"""Takes status, headers and body; says whether they were sent."""
_NO_EXTENSIONS: Mapping[str, Any] = {}


@frozen
class Response:
    """Status, body and headers; `no-store`, since every answer is about somebody."""

    status: int
    body: bytes
    media_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def json(cls, value: Any, status: int = 200) -> Response:
        return cls(status, json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode())

    @classmethod
    def problem(cls, problem: ScoregateError, request_id: str) -> Response:
        """Render an error as RFC 9457."""
        headers = {} if problem.retry_after_s is None else {"retry-after": str(problem.retry_after_s)}
        if problem.status == 401:
            headers["www-authenticate"] = "Bearer"
        body = json.dumps(problem.as_problem(instance=request_id), ensure_ascii=False).encode()
        return cls(problem.status, body, PROBLEM_MEDIA_TYPE, headers)

    async def send(self, scope: Scope, send: Send, request_id: str) -> None:
        # Taken out, for what leads from a request to its answer leads back as well, and nobody else ends that circle.
        whole: Whole | None = scope.pop("extensions", _NO_EXTENSIONS).get(WHOLE)
        if whole is None or not whole(self.status, self._head(request_id), self.body):
            headers = [tuple(line.split(b": ", 1)) for line in self._head(request_id).splitlines()]
            await send({"type": "http.response.start", "status": self.status, "headers": headers})
            await send({"type": "http.response.body", "body": self.body})

    def _head(self, request_id: str) -> bytes:
        """Return the headers, as they are sent."""
        more = "".join([f"{name}: {value}\r\n" for name, value in self.headers.items()]) if self.headers else ""
        return (
            f"content-type: {self.media_type}\r\ncontent-length: {len(self.body)}\r\n{_ALWAYS}"
            f"x-request-id: {request_id}\r\n{more}"
        ).encode("latin-1")
