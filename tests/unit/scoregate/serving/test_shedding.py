"""The refusal at a glance: only what is surely a request to score, and only when there is no place."""

from __future__ import annotations

import json

import pytest

from scoregate.serving.admission import Admission
from scoregate.serving.shedding import Shedding

BODY = b'{"payment_id": "p1"}'
WHOLE = b"POST /v1/toy/score HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n%b" % (len(BODY), BODY)


def test_the_answer_is_a_problem_with_retry_after() -> None:
    """Well-formed HTTP: its length is its body's, and the body says what the usual way would say."""
    answer = Shedding("toy", Admission(2, 100)).refusal(WHOLE, running=2)
    assert answer is not None
    head, _, body = answer.partition(b"\r\n\r\n")
    headers = dict(line.split(b": ") for line in head.split(b"\r\n")[1:])

    assert head.startswith(b"HTTP/1.1 503 ")
    assert (len(body), b"1") == (int(headers[b"content-length"]), headers[b"retry-after"])
    assert (503, "overloaded") == (json.loads(body)["status"], json.loads(body)["type"].rsplit("/", 1)[1])


@pytest.mark.parametrize(
    "data",
    [
        WHOLE[:-1],
        WHOLE + b"GET /",
        WHOLE.replace(b"score", b"score:batch"),
        WHOLE.replace(b"POST", b"GET"),
        WHOLE.replace(b"Content-Length", b"X-Content-Length").replace(b"Host", b"Transfer-Encoding"),
        b"GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
    ],
)
def test_what_is_not_sure_goes_the_usual_way(data: bytes) -> None:
    """A part, more than one, another path or method, a length that is not said, and health above all."""
    assert Shedding("toy", Admission(2, 100)).refusal(data, running=9) is None


def test_where_there_is_a_place_nobody_is_refused() -> None:
    """Bodies that are waited for and batches in line take no places."""
    admission = Admission(2, 100)
    shedding = Shedding("toy", admission)

    assert shedding.refusal(WHOLE, running=1) is None
    with admission.reading(), admission.lane.enter(5, 10):
        assert shedding.refusal(WHOLE, running=3) is None
        assert shedding.refusal(WHOLE, running=4)
    assert 1 == admission.refused
