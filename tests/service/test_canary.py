"""A canary on a real stack: from a challenger to its share of requests, judged, and back."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from loadtest.canary import challenger

from conftest import Stack
from fraud.contract import EXAMPLE
from scoregate.settings import Settings

REQUESTS = 40


def asked(stack: Stack) -> Counter[str]:
    """Who answered so many new requests."""
    bodies = [{**EXAMPLE, "transaction_id": f"canary-{uuid.uuid4().hex}"} for _ in range(REQUESTS)]
    answers = [stack.post("fraud", body) for body in bodies]
    return Counter(answer.json()["arm"] if answer.status_code == 200 else str(answer.status_code) for answer in answers)


def said(stack: Stack, *words: str, code: int = 0) -> Any:
    done = stack.scoregate("canary", *words, "--json")
    assert code == done.returncode, done.stdout + done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def model(stack: Stack) -> Iterator[str]:
    """An approved challenger; whatever canary is left goes."""
    made = challenger(Settings(home=stack.home), "a challenger of tests")
    approved = stack.scoregate("models", "promote", "fraud", made, "--approver", "tests", "--reason", "a test")
    assert approved.returncode == 0, approved.stderr
    yield made
    stack.scoregate("canary", "rollback", "fraud")
    stack.scoregate("models", "demote", "fraud", made, "--approver", "tests", "--reason", "a test")


def test_a_canary_gets_its_share_is_judged_and_goes(stack: Stack, model: str) -> None:
    """Start, verdict, step, back: no request fails, every action is in the journal with who did it and why."""
    begun = said(stack, "start", "fraud", "--weight", "50", "--who", "anna", "--why", "to see")
    assert (model, 50) == (begun["model"], begun["weight_percent"])
    assert Counter(stable=20, canary=20) == asked(stack)

    verdict = said(stack, "verdict", "fraud", code=3)
    assert "hold" == verdict["verdict"]
    errors = next(gate for gate in verdict["gates"] if gate["gate"] == "errors")
    assert (20, 0) == (errors["canary"][0], errors["canary"][1])

    refused = stack.scoregate("canary", "promote", "fraud")
    assert (1, True) == (refused.returncode, "the verdict is hold" in refused.stderr)

    said(stack, "rollback", "fraud", "--who", "bert", "--why", "seen enough")
    assert Counter(stable=REQUESTS) == asked(stack)

    status = said(stack, "status", "fraud")
    assert status["canary"] is None
    assert [("start", "anna", "to see"), ("step", "anna", "to see"), ("rollback", "bert", "seen enough")] == [
        (done["action"], done["who"], done["why"]) for done in status["journal"][-3:]
    ]


def test_what_nobody_approved_is_no_canary(stack: Stack) -> None:
    """The champion, and any version that is not the challenger, is refused in one sentence."""
    champion = (stack.home / "models" / "fraud" / "champion").read_text().strip()
    refused = stack.scoregate("canary", "start", "fraud", "--model", champion)

    assert 1 == refused.returncode
    assert "models promote fraud" in refused.stderr
