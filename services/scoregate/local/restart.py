"""`scoregate restart SERVICE`: starts one process anew, with the code and champion of now, and waits for it."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from scoregate import catalog
from scoregate.local import StackError
from scoregate.local.plan import ports, process_name
from scoregate.local.ready import wait_until_ready
from scoregate.local.state import read_desired, write_desired
from scoregate.local.supervisor import supervisor_of
from scoregate.local.traefik import STABLE
from scoregate.local.up import READY_S, stable_spec, worker_of
from scoregate.settings import Settings


def restart(settings: Settings, console: Console, service: str) -> int:
    if supervisor_of(settings.home) is None:
        raise StackError("Nothing runs: `make up` starts it.")
    services = catalog.services()
    before = read_desired(settings.home)
    name = service if service in {"gateway", "worker"} else process_name(service, STABLE)
    old = before.spec(name)
    if old is None:
        raise StackError(f"No service {service} runs; there are {', '.join(services)}, worker and gateway.")
    planned = ports(settings, services)
    if service == "gateway":
        new = replace(old, asked=old.asked + 1)
    elif service == "worker":
        new = worker_of(settings, planned, before, again=1)
    else:
        new = stable_spec(settings, service, planned, before, again=1)
    write_desired(settings.home, replace(before, processes=tuple(new if s is old else s for s in before.processes)))
    waited_for = services if service == "gateway" else [service] if service in services else []
    wait_until_ready(settings.home, settings.gateway_url, waited_for, timeout_s=READY_S, note=lambda _: None)
    console.print(f"{service} was started again and is ready.", markup=False)
    return 0
