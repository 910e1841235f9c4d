"""`scoregate up`: from whatever is there to a stack that answers, each step only where it is needed."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import psutil
from rich.console import Console

from scoregate import catalog
from scoregate.local import StackError, gateway, preflight, spans, table
from scoregate.local.champions import champion_of, example_of, shadow_of
from scoregate.local.credentials import demo_key_file, ensure_credentials
from scoregate.local.plan import (
    Ports,
    certificate,
    gateway_limits,
    gateway_spec,
    ports,
    process_name,
    service_spec,
    worker_spec,
)
from scoregate.local.processes import alive
from scoregate.local.progress import Progress
from scoregate.local.ready import last_lines, wait_for, wait_until_ready
from scoregate.local.routes import routes_dir
from scoregate.local.state import Desired, ProcessSpec, Stage, read_desired, read_status, run_dir, write_desired
from scoregate.local.supervisor import end_leftovers, start_supervisor, supervisor_of
from scoregate.local.traefik import CANARY, HOST, STABLE, Traces, shared_config, static_config
from scoregate.local.valkey import answers, valkey_spec
from scoregate.settings import ROOT, Settings

STORE_S = 60.0
READY_S = 180.0


def up(settings: Settings, console: Console) -> int:
    progress = Progress(console)
    services = catalog.services()
    planned = ports(settings, services)
    with progress.step("check this machine"):
        _check(settings, services, planned)
    key = ensure_credentials(settings)
    with progress.step("online store"):
        _start_store(settings, planned)
    if all(champion_of(settings, name) for name in services):
        # Warm: they load while the features are brought up to now, and say what is stale until then.
        _start_services(settings, services, planned)
    with progress.step("features"):
        _prepare_features(settings, progress)
    for service in services:
        if champion_of(settings, service) is None:
            with progress.step(f"train {service}"):
                _train(settings, service, progress)
    with progress.step("services and gateway"):
        _start_services(settings, services, planned)
        wait_until_ready(settings.home, settings.gateway_url, services, timeout_s=READY_S, note=progress.note)
    console.print()
    table.show_services(console, settings.gateway_url, {name: champion_of(settings, name) for name in services})
    examples = {name: example_of(settings, name, catalog.part(name, "contract").EXAMPLE) for name in services}
    table.show_ways_in(console, settings.gateway_url, key, examples, demo_key_file(settings.home))
    return 0


def _check(settings: Settings, services: list[str], planned: Ports) -> None:
    preflight.check_services(services)
    preflight.check_disk(settings.home, cold=any(champion_of(settings, name) is None for name in services))
    preflight.check_libraries()
    if supervisor_of(settings.home) is None:
        end_leftovers(settings.home)
    preflight.check_ports(planned, _our_pids(settings.home))


def _our_pids(home: Path) -> set[int]:
    status = read_status(home)
    if status is None:
        return set()
    marks = [status.supervisor, *(each.mark for each in status.running if each.mark)]
    found: set[int] = set()
    for process in filter(None, map(alive, marks)):
        with contextlib.suppress(psutil.Error):
            found |= {process.pid, *(child.pid for child in process.children(recursive=True))}
    return found


def _start_store(settings: Settings, planned: Ports) -> None:
    """Start the supervisor with the store alone, or see to it that a running one has it."""
    store = () if planned.store is None else (valkey_spec(settings.home, planned.store),)
    running = supervisor_of(settings.home) is not None
    others = tuple(spec for spec in read_desired(settings.home).processes if spec.stage is not Stage.STORE)
    write_desired(settings.home, _desired(settings, planned, (*store, *(others if running else ()))))
    if not running:
        start_supervisor(settings.home)
    if planned.store is not None:
        port = planned.store
        log = run_dir(settings.home) / "valkey.log"
        wait_for("The online store", lambda: answers(port), log=log, timeout_s=STORE_S)


def _prepare_features(settings: Settings, progress: Progress) -> None:
    """Feast and its friends print much and take seconds to import: into a file, and only here."""
    with _output_to(run_dir(settings.home) / "features.log"):
        import_module("scoregate.training.prepare").features(settings, progress.note)


def _train(settings: Settings, service: str, progress: Progress) -> None:
    """In a process of its own, so that its memory comes back."""
    log = run_dir(settings.home) / f"train-{service}.log"
    command = [sys.executable, "-m", "scoregate", "train", service]
    with (
        log.open("w") as output,
        subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT
        ) as trainer,
    ):
        assert trainer.stdout is not None
        try:
            for line in trainer.stdout:
                output.write(line)
                if line.strip():
                    progress.note(line)
        except BaseException:
            trainer.terminate()
            raise
    code = trainer.returncode
    trained = champion_of(settings, service)
    if code or trained is None:
        raise StackError(untrained(service, code, log))
    progress.note(f"model {trained.version}, {trained.metric}")


def untrained(service: str, code: int, log: Path) -> str:
    """Say why there is no model to serve: training broke, or ended well with a model that a gate refused."""
    if code:
        return f"{service} could not be trained (exit code {code}); the end of {log}:\n{last_lines(log)}"
    return (
        f"{last_lines(log, 1).strip()}.\nOnly a model whose gates passed is served. Read the report, mend the data or "
        f"the bound and its reason in services/{service}/gates.toml, then start again; all of it is in {log}"
    )


def _start_services(settings: Settings, services: list[str], planned: Ports) -> None:
    home, before = settings.home, read_desired(settings.home)
    limits, secured = gateway_limits(settings), certificate(settings)
    config = static_config(
        routes_dir(home),
        port=planned.gateway,
        metrics_port=planned.metrics,
        traces=_traces(settings, planned),
        limits=limits,
        certificate=secured,
    )
    revision = gateway.write_static(home, config)
    gateway.write_shared(home, shared_config(problems_port=planned.problems, limits=limits, certificate=secured))
    gateway.remove_other_routes(home, services)
    store = tuple(spec for spec in before.processes if spec.stage is Stage.STORE)
    canaries = tuple(spec for spec in (before.spec(process_name(name, CANARY)) for name in services) if spec)
    stable = tuple(stable_spec(settings, name, planned, before) for name in services)
    for name in services:
        arms = {STABLE: planned.stable[name]}
        if canary := before.spec(process_name(name, CANARY)):
            arms[CANARY] = canary.port
        gateway.write_service(home, name, arms)
    worker = worker_of(settings, planned, before)
    front = gateway_spec(home, port=planned.gateway, revision=revision, asked=_asked(before, "gateway"))
    write_desired(home, _desired(settings, planned, (*store, worker, *stable, *canaries, front)))


def _traces(settings: Settings, planned: Ports) -> Traces | None:
    """To the receiver that was named; without one to the supervisor, for `scoregate trace`."""
    if settings.otel_disabled:
        return None
    if settings.otlp_url is None:
        return Traces(f"http://{HOST}:{planned.problems}{spans.PATH}", settings.sampled_share)
    return Traces(settings.otlp_url, settings.sampled_share, settings.otlp_protocol)


def worker_of(settings: Settings, planned: Ports, before: Desired, *, again: int = 0) -> ProcessSpec:
    """The worker with the code and registry of now; `again` asks for so many restarts more."""
    revision = f"{code_digest()}-{_registry_digest(settings)}"
    return worker_spec(settings, port=planned.worker, revision=revision, asked=_asked(before, "worker") + again)


def stable_spec(settings: Settings, service: str, planned: Ports, before: Desired, *, again: int = 0) -> ProcessSpec:
    """The stable process of now's champion, code and registry; `again` asks for so many restarts more."""
    champion, shadow = champion_of(settings, service), shadow_of(settings, service)
    return service_spec(
        settings,
        service,
        arm=STABLE,
        port=planned.stable[service],
        revision=f"{champion.version if champion else 'none'}-{code_digest()}-{_registry_digest(settings)}",
        asked=_asked(before, process_name(service, STABLE)) + again,
        shadow_dir=shadow,
    )


def stand_in_spec(settings: Settings, service: str, planned: Ports) -> ProcessSpec:
    """What serves while the stable process of a service is started anew; its arm is stable too."""
    spec = stable_spec(settings, service, planned, Desired())
    return service_spec(
        *(settings, service),
        arm=STABLE,
        port=planned.stand_in,
        revision=spec.revision,
        shadow_dir=shadow_of(settings, service),
        name=f"{service}-stand-in",
    )


def code_digest(root: Path = ROOT / "services") -> str:
    """Changes when a file of the library or of a service does, so that `up` brings edited code into service."""
    files = sorted(path for pattern in ("*.py", "*.toml") for path in root.rglob(pattern))
    stamps = [f"{path.relative_to(root)} {path.stat().st_mtime_ns} {path.stat().st_size}" for path in files]
    return hashlib.sha256("\n".join(stamps).encode()).hexdigest()[:12]


def _registry_digest(settings: Settings) -> str:
    """A service compares itself with the registry when it starts: one that was applied anew starts it again."""
    try:
        return hashlib.sha256(settings.registry_path.read_bytes()).hexdigest()[:12]
    except OSError:
        return "none"


def _asked(before: Desired, name: str) -> int:
    spec = before.spec(name)
    return spec.asked if spec else 0


def _desired(settings: Settings, planned: Ports, processes: tuple[ProcessSpec, ...]) -> Desired:
    return Desired(processes, planned.problems, settings.max_body_bytes)


@contextlib.contextmanager
def _output_to(log: Path) -> Iterator[None]:
    with log.open("w") as output, contextlib.redirect_stdout(output), contextlib.redirect_stderr(output):
        yield
