"""Prometheus as the source of the metrics: the same counts as the processes themselves give, from a real server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from prometheus_client import CollectorRegistry, start_http_server

from conftest import free_ports
from prometheus import scraping
from scoregate.errors import DependencyError
from scoregate.rollout.canary import Reading
from scoregate.rollout.prometheus import PrometheusReadings, Series, readings
from scoregate.rollout.requests import added, reading, scrape
from scoregate.telemetry.metrics import Metrics

PATIENCE_S = 60.0


class Pod:
    """The real metrics of one process, where a real server scrapes them."""

    def __init__(self, arm: str, port: int) -> None:
        self.arm, self.address = arm, f"127.0.0.1:{port}"
        self._serving: tuple[ThreadingHTTPServer, Thread] | None = None
        self.start()

    def start(self) -> None:
        """Begin with all counters at nothing, as a process does."""
        registry = CollectorRegistry()
        self._metrics = Metrics("toy", self.arm, registry)
        self._serving = start_http_server(int(self.address.partition(":")[2]), "127.0.0.1", registry)

    def stop(self) -> None:
        if self._serving:
            self._serving[0].shutdown()
            self._serving[0].server_close()
            self._serving = None

    def answer(self, *requests: tuple[int, float]) -> None:
        for status, seconds in requests:
            self._metrics.request("/v1/toy/score", status, seconds)
        self._metrics.flush()

    def reading(self) -> Reading:
        return reading(scrape(f"http://{self.address}/metrics"), "toy", self.arm)


@pytest.fixture
def pods() -> Iterator[list[Pod]]:
    ports = free_ports(3)
    made = [Pod(arm, port) for arm, port in zip(("stable", "stable", "canary"), ports, strict=True)]
    yield made
    for pod in made:
        pod.stop()


def until(expected: dict[str, Reading], look: Callable[[], dict[str, Reading]]) -> dict[str, Reading]:
    """Look until the server has scraped what is expected, or patience ends; return what was seen last."""
    deadline_s = time.monotonic() + PATIENCE_S
    while (found := look()) != expected and time.monotonic() < deadline_s:
        time.sleep(0.05)
    return found


def test_its_counts_are_those_of_the_processes(pods: list[Pod], tmp_path: Path) -> None:
    """What came before the step does not count, pods add up, and one that began anew takes nothing away."""
    one, two, canary = pods
    one.answer((200, 0.003), (503, 0.02))
    canary.answer(*[(200, 0.003)] * 7)
    with ExitStack() as stack:
        url = stack.enter_context(scraping([pod.address for pod in pods], tmp_path))
        earlier = PrometheusReadings(url, "toy", time.time() - 600, {"job": "services"})
        before = {"stable": added(one.reading(), two.reading()), "canary": canary.reading()}
        assert before == until(before, earlier)

        look = PrometheusReadings(url, "toy", time.time(), {"job": "services"})
        one.answer((200, 0.003), (200, 7.0))
        two.answer((500, 0.0004), (422, 0.003))
        canary.answer((502, 0.03))
        grown = {arm: minus(now, before[arm]) for arm, now in total(pods).items()}
        assert grown == until(grown, look)

        canary.stop()
        canary.start()
        canary.answer((200, 0.003), (200, 0.003))
        anew = {**grown, "canary": added(grown["canary"], canary.reading())}
        assert anew == until(anew, look)
        assert {} == PrometheusReadings(url, "toy", time.time() - 600, {"job": "another"})()


def total(pods: list[Pod]) -> dict[str, Reading]:
    one, two, canary = (pod.reading() for pod in pods)
    return {"stable": added(one, two), "canary": canary}


def minus(now: Reading, before: Reading) -> Reading:
    return {gate: {name: count - before[gate][name] for name, count in counts.items()} for gate, counts in now.items()}


def test_a_server_that_is_not_there_is_said(tmp_path: Path) -> None:
    """No evidence is not the same as no failures."""
    with pytest.raises(DependencyError, match="does not answer"):
        PrometheusReadings(f"http://127.0.0.1:{free_ports(1)[0]}", "toy", 0.0, {})()


def test_buckets_of_many_pods_add_up() -> None:
    """Counts up to a bound, pod by pod, become counts of each bucket alone."""

    def bucket(pod: str, bound: str) -> Series:
        return frozenset({"arm": "canary", "pod": pod, "le": bound}.items())

    found = readings({bucket("a", "0.001"): 1, bucket("b", "0.001"): 2, bucket("a", "0.0025"): 4})

    assert {"0.001": 3, "0.0025": 1} == {bound: n for bound, n in found["canary"]["latency"].items() if n > 0}
