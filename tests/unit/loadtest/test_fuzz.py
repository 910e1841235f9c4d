"""The fuzzer itself: it repeats itself, breaks what it is given, and its judge sees what is wrong."""

from __future__ import annotations

import json

import pytest
from loadtest.fuzz import Found
from loadtest.mutations import FRESH, MARK, Mutator, Sent

import toy

SEEDS = {"/v1/toy/score": [toy.EXAMPLE | {"payment_id": FRESH}], "/v1/toy/score:batch": [{"rows": [toy.EXAMPLE] * 3}]}


def made(seed: int, count: int = 2_000) -> list[Sent]:
    mutator = Mutator(SEEDS, seed)
    mutator._run = "run"
    return [mutator.next() for _ in range(count)]


def is_json(body: bytes) -> bool:
    try:
        json.loads(body)
    except (ValueError, RecursionError):
        return False
    return True


def test_a_seed_makes_the_same_requests() -> None:
    """What was found once can be found again."""
    assert made(7, 200) == made(7, 200) != made(8, 200)


def test_requests_are_broken_in_every_way() -> None:
    """Some are JSON and some are not, some are deep, some are good, none is as long as a disk."""
    found = made(1)
    bodies = [each.body for each in found]

    assert 200 < sum(map(is_json, bodies)) < 1_800
    assert any(b"[" * 300 in body for body in bodies)
    assert any(MARK.encode() in body for body in bodies)
    assert any(each.headers for each in found)
    assert max(map(len, bodies)) < 2_000_000


PROBLEM = json.dumps({"status": 422, "type": "t", "title": "t", "detail": "d", "instance": "i"}).encode()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((200, "application/json", b"{}"), (0, 0, 0)),
        ((422, "application/problem+json", PROBLEM), (0, 0, 0)),
        ((503, "application/problem+json", PROBLEM.replace(b"422", b"503")), (1, 0, 0)),
        (
            (503, "application/problem+json", PROBLEM.replace(b"422", b"503").replace(b'"t"', b'"/overloaded"')),
            (0, 0, 0),
        ),
        ((500, "application/problem+json", PROBLEM), (1, 0, 0)),
        ((0, "", b"TimeoutError"), (1, 0, 0)),
        ((422, "text/plain", b"no"), (0, 1, 0)),
        ((400, "application/problem+json", PROBLEM), (0, 1, 0)),
        ((422, "application/problem+json", PROBLEM.replace(b'"d"', b'"leak-1"')), (0, 0, 1)),
    ],
)
def test_the_judge_sees_what_is_wrong(answer: tuple[int, str, bytes], expected: tuple[int, int, int]) -> None:
    """A crash, a refusal without its shape, a value that came back."""
    found = Found()
    found.judge(Sent("/v1/toy/score", b"{}"), answer)

    assert expected == (found.crashed, found.shapeless, found.leaked)
