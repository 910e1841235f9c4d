"""The door's events over memory adapters: who may post, how much, and what is answered when."""

from __future__ import annotations

import asyncio
import io
import json
import math
import re
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import pyarrow as pa
import pytest
from prometheus_client import CollectorRegistry

import toy
from payments import write_twin
from scoregate.events import Effect, Event
from scoregate.features.breaker import Breaker
from scoregate.features.online import OnlineFeatures
from scoregate.hashing import KeyedHash
from scoregate.ledger.memory import MemoryLedger
from scoregate.scoring.scorer import Scorer
from scoregate.serving import health
from scoregate.serving.admission import Admission
from scoregate.serving.auth import Authenticator
from scoregate.serving.door import Door
from scoregate.serving.gate import Gate
from scoregate.serving.health import Health
from scoregate.serving.http import Request
from scoregate.serving.keyfile import KeyFile
from scoregate.serving.keys import Keys
from scoregate.serving.pulse import BEAT_S
from scoregate.serving.startup import Ready
from scoregate.settings import Settings
from scoregate.streaming.relay import Relay
from scoregate.telemetry import names
from scoregate.telemetry.logs import EventLog
from scoregate.telemetry.metrics import NO_MODEL, Metrics
from scoregate.telemetry.tracing import UNTRACED
from scoregate.training import live

EVENTS_PATH = "/v1/toy/events"
SCORE_PATH = "/v1/toy/score"


class SlowLedger(MemoryLedger):
    """A ledger whose disk never answers."""

    async def record(self, events: Any) -> list[bool]:
        await asyncio.sleep(60)
        return []


class SlowAppend(MemoryLedger):
    """A ledger whose disk never answers to decisions."""

    async def append(self, entry: Any, event: Any = None) -> Any:
        await asyncio.sleep(60)


class House:
    """A door that is open, over a whole store that knows one payer."""

    def __init__(
        self,
        folder: Path,
        *,
        events: Any = toy.EVENTS,
        ledger: MemoryLedger | None = None,
        admission: Admission | None = None,
    ) -> None:
        self.ledger = ledger or MemoryLedger("toy")
        self.registry = CollectorRegistry()
        self.keys = {}
        path = folder / "keys.json"
        for verb in ("score", "events", "read"):
            self.keys[verb] = KeyFile(path).create(verb, [f"toy:{verb}"])
        self.door = door = Door("toy", toy.CONTRACT, cast("Any", toy.CODE), events)
        self.arm_file = folder / "arm"
        settings = Settings(
            home=folder, arm_file=self.arm_file, max_body_bytes=200_000, max_request_bytes=4_000, rate_per_s=2_000
        )
        self.metrics = metrics = Metrics("toy", "stable", self.registry)
        self.health = Health(metrics, arm="stable", drain_s=0)
        gate = Gate("toy", settings, Authenticator(Keys(path)), admission or Admission(8, 2_000), metrics, self.health)
        door.furnish(gate, EventLog("toy", "stable", io.StringIO()), UNTRACED)
        source = toy.source(at_s=time.time())
        code, hashed = cast("Any", toy.CODE), KeyedHash(b"k" * 32)
        scorer = Scorer(toy.artefact(), code, source, self.ledger, hashed, metrics, arm="stable")
        relay = Relay(self.ledger, "test", "redis://127.0.0.1:1/0")
        self.ready = Ready(
            toy.artefact(),
            scorer,
            self.ledger,
            cast("OnlineFeatures", source),
            relay,
            toy.CONTRACT.Request,
            Breaker(source),
        )
        door.open(self.ready)

    def post(self, path: str, body: Any, verb: str = "events", **headers: str) -> tuple[int, Any]:
        """Status and body of one request."""
        raw = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"authorization": f"Bearer {self.keys[verb]}", "content-type": "application/json", **headers}
        scope = {
            "type": "http",
            "method": "POST",
            "path": path,
            "query_string": b"",
            "headers": [(name.encode(), value.encode()) for name, value in sent.items()],
        }
        messages: list[Any] = []

        async def receive() -> Any:
            return {"type": "http.request", "body": raw}

        async def send(message: Any) -> None:
            messages.append(message)

        asyncio.run(self.door(scope, receive, send))
        return messages[0]["status"], json.loads(messages[1]["body"])

    def sent(self) -> list[Event]:
        outgoing = asyncio.run(self.ledger.outgoing(self.ledger.writer, "payments", 0, 5_000))
        return [Event.decode(one.payload) for one in outgoing]


@pytest.fixture
def house(tmp_path: Path) -> House:
    return House(tmp_path)


def slug(answer: tuple[int, Any]) -> tuple[int, str]:
    return answer[0], answer[1]["type"].rsplit("/", 1)[1]


def paid(**changes: Any) -> dict[str, Any]:
    return {"type": "paid", **toy.EXAMPLE, "event_at": datetime.now(UTC).isoformat(), **changes}


def label(**changes: Any) -> dict[str, Any]:
    return {
        "type": "labelled",
        "payment_id": "p1",
        "was_bad": True,
        "event_at": datetime.now(UTC).isoformat(),
        **changes,
    }


def test_one_event_is_answered_by_a_receipt(house: House) -> None:
    """202 once it is durable, the same id and `known` when it comes again."""
    first_status, first = house.post(EVENTS_PATH, paid())
    again_status, again = house.post(EVENTS_PATH, paid())

    assert (202, "recorded") == (first_status, first["status"])
    assert (202, {**first, "status": "known"}) == (again_status, again)
    assert 1 == len(house.sent())


def test_several_events_have_a_result_each(house: House) -> None:
    """In order: receipts, and problems of their own that do not stop the others."""
    body = {"events": [paid(), {"type": "paid"}, label(), label(payment_id="nobody")]}
    status, answer = house.post(EVENTS_PATH, body)
    results = answer["results"]

    assert (202, ["recorded", "refused", "recorded", "refused"]) == (status, [one["status"] for one in results])
    assert [(422, "invalid-fields"), (422, "unknown-subject")] == [
        (one["problem"]["status"], one["problem"]["type"].rsplit("/", 1)[1]) for one in (results[1], results[3])
    ]


def test_a_single_events_problem_is_the_answer(house: House) -> None:
    """A status of its own, fields named."""
    status, problem = house.post(EVENTS_PATH, label())

    assert (422, "unknown-subject") == slug((status, problem))
    assert ["/payment_id"] == [error["pointer"] for error in problem["errors"]]
    assert (422, "invalid-fields") == slug(house.post(EVENTS_PATH, {"type": "paid"}))
    assert (400, "malformed-json") == slug(house.post(EVENTS_PATH, b"{"))


@pytest.mark.parametrize(
    ("path", "body", "verb"),
    [(EVENTS_PATH, paid, "score"), (EVENTS_PATH, paid, "read"), (SCORE_PATH, lambda: toy.EXAMPLE, "events")],
)
def test_events_have_a_scope_of_their_own(house: House, path: str, body: Callable[[], Any], verb: str) -> None:
    """Who may score may not post, and the other way round."""
    assert (403, "forbidden") == slug(house.post(path, body(), verb))
    assert [] == house.sent()


def test_a_process_is_of_the_arm_that_its_label_says(house: House) -> None:
    """From a change on decisions, answers and counts are the new arm's; a label that was lost changes nothing."""

    def arm_of_a_decision(payment_id: str) -> tuple[str, str]:
        _, answer = house.post(SCORE_PATH, {**toy.EXAMPLE, "payment_id": payment_id}, "score")
        recorded = asyncio.run(house.ledger.find(payment_id))
        assert recorded
        return answer["arm"], recorded.entry.arm

    def value(name: str, arm: str) -> float | None:
        return house.registry.get_sample_value(name, {"service": "toy", "arm": arm})

    before = arm_of_a_decision("p1")
    house.arm_file.write_text("canary")
    house.door.follow()
    after = arm_of_a_decision("p2")
    house.arm_file.write_text("")
    house.door.follow()
    lost = arm_of_a_decision("p3")

    assert (("stable",) * 2, ("canary",) * 2, ("canary",) * 2) == (before, after, lost)
    assert 1 == value(names.READY, "canary") and math.isnan(value(names.READY, "stable") or 0)
    house.metrics.flush()
    counted: Counter[str] = Counter()
    for sample in (each for metric in house.registry.collect() for each in metric.samples):
        if sample.name == f"{names.DECISIONS}_total":
            # An arm has a series for each rung and outcome.
            counted[sample.labels["arm"]] += int(sample.value)
    assert {"stable": 1, "canary": 2} == counted


def test_a_scored_request_is_an_event(house: House) -> None:
    """Recorded with the decision, at the time of receipt; posting it too, or scoring it again, changes nothing."""
    before_us = round(time.time() * 1e6)
    house.post(SCORE_PATH, toy.EXAMPLE, "score")
    house.post(SCORE_PATH, toy.EXAMPLE, "score")
    _, receipt = house.post(EVENTS_PATH, paid())
    (event,) = house.sent()

    assert ("known", Effect.COUNT, "count:p1") == (receipt["status"], event.effect, event.key)
    assert before_us <= event.at_us == event.known_us <= round(time.time() * 1e6)
    assert house.ready.scorer.hashed("payer", "known") == event.row["payer_id"]


def test_every_row_of_a_batch_is_an_event(house: House) -> None:
    """As if it had come by itself; a row that is refused is none."""
    rows = [{**toy.EXAMPLE, "payment_id": "p1"}, {"wrong": 1}, {**toy.EXAMPLE, "payment_id": "p2"}]
    house.post(f"{SCORE_PATH}:batch", {"rows": rows}, "score")

    assert {"count:p1", "count:p2"} == {event.key for event in house.sent()}


def test_a_label_finds_the_scored_request(house: House) -> None:
    """No settling is needed in between."""
    house.post(SCORE_PATH, toy.EXAMPLE, "score")
    status, answer = house.post(EVENTS_PATH, label())

    assert (202, "recorded") == (status, answer["status"])
    assert [Effect.COUNT, Effect.LABEL] == [event.effect for event in house.sent()]


def test_a_label_is_counted_once_against_the_score_that_it_judges(house: House) -> None:
    """Whether scores mean what they say is one division in a query; sending a label again changes nothing."""
    _, decided = house.post(SCORE_PATH, toy.EXAMPLE, "score")
    one = label()
    house.post(EVENTS_PATH, one)
    house.post(EVENTS_PATH, one)
    said = {"service": "toy", "model": toy.artefact().version}
    counted = house.registry.get_sample_value

    assert 1 == counted("scoregate_labelled_total", {**said, "bad": "true"})
    assert pytest.approx(decided["score"], abs=1e-6) == counted("scoregate_labelled_score_total", said)


def test_a_posted_label_is_joined_to_its_decision_in_what_training_reads(house: House, tmp_path: Path) -> None:
    """Scored here, labelled through the door: of both payments in the twin, the one is known as bad since its label."""
    for payment in ("p1", "p2"):
        house.post(SCORE_PATH, {**toy.EXAMPLE, "payment_id": payment}, "score")
    known_at = datetime.now(UTC)
    house.post(EVENTS_PATH, label(payment_id="p2", event_at=known_at.isoformat()))
    settings = Settings(home=tmp_path / "offline")
    write_twin(settings, house.sent())

    found = live.counted(live.read(settings, "payments"), {"key": "payer_id", "amount_minor": "amount_minor"})

    assert [toy.EXAMPLE["amount_minor"]] * 2 == found["amount_minor"].to_pylist()
    assert [None, known_at] == found["label_us"].cast(pa.timestamp("us", tz="UTC")).to_pylist()


def test_the_bounds_are_those_of_a_batch(house: House) -> None:
    """Media type, size, number of events, headers: each refused by its own problem."""
    assert (415, "unsupported-media-type") == slug(house.post(EVENTS_PATH, paid(), **{"content-type": "text/csv"}))
    assert (413, "body-too-large") == slug(house.post(EVENTS_PATH, b" " * 200_001))
    assert (422, "invalid-fields") == slug(house.post(EVENTS_PATH, {"events": [{}] * 1_001}))
    assert (422, "invalid-fields") == slug(house.post(EVENTS_PATH, paid(), **{"x-request-deadline-ms": "soon"}))
    assert 202 == house.post(EVENTS_PATH, {"events": [paid(payment_id=f"p{i}") for i in range(100)]})[0]


def test_each_event_is_spent(tmp_path: Path) -> None:
    """A thousand events cost what a thousand requests cost."""
    house = House(tmp_path, admission=Admission(8, 100))
    body = {"events": [paid(payment_id=f"p{i}") for i in range(100)]}

    assert 202 == house.post(EVENTS_PATH, body)[0]
    assert (429, "too-many-requests") == slug(house.post(EVENTS_PATH, body))


def test_no_place_no_events(tmp_path: Path) -> None:
    """Shed before work was done."""
    house = House(tmp_path, admission=Admission(0, 100))

    assert (503, "overloaded") == slug(house.post(EVENTS_PATH, paid()))


def test_a_deadline_is_kept(tmp_path: Path) -> None:
    """Whoever waits for a disk is told to send it again."""
    house = House(tmp_path, ledger=SlowLedger("toy"))

    assert (504, "deadline-exceeded") == slug(house.post(EVENTS_PATH, paid(), **{"x-request-deadline-ms": "20"}))


def test_a_dead_ledger_acknowledges_nothing(house: House) -> None:
    """503, and safe to send again."""
    asyncio.run(house.ledger.close())

    assert (503, "ledger-unavailable") == slug(house.post(EVENTS_PATH, paid()))


def test_a_service_without_events_has_no_such_door(tmp_path: Path) -> None:
    """The path is not there, and what it scores is no event."""
    house = House(tmp_path, events=None)
    scored, _ = house.post(SCORE_PATH, toy.EXAMPLE, "score")

    assert (404, "not-found") == slug(house.post(EVENTS_PATH, paid()))
    assert (200, []) == (scored, house.sent())


def test_requests_are_counted_by_the_path(house: House) -> None:
    """The label is the template, as for every route."""
    house.post(EVENTS_PATH, paid())
    found = [s.labels for m in house.registry.collect() for s in m.samples if s.name == "scoregate_requests_total"]

    assert [(EVENTS_PATH, "202")] == [(labels["route"], labels["status"]) for labels in found]


def answered(house: House) -> float | None:
    """How many events its series say were answered, without asking for what is gathered."""
    labels = {"service": "toy", "route": EVENTS_PATH, "status": "202", "arm": "stable", "model": NO_MODEL}
    return house.registry.get_sample_value(f"{names.REQUESTS}_total", labels)


def test_what_a_process_says_holds_what_it_has_just_answered(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever scrapes right after a request finds it counted."""
    monkeypatch.setattr(health, "REGISTRY", house.registry)
    house.post(EVENTS_PATH, paid())
    scope = {"method": "GET", "path": "/metrics", "query_string": b"", "headers": []}
    said = asyncio.run(house.health.metrics(Request(scope, cast("Any", None)), cast("Any", None))).body.decode()

    assert 1 == answered(house)
    assert re.search(rf'^{names.REQUESTS}_total{{.*route="{EVENTS_PATH}".*}} 1\.0$', said, re.MULTILINE)


def test_a_sibling_finds_what_was_answered_a_beat_ago(house: House) -> None:
    """Another worker's `/metrics` reads what this one has written, so this one writes as long as it lives."""
    house.post(EVENTS_PATH, paid())

    async def beat() -> None:
        house.door._pulse.start()
        await asyncio.sleep(3 * BEAT_S)
        house.door._pulse.stop()

    asyncio.run(beat())

    assert 1 == answered(house)


def test_a_process_that_goes_leaves_its_counts(house: House) -> None:
    """Those of requests that were answered while it drained, too."""

    async def go() -> None:
        house.door._starting = asyncio.create_task(asyncio.sleep(0))
        house.door._pulse.start()
        with house.door._gate.admission.slot():
            stopping = asyncio.create_task(house.door.stop())
            await asyncio.sleep(0)
            house.metrics.request(EVENTS_PATH, 202, 0.003)
        await stopping

    asyncio.run(go())

    assert 1 == answered(house)


def test_rows_with_one_key_share_an_answer(house: House) -> None:
    """However near they stand: the later row waits for the earlier one, and another body under its key is refused."""
    rows = [toy.EXAMPLE, toy.EXAMPLE, {**toy.EXAMPLE, "amount_minor": 1}]
    _, answer = house.post(f"{SCORE_PATH}:batch", {"rows": rows}, "score")
    first, second, other = answer["results"]

    assert [200, 200, 422] == [first["status"], second["status"], other["status"]]
    assert first["answer"] == second["answer"]


def test_rows_beyond_the_deadline_say_so(tmp_path: Path) -> None:
    """The batch is answered; what was not decided has a problem of its own."""
    house = House(tmp_path, ledger=SlowAppend("toy"))
    rows = [{**toy.EXAMPLE, "payment_id": f"p{i}"} for i in range(60)]
    status, answer = house.post(f"{SCORE_PATH}:batch", {"rows": rows}, "score", **{"x-request-deadline-ms": "100"})

    assert (200, {504}, 60) == (status, {one["status"] for one in answer["results"]}, len(answer["results"]))


def test_a_full_house_refuses_before_it_looks_at_keys(tmp_path: Path) -> None:
    """A refusal costs next to nothing, and tells nothing."""
    house = House(tmp_path, admission=Admission(0, 100))

    assert (503, "overloaded") == slug(house.post(SCORE_PATH, toy.EXAMPLE, "events"))
