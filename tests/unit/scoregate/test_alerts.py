"""What an answer and its event say of the alert that a request belongs to."""

from __future__ import annotations

import asyncio
import json
from types import SimpleNamespace
from typing import Any

from prometheus_client import CollectorRegistry

import toy
from scoregate.contract import Answer
from scoregate.events import Effect, Event
from scoregate.features.links import Alert
from scoregate.hashing import KeyedHash
from scoregate.ledger.memory import MemoryLedger
from scoregate.scoring import Asked
from scoregate.scoring.scorer import Scorer
from scoregate.telemetry.metrics import Metrics
from scoregate.telemetry.tracing import UNTRACED

EVENT = Event("toy", "payments", Effect.COUNT, "count:p1", "p1", 1, 1, {"payer_id": "hash"})


def decide(alert: Alert | None) -> tuple[dict[str, Any], dict[str, Any]]:
    """The answer, and the columns of the event that was recorded with it."""
    code = SimpleNamespace(**vars(toy.CODE), **({"alert": lambda *_: alert} if alert else {}))
    ledger = MemoryLedger("toy")
    metrics = Metrics("toy", "stable", CollectorRegistry())
    scorer = Scorer(toy.artefact(), code, toy.source(), ledger, KeyedHash(b"k" * 32), metrics, arm="stable")
    request = toy.Request.model_validate_json(toy.body())
    asked = Asked(request, None, toy.NOW_S, UNTRACED.begin(None, "", {}), EVENT)

    async def both() -> tuple[bytes, Event]:
        decided = await scorer.decide(asked)
        return decided.answer, (await ledger.recorded(["count:p1"]))["count:p1"]

    answer, event = asyncio.run(both())
    Answer.model_validate_json(answer)
    return json.loads(answer), dict(event.row)


def test_a_linked_request_names_its_group_in_answer_and_event() -> None:
    """The next one's links are made of the event."""
    answer, row = decide(Alert("grp_1", ("grp_2",), ("device",)))

    assert {"group": "grp_1", "also": ["grp_2"], "linked_by": ["device"]} == answer["alert"]
    assert {"payer_id": "hash", "alert_group": "grp_1", "alert_also": ["grp_2"]} == row


def test_an_unknown_group_is_null_and_not_in_the_event() -> None:
    """Nothing is claimed of a request whose links could not be read."""
    answer, row = decide(Alert(None))

    assert {"group": None, "also": [], "linked_by": []} == answer["alert"]
    assert {"payer_id": "hash"} == row


def test_a_service_that_groups_nothing_says_so() -> None:
    """The field is there and null: one shape of answer for all."""
    answer, row = decide(None)

    assert (None, {"payer_id": "hash"}) == (answer["alert"], row)
