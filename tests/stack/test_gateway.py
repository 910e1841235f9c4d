"""The real Traefik before stand-in services: what it routes, what it refuses, and in which words."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from certificates import self_signed
from conftest import free_ports
from scoregate.local import gateway
from scoregate.local.plan import gateway_spec
from scoregate.local.routes import routes_dir
from scoregate.local.supervisor import stop_supervisor
from scoregate.local.traefik import Certificate, GatewayLimits, shared_config, static_config
from scoregate.serving.http import SECURITY_HEADERS
from stack.running import Answer, call, eventually, pid_of, start, upstream

LIMITS = GatewayLimits(max_body_bytes=2_000, answer_s=7, decision_s=2, drain_s=0.2)
REQUESTS = 1_000


@dataclass(frozen=True)
class Front:
    home: Path
    port: int
    stable: int
    """Port of the stable arm of `twin`."""

    def call(self, path: str, **rest: object) -> Answer:
        return call(self.port, path, **rest)  # type: ignore[arg-type]

    def arms(self, count: int, path: str = "/v1/twin/score") -> Counter[str]:
        """Who answered `count` requests over one connection."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        found: Counter[str] = Counter()
        for _ in range(count):
            connection.request("POST", path, body=b"{}")
            answer = connection.getresponse()
            body = answer.read()
            found[json.loads(body)["arm"] if answer.status == 200 else str(answer.status)] += 1
        connection.close()
        return found


def start_front(home: Path, limits: GatewayLimits, certificate: Certificate | None = None) -> Front:
    """Two arms of `twin`, one of `fraud`, and two services without a process: one not yet known to be dead."""
    port, problems, stable, canary, single, nobody = free_ports(6)
    routes = routes_dir(home)
    revision = gateway.write_static(home, static_config(routes, port=port, limits=limits, certificate=certificate))
    gateway.write_shared(home, shared_config(problems_port=problems, limits=limits, certificate=certificate))
    gateway.write_service(home, "twin", {"stable": stable, "canary": canary}, health_interval_s=0.2)
    gateway.write_service(home, "fraud", {"stable": single}, health_interval_s=0.2)
    gateway.write_service(home, "gone", {"stable": nobody}, health_interval_s=0.2)
    gateway.write_service(home, "dying", {"stable": nobody}, health_interval_s=600)
    start(
        home,
        upstream(home, "stable", stable),
        upstream(home, "canary", canary),
        upstream(home, "fraud", single),
        gateway_spec(home, port=port, revision=revision),
        problems_port=problems,
        max_body_bytes=limits.max_body_bytes,
    )
    front = Front(home, port, stable)
    if certificate is not None:
        return front
    eventually(lambda: front.call("/v1/fraud/score").status == 200)
    eventually(lambda: front.call("/v1/gone/events").status == 503)
    return front


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Front]:
    home = tmp_path_factory.mktemp("front")
    try:
        yield start_front(home, LIMITS)
    finally:
        stop_supervisor(home)


def assert_problem(answer: Answer, status: int, slug: str, *, retry_after: bool) -> None:
    assert status == answer.status
    assert answer.headers["content-type"] == "application/problem+json"
    problem = answer.json()
    assert status == problem["status"]
    assert problem["type"].endswith(f"/{slug}")
    assert problem["instance"].removeprefix("urn:scoregate:request:") == answer.headers["x-request-id"]
    assert retry_after is ("retry-after" in answer.headers)


@pytest.mark.parametrize(
    "path", ["/", "/v1/nobody/score", "/v1/fraud", "/api/rawdata", "/dashboard/", "/metrics", "/ping"]
)
def test_path_without_service_is_a_problem(front: Front, path: str) -> None:
    """What no service is routed at is 404 as problem+json, and the gateway shows nothing of its own."""

    assert_problem(front.call(path), 404, "not-found", retry_after=False)


def test_body_to_nowhere_is_a_problem_too(front: Front) -> None:
    """A body sent to an unknown path is read away, so that the answer is not lost."""

    assert_problem(front.call("/nowhere", method="POST", body=b"x" * 1_500), 404, "not-found", retry_after=False)


def test_large_body_is_a_problem(front: Front) -> None:
    """A body above the limit is 413, and the detail says the limit."""

    answer = front.call("/v1/fraud/score", method="POST", body=b"x" * 3_000)

    assert_problem(answer, 413, "body-too-large", retry_after=False)
    assert "2000 bytes" in answer.json()["detail"]


def test_large_body_of_unknown_length_is_a_problem(front: Front) -> None:
    """A chunked body has no length to look at; the limit holds all the same."""

    answer = front.call("/v1/fraud/score", method="POST", body=iter([b"x" * 1_500] * 3))

    assert_problem(answer, 413, "body-too-large", retry_after=False)


def test_dead_service_between_health_checks_is_a_problem(front: Front) -> None:
    """Until a health check has seen that nobody is there, the refused connection is 502 with Retry-After."""

    assert_problem(front.call("/v1/dying/score"), 502, "no-answer", retry_after=True)


def test_broken_answer_is_a_problem_once_every_try_broke(front: Front) -> None:
    """A service that breaks off is asked again, since one natural key is one decision; in the end it is 502."""

    assert_problem(front.call("/v1/fraud/break", method="POST", body=b"{}"), 502, "no-answer", retry_after=True)


def test_service_without_healthy_process_is_a_problem(front: Front) -> None:
    """When no process of a service is there, its requests get 503 or 502 with Retry-After; the others go on."""

    assert_problem(front.call("/v1/gone/events", method="POST", body=b"{}"), 503, "unavailable", retry_after=True)
    assert_problem(front.call("/v1/gone/score", method="POST", body=b"{}"), 502, "no-answer", retry_after=True)
    assert front.call("/v1/fraud/score").status == 200


def test_gateway_waits_for_a_decision_as_long_as_its_deadline(front: Front) -> None:
    """A killed process keeps its listener, not its deadline: to score one record is 504 sooner than all else."""

    paths = {"/v1/fraud/score": 3_000, "/v1/fraud/events": 3_000, "/v1/fraud/score:batch": 30_000}
    with ThreadPoolExecutor(len(paths)) as callers:
        asked = [callers.submit(front.call, path, headers={"Slow-Ms": str(ms)}) for path, ms in paths.items()]
        decision, events, batch = (each.result() for each in asked)

    assert_problem(decision, 504, "deadline-exceeded", retry_after=True)
    assert 200 == events.status
    assert_problem(batch, 504, "deadline-exceeded", retry_after=True)


def test_more_than_the_rate_is_a_problem(tmp_path: Path) -> None:
    """Requests beyond the rate of one address get 429 with Retry-After."""

    try:
        front = start_front(tmp_path, GatewayLimits(rate_per_s=5, burst=5, drain_s=0.2))
        answers = [front.call("/v1/fraud/score") for _ in range(60)]
    finally:
        stop_supervisor(tmp_path)
    refused = [answer for answer in answers if answer.status != 200]

    assert_problem(refused[0], 429, "too-many-requests", retry_after=True)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 409, 415, 422, 500, 503])
def test_problem_of_the_service_passes_untouched(front: Front, status: int) -> None:
    """What the service itself refuses keeps its own words: they carry the details."""

    answer = front.call(f"/v1/fraud/status/{status}", method="POST", body=b"{}")

    assert (status, "of the service itself") == (answer.status, answer.json()["title"])
    assert ("7" if status == 503 else None) == answer.headers.get("retry-after")


def test_request_id_that_came_names_the_problem(front: Front) -> None:
    """A caller's request id is the instance of the gateway's problem, so that both sides look for the same one."""

    answer = front.call("/nowhere", headers={"X-Request-Id": "order-77"})

    assert "urn:scoregate:request:order-77" == answer.json()["instance"]


def test_request_id_that_could_forge_a_header_is_replaced(front: Front) -> None:
    """Only plain ids are repeated."""

    answer = front.call("/nowhere", headers={"X-Request-Id": "a b<c>"})

    assert "a b<c>" not in answer.json()["instance"]


def test_alias_of_a_header_does_not_pass(front: Front) -> None:
    """`X_Request_Id` must not stand in for `X-Request-Id`."""

    headers = front.call("/v1/fraud/score", headers={"X_Request_Id": "forged"}).json()["headers"]

    assert "forged" not in headers.values()


def test_weights_are_obeyed(front: Front) -> None:
    """90 to 10 is 900 to 100 of 1,000 requests."""

    gateway.set_weights(front.home, "twin", stable=90, canary=10)
    eventually(lambda: "canary" in front.arms(20))

    found = front.arms(REQUESTS)

    assert found["canary"] == pytest.approx(100, abs=10)
    assert REQUESTS == found["stable"] + found["canary"]


def test_weights_change_without_restart(front: Front) -> None:
    """Taking a canary to 0 moves every request to stable, in the same process and without one lost."""

    gateway.set_weights(front.home, "twin", stable=50, canary=50)
    eventually(lambda: "canary" in front.arms(4))
    before = pid_of(front.home, "gateway")

    gateway.set_weights(front.home, "twin", stable=100, canary=0)
    seen: list[Counter[str]] = []
    eventually(lambda: seen.append(front.arms(20)) or seen[-1] == Counter(stable=20))

    assert set(sum(seen, Counter())) <= {"stable", "canary"}
    assert before == pid_of(front.home, "gateway")


def test_arm_that_is_not_ready_gets_nothing(front: Front) -> None:
    """The health check is per arm: a canary that is not ready loses its share and no request."""

    gateway.set_weights(front.home, "twin", stable=50, canary=50)
    (front.home / "canary.unready").touch()
    try:
        eventually(lambda: front.arms(20) == Counter(stable=20))
    finally:
        (front.home / "canary.unready").unlink()

    eventually(lambda: "canary" in front.arms(10))


def test_where_no_arm_is_healthy_what_is_there_decides(front: Front) -> None:
    """A busy process is late to say that it is ready: to score, it is asked all the same; for all else it is 503."""

    gateway.set_weights(front.home, "twin", stable=100, canary=0)
    eventually(lambda: front.arms(20) == Counter(stable=20))
    (front.home / "stable.unready").touch()
    try:
        eventually(lambda: front.call("/v1/twin/events").status == 503)

        assert Counter(stable=20) == front.arms(20)
    finally:
        (front.home / "stable.unready").unlink()
    eventually(lambda: front.call("/v1/twin/events").status == 200)


def test_killed_arm_costs_no_request(front: Front) -> None:
    """A refused connection is tried again, on the other arm."""

    nobody = free_ports(1)[0]
    gateway.write_service(
        front.home,
        "half",
        {"stable": front.stable, "canary": nobody},
        {"stable": 50, "canary": 50},
        health_interval_s=600,
    )
    eventually(lambda: front.call("/v1/half/score").status == 200)

    assert Counter(stable=40) == front.arms(40, "/v1/half/score")


def test_what_a_dying_arm_was_asked_is_asked_again(front: Front) -> None:
    """A process that is killed with requests in hand costs none of them: one natural key is one decision."""

    gateway.set_weights(front.home, "twin", stable=50, canary=50)
    eventually(lambda: front.arms(20)["canary"])
    with ThreadPoolExecutor(8) as callers:
        slow = {"Slow-Ms": "1000"}
        asked = [
            callers.submit(front.call, "/v1/twin/events", method="POST", body=b"{}", headers=slow) for _ in range(8)
        ]
        time.sleep(0.5)
        pid = pid_of(front.home, "canary")
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        statuses = Counter(each.result().status for each in asked)
    gateway.set_weights(front.home, "twin", stable=100)
    eventually(lambda: front.arms(20) == Counter(stable=20))

    assert Counter({200: 8}) == statuses


def test_arm_without_weight_never_hangs_the_gateway(front: Front) -> None:
    """A canary at 0 that comes back while stable goes: 503, not a gateway that looks for a server for ever."""

    gateway.set_weights(front.home, "twin", stable=100, canary=0)
    eventually(lambda: front.arms(20) == Counter(stable=20))
    for flag in ("canary.unready", "stable.unready"):
        (front.home / flag).touch()
        # Several health checks: Traefik must have seen the arm go, and the canary come back.
        time.sleep(0.8)
        if flag == "canary.unready":
            (front.home / flag).unlink()
            time.sleep(0.8)
    try:
        eventually(lambda: front.call("/v1/twin/events").status == 503)
        assert_problem(front.call("/v1/twin/events"), 503, "unavailable", retry_after=True)
    finally:
        (front.home / "stable.unready").unlink()


def test_malformed_http_is_plain_text(front: Front) -> None:
    """The one refusal that Traefik cannot be brought to word: its HTTP parser answers before any route is known."""

    with socket.create_connection(("127.0.0.1", front.port), timeout=5) as connection:
        connection.sendall(b"POST /v1/fraud/score HTTP/1.1\r\nno colon here\r\n\r\n")
        answer = connection.recv(4096)

    assert answer.startswith(b"HTTP/1.1 400")
    assert b"text/plain" in answer


@pytest.mark.parametrize("path", ["/v1/fraud/score", "/v1/fraud/status/422", "/v1/gone/score", "/nowhere"])
def test_every_answer_has_the_security_headers(front: Front, path: str) -> None:
    """Whoever made it; and none says which server it was, or speaks of TLS where there is none."""
    headers = front.call(path, method="POST", body=b"{}").headers

    assert {name.lower(): value for name, value in SECURITY_HEADERS.items()}.items() <= headers.items()
    assert not {"server", "strict-transport-security"} & headers.keys()


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Front, Path]]:
    """A gateway with a certificate for its address."""
    home = tmp_path_factory.mktemp("secure")
    certificate = self_signed(home)
    try:
        yield start_front(home, LIMITS, certificate), certificate.chain
    finally:
        stop_supervisor(home)


def https(port: int, authority: Path, path: str, newest: ssl.TLSVersion | None = None) -> Answer:
    context = ssl.create_default_context(cafile=str(authority))
    if newest:
        context.minimum_version, context.maximum_version = ssl.TLSVersion.MINIMUM_SUPPORTED, newest
    connection = http.client.HTTPSConnection("127.0.0.1", port, timeout=10, context=context)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return Answer(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())
    finally:
        connection.close()


def reached(port: int, authority: Path) -> bool:
    """Whether the certificate is loaded and the service healthy."""
    try:
        return https(port, authority, "/v1/fraud/score").status == 200
    except OSError:
        return False


def test_with_a_certificate_the_gateway_speaks_https_alone(secure: tuple[Front, Path]) -> None:
    """A caller that checks the certificate is answered and told to come by TLS from now on; a plain one is not."""
    front, authority = secure
    eventually(lambda: reached(front.port, authority))

    assert "max-age=" in https(front.port, authority, "/v1/fraud/score").headers["strict-transport-security"]
    assert_problem(https(front.port, authority, "/nowhere"), 404, "not-found", retry_after=False)
    assert front.call("/v1/fraud/score").status in (400, 404)


def test_old_tls_is_refused(secure: tuple[Front, Path]) -> None:
    """Nothing below TLS 1.2."""
    front, authority = secure
    eventually(lambda: reached(front.port, authority))

    assert https(front.port, authority, "/nowhere", ssl.TLSVersion.TLSv1_2).status == 404
    with pytest.raises(ssl.SSLError):
        https(front.port, authority, "/nowhere", ssl.TLSVersion.TLSv1_1)
