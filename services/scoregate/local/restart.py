"""`scoregate restart SERVICE`: starts one process anew, with the code and champion of now, and waits for it.

A service loses no request by it. A second process of it, the stand-in, is started first and gets all requests once it
is ready; then the first is started anew, gets them back, and the stand-in goes. What does not become ready is found out
while the first still serves.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from rich.console import Console

from scoregate import catalog
from scoregate.local import StackError, gateway
from scoregate.local.plan import Ports, ports, process_name
from scoregate.local.ready import probe, wait_for, wait_for_processes
from scoregate.local.routes import turn
from scoregate.local.state import ProcessSpec, read_desired, run_dir, write_desired
from scoregate.local.supervisor import supervisor_of
from scoregate.local.traefik import HOST, STABLE
from scoregate.local.up import READY_S, stable_spec, stand_in_spec, worker_of
from scoregate.settings import Settings
from scoregate.values import frozen

ON_ITS_WAY_S = 0.3
"""After the gateway has read its new file, until nothing more is on its way to where it sent before."""

FOLLOWS_S = 30.0
_RELOADS = re.compile(r"^traefik_config_reloads_total (\S+)$", re.MULTILINE)


def restart(settings: Settings, console: Console, service: str) -> int:
    if supervisor_of(settings.home) is None:
        raise StackError("Nothing runs: `make up` starts it.")
    services = catalog.services()
    name = service if service in {"gateway", "worker"} else process_name(service, STABLE)
    old = read_desired(settings.home).spec(name)
    if old is None:
        raise StackError(f"No service {service} runs; there are {', '.join(services)}, worker and gateway.")
    renewal = _Renewal(settings, ports(settings, services))
    if service in services:
        renew_service(settings, service)
    elif service == "gateway":
        renewal.renew(replace(old, asked=old.asked + 1), {process_name(each, STABLE): each for each in services})
    else:
        renewal.renew(worker_of(settings, renewal.ports, read_desired(settings.home), again=1), {name: None})
    console.print(f"{service} was started again and is ready.", markup=False)
    return 0


def renew_service(settings: Settings, service: str) -> None:
    """Start a service's stable process anew, with all that it should have by now, without losing a request.

    Raises:
        StackError: what should run does not become ready; what ran before still serves.
    """
    renewal = _Renewal(settings, ports(settings, catalog.services()))
    with renewal.stand_in(service):
        new = stable_spec(settings, service, renewal.ports, read_desired(settings.home), again=1)
        renewal.renew(new, {new.name: service})


@frozen
class _Renewal:
    settings: Settings
    ports: Ports

    def renew(self, spec: ProcessSpec, waited_for: dict[str, str | None]) -> None:
        """Start a process in place of the one of its name, and wait."""
        self._put(spec)
        wait_for_processes(self.settings.home, self.settings.gateway_url, waited_for, timeout_s=READY_S)

    @contextmanager
    def stand_in(self, service: str) -> Iterator[None]:
        """Let a second process serve while the block runs; for good when the first does not come back."""
        spec = stand_in_spec(self.settings, service, self.ports)
        try:
            self.renew(spec, {spec.name: None})
        except BaseException:
            self._drop(spec.name)
            raise
        self._route(service, spec.port)
        yield
        self._route(service, self.ports.stable[service])
        self._drop(spec.name)

    def _route(self, service: str, port: int) -> None:
        before = self._reloads()
        with turn(self.settings.home, service):
            arms = gateway.read_ports(self.settings.home, service) | {STABLE: port}
            gateway.write_service(self.settings.home, service, arms)
        # It follows within 0.1 s, but not on a machine that is busy with something else.
        log = run_dir(self.settings.home) / "gateway.log"
        wait_for("The gateway's new route", lambda: self._reloads() > before, log=log, timeout_s=FOLLOWS_S)
        time.sleep(ON_ITS_WAY_S)

    def _reloads(self) -> float:
        """How often the gateway has read its files anew."""
        _, metrics = probe(f"http://{HOST}:{self.ports.metrics}/metrics", most_bytes=1_000_000)
        return float(found[1]) if (found := _RELOADS.search(metrics)) else 0.0

    def _put(self, spec: ProcessSpec) -> None:
        before = read_desired(self.settings.home)
        others = tuple(each for each in before.processes if each.name != spec.name)
        write_desired(self.settings.home, replace(before, processes=(*others, spec)))

    def _drop(self, name: str) -> None:
        before = read_desired(self.settings.home)
        left = tuple(each for each in before.processes if each.name != name)
        write_desired(self.settings.home, replace(before, processes=left))
