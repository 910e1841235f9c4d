"""What answers the gateway alone: pages in place of its own refusals, `/problem/<status>` whatever follows in the path,
and a receiver of its spans."""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from http import HTTPStatus
from pathlib import Path

from scoregate.errors import (
    PROBLEM_MEDIA_TYPE,
    BodyTooLarge,
    DeadlineExceeded,
    DependencyError,
    NotFound,
    ScoregateError,
    TooManyRequests,
)
from scoregate.local import spans

READ_S = 10.0
DRAIN_BYTES = 8 * 1_048_576
_PAGE = re.compile(rb"^([A-Z]+) /problem/(\d{3})[/? ]")
_REQUEST_ID = re.compile(r"^[A-Za-z0-9._:\-]{1,128}$")


class BadGateway(DependencyError):
    status = 502
    slug = "no-answer"
    title = "The service broke off before it answered"


def problem_for(status: int, max_body_bytes: int) -> ScoregateError:
    """The gateway's refusal with this status, in the words of the tree in errors.py; an unlisted one reads as 404."""
    match status:
        case 413:
            return BodyTooLarge(f"The body is larger than {max_body_bytes} bytes.")
        case 429:
            return TooManyRequests("More requests came from this address than the gateway lets through.")
        case 502:
            return BadGateway(
                "The connection to the service failed; whether it decided is not known, so retry with the same key."
            )
        case 503:
            return DependencyError("No process of this service is ready.")
        case 504:
            return DeadlineExceeded("The service did not answer in time; retry with the same key.")
        case _:
            return NotFound("No service is routed at this path.")


class ProblemPages:
    """A small HTTP/1.1 server that speaks to the gateway alone."""

    def __init__(self, *, host: str = "127.0.0.1", port: int, max_body_bytes: int, traces: Path | None = None) -> None:
        self.port = port
        self._traces = traces
        self._host = host
        self._max_body_bytes = max_body_bytes
        self._server: asyncio.Server | None = None

    def serves(self, port: int, max_body_bytes: int) -> bool:
        return (self.port, self._max_body_bytes) == (port, max_body_bytes)

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._connection, self._host, self.port, limit=128 * 1024)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self._one(reader, writer):
                pass
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, TimeoutError, ConnectionError):
            pass
        finally:
            writer.close()

    async def _one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; return whether the connection can carry another."""
        head = await reader.readuntil(b"\r\n\r\n")
        headers = _headers(head)
        if self._traces is not None and head.startswith(b"POST " + spans.PATH.encode()):
            await self._take_spans(reader, headers, self._traces)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            return True
        # A body left unread would turn the answer into a reset connection.
        whole = await asyncio.wait_for(_drain(reader, headers), READ_S)
        page = _PAGE.match(head)
        problem = problem_for(int(page[2]) if page else 404, self._max_body_bytes)
        request_id = headers.get("x-request-id", "")
        if not _REQUEST_ID.match(request_id):
            request_id = uuid.uuid4().hex
        writer.write(_render(problem, request_id, body=not head.startswith(b"HEAD "), keep=whole))
        await writer.drain()
        return whole

    async def _take_spans(self, reader: asyncio.StreamReader, headers: dict[str, str], folder: Path) -> None:
        length = int(headers.get("content-length") or 0)
        if length > DRAIN_BYTES:
            raise ConnectionError
        body = await asyncio.wait_for(reader.readexactly(length), READ_S)
        is_compressed = headers.get("content-encoding") == "gzip"
        await asyncio.to_thread(spans.take, folder, body, is_compressed=is_compressed)


def _headers(head: bytes) -> dict[str, str]:
    pairs = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:] if line)
    return {name.strip().lower(): value.strip() for name, _, value in pairs}


async def _drain(reader: asyncio.StreamReader, headers: dict[str, str]) -> bool:
    """Read the body away; False when its end is not known, so that the connection must end with the answer."""
    if "transfer-encoding" in headers:
        return False
    left = int(headers.get("content-length") or 0)
    if left > DRAIN_BYTES:
        return False
    while left > 0:
        chunk = await reader.read(min(left, 65_536))
        if not chunk:
            raise ConnectionError
        left -= len(chunk)
    return True


def _render(problem: ScoregateError, request_id: str, *, body: bool, keep: bool) -> bytes:
    content = json.dumps(problem.as_problem(instance=request_id)).encode()
    lines = [
        f"HTTP/1.1 {problem.status} {HTTPStatus(problem.status).phrase}",
        f"Content-Type: {PROBLEM_MEDIA_TYPE}",
        f"Content-Length: {len(content)}",
        f"X-Request-Id: {request_id}",
        "Cache-Control: no-store",
        f"Connection: {'keep-alive' if keep else 'close'}",
    ]
    if problem.retry_after_s is not None:
        lines.append(f"Retry-After: {problem.retry_after_s}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (content if body else b"")
