"""The server's short way out says what its usual way would, and leaves nothing behind."""

from __future__ import annotations

import gc
import http.client
import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import uvicorn.config

from conftest import free_ports
from scoregate.serving import protocol
from scoregate.serving.http import Receive, Request, Response, Scope, Send

ANSWER = Response(422, b'{"status": 422}', "application/problem+json", {"retry-after": "1"})


class App:
    """Answers everything alike; the usual way where the server's extension is taken away."""

    def __init__(self, *, usual: bool = False) -> None:
        self._usual = usual
        self.held: list[weakref.ref[_Held]] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        await request.body(1_000)
        if self._usual:
            scope.pop("extensions")
        scope["held"] = held = _Held()
        self.held.append(weakref.ref(held))
        await ANSWER.send(scope, send, "r-1")


class _Held:
    """Lives as long as the request's scope does."""


@contextmanager
def served(app: Any) -> Iterator[int]:
    [port] = free_ports(1)
    before = {**uvicorn.config.HTTP_PROTOCOLS}
    protocol.use(lambda _data, _running: None)
    config = uvicorn.Config(app, port=port, log_level="error", access_log=False, lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    try:
        while not server.started:
            threading.Event().wait(0.01)
        yield port
    finally:
        server.should_exit = True
        thread.join()
        uvicorn.config.HTTP_PROTOCOLS.update(before)


def answered(port: int, method: str = "POST", *, close: bool = False) -> tuple[int, dict[str, str], bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request(method, "/", b"{}", {"connection": "close"} if close else {})
    answer = connection.getresponse()
    headers = {name.lower(): value for name, value in answer.getheaders() if name.lower() != "date"}
    said = answer.status, headers, answer.read()
    connection.close()
    return said


@pytest.mark.parametrize(("method", "close"), [("POST", False), ("POST", True), ("HEAD", False)])
def test_both_ways_say_the_same(method: str, close: bool) -> None:
    """Status, every header and the body; and that the connection ends where the caller said so."""
    with served(App()) as port:
        short = answered(port, method, close=close)
    with served(App(usual=True)) as port:
        usual = answered(port, method, close=close)

    assert short == usual
    assert (422, "r-1", "no-store") == (short[0], short[1]["x-request-id"], short[1]["cache-control"])


def test_an_answered_request_is_let_go_of_at_once() -> None:
    """Nothing leads from a request to its answer and back, so that the collector, which stops everything, has no work.

    The last is its connection's, which may have another.
    """
    app = App()
    gc.disable()
    try:
        with served(app) as port:
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
            for _ in range(4):
                connection.request("POST", "/", b"{}")
                answer = connection.getresponse()
                assert (422, ANSWER.body) == (answer.status, answer.read())
            assert [None] * 3 == [held() for held in app.held[:3]]
            connection.close()
    finally:
        gc.enable()
