"""`scoregate status`: what runs and whether it is ready; exit code 0 when all is."""

from __future__ import annotations

from rich.console import Console

from scoregate.local.processes import alive
from scoregate.local.ready import probe
from scoregate.local.state import Running, read_desired, read_status
from scoregate.local.supervisor import supervisor_of
from scoregate.local.table import show_processes
from scoregate.settings import Settings


def status(settings: Settings, console: Console) -> int:
    found = read_status(settings.home)
    if found is None or supervisor_of(settings.home) is None:
        console.print("Nothing runs: `make up` starts it.", markup=False)
        return 1
    states = {each.name: _state(each) for each in found.running}
    shown = sorted(found.running, key=lambda each: (each.stage, each.name))
    show_processes(console, [_row(each, states[each.name]) for each in shown])
    absent = [spec.name for spec in read_desired(settings.home).processes if spec.name not in states]
    if absent:
        console.print(f"Not started yet: {', '.join(absent)}.", markup=False)
    return 0 if not absent and all(state in {"ready", "running"} for state in states.values()) else 1


def _state(each: Running) -> str:
    if each.mark is None or alive(each.mark) is None:
        return "dead, about to be started again"
    if each.health_url is None:
        return "running"
    code, _ = probe(each.health_url, timeout_s=0.5)
    return {200: "ready", 0: "starting"}.get(code, f"not ready ({code})")


def _row(each: Running, state: str) -> tuple[str, str, str, str, str]:
    return each.name, state, str(each.mark.pid) if each.mark else "-", str(each.port), str(each.restarts)
