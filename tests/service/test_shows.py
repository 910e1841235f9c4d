"""The short forms of three long shows, on the running stack: a kill, a restart, and too many callers."""

from __future__ import annotations

import asyncio

import faults
import pytest
import rolling
from overload import Flood
from ownstack import Own

from conftest import Stack
from scoregate.settings import Settings

DEADLINE_MS = 20_000
"""Whatever the machine: what is tried is what callers get, not how soon."""


@pytest.fixture
def own(stack: Stack) -> Own:
    said = {name: stack.env[f"SCOREGATE_{name.upper()}"] for name in ("home", "gateway_port", "store_url", "base_port")}
    return Own(Settings(**said), stack.env)  # type: ignore[arg-type]


def test_a_killed_worker_is_replaced_and_nothing_reads_mild(own: Own) -> None:
    """Callers get a decision or a refusal that asks them to come again; then all is as before."""
    row = asyncio.run(faults.under(own, "service process killed", 20, DEADLINE_MS, patience_s=120))

    assert (True, 0) == (row.recovery_s is not None, row.mild)
    assert {200} <= row.statuses.keys() <= {200, 502, 503, 504}


def test_a_restart_under_load_loses_no_request(own: Own) -> None:
    """The process is another one, and every answer was a decision."""
    found = rolling.restarted(own, "kyc", 20, DEADLINE_MS)

    assert (True, {200: found["requests"]}) == (found["renewed"], found["statuses"])


def test_too_many_callers_are_decided_or_refused(own: Own) -> None:
    """More than there are places: some decisions, the rest 503 at once, and no answer of another kind."""
    run = asyncio.run(Flood(own, deadline_ms=DEADLINE_MS).crowd(300, seconds=2))

    assert {200, 503} == run.statuses().keys()
    assert {"overloaded"} == {sample.said for sample in run.samples if sample.status == 503}
