"""The pages that stand in for the gateway's own refusals."""

from __future__ import annotations

import asyncio
import json

import pytest

from scoregate.local.problems import ProblemPages, problem_for


def ask(*requests: bytes) -> list[tuple[int, dict[str, str], bytes]]:
    """Send requests over one connection to a real server; status, headers and body of each answer."""

    async def run() -> list[tuple[int, dict[str, str], bytes]]:
        pages = ProblemPages(port=0, max_body_bytes=1000)
        await pages.start()
        reader, writer = await asyncio.open_connection("127.0.0.1", pages.port)
        found = []
        for request in requests:
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:] if line)}
            length = 0 if request.startswith(b"HEAD") else int(headers["content-length"])
            found.append((int(head[0].split()[1]), headers, await reader.readexactly(length)))
        writer.close()
        await pages.close()
        return found

    return asyncio.run(asyncio.wait_for(run(), 10))


@pytest.mark.parametrize("status", [404, 413, 429, 502, 503, 504])
def test_page_has_the_status_it_is_asked_for(status: int) -> None:
    """Every refusal of the gateway has its own words, with the status in the answer and in the problem."""

    [(code, headers, body)] = ask(b"GET /problem/%d HTTP/1.1\r\nHost: x\r\n\r\n" % status)

    assert (status, status) == (code, json.loads(body)["status"])
    assert headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(("status", "retry_after"), [(404, None), (413, None), (429, 1), (502, 1), (503, 1), (504, 1)])
def test_retry_after_only_where_a_retry_helps(status: int, retry_after: int | None) -> None:
    """A retry of an unknown path or a large body would only be refused again."""

    assert retry_after == problem_for(status, 1000).retry_after_s


def test_path_behind_the_page_does_not_matter() -> None:
    """The gateway puts the request's own path behind the page's; none of it is repeated in the answer."""

    [(code, _, body)] = ask(b"POST /problem/503/v1/kyc/score?name=secret HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}")

    assert code == 503
    assert b"secret" not in body


def test_one_connection_carries_many_requests() -> None:
    """A body is read away before the next request."""

    request = b"POST /problem/503 HTTP/1.1\r\nContent-Length: 5\r\n\r\nGET /"

    assert [503, 503, 503] == [code for code, _, _ in ask(request, request, request)]


def test_head_gets_no_body() -> None:
    """HEAD is answered like GET, without the body."""

    answers = ask(b"HEAD /problem/404 HTTP/1.1\r\n\r\n", b"GET /problem/404 HTTP/1.1\r\n\r\n")

    assert [404, 404] == [code for code, _, _ in answers]


def test_unknown_page_reads_as_not_found() -> None:
    """Whatever else is asked for is not there."""

    assert 404 == ask(b"GET /etc/passwd HTTP/1.1\r\n\r\n")[0][0]


def test_limit_is_said_in_the_detail() -> None:
    """Who sent too much learns how much is taken."""

    assert "1000 bytes" in problem_for(413, 1000).detail
