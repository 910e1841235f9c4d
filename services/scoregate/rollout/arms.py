"""The processes behind a service's arms on the local stack: the canary's own, and the stable one."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from scoregate.errors import PROBLEM_BASE, ArtefactError
from scoregate.local import StackError
from scoregate.local.champions import shadow_file
from scoregate.local.plan import Ports, process_name, service_spec
from scoregate.local.state import (
    ProcessSpec,
    read_desired,
    read_status,
    write_atomically,
    write_desired,
)
from scoregate.local.traefik import CANARY, HOST
from scoregate.settings import Settings

READY_S: Final = 120.0
_REFUSED: Final = f"{PROBLEM_BASE}{ArtefactError.slug}"


class Arms:
    """What going back does not need is imported where it is used: a person waits for it."""

    def __init__(self, settings: Settings, service: str, planned: Ports) -> None:
        self._settings, self._service, self._ports = settings, service, planned
        self._home: Path = settings.home

    # The canary's process

    def begin_canary(self, model: str) -> None:
        self._put(self._canary_spec(model))

    def wait_for_canary(self, model: str, still: Callable[[], bool]) -> None:
        """Wait until it is ready, as long as `still` says that somebody wants it.

        Raises:
            StackError: nobody does any more, or it does not become ready.
        """
        self._wait(self._canary_spec(model), still)

    def canary_is_ready(self) -> bool:
        from scoregate.local.ready import probe

        return probe(f"http://{HOST}:{self._ports.canary[self._service]}/readyz")[0] == 200

    def end_canary(self) -> None:
        # Traefik follows within 0.1 s; what it sent until then the process finishes while it drains.
        time.sleep(0.2)
        before, name = read_desired(self._home), process_name(self._service, CANARY)
        write_desired(self._home, replace(before, processes=tuple(s for s in before.processes if s.name != name)))

    # The stable process

    def renew_stable(self) -> None:
        """Start it anew in its place: for when it gets no requests."""
        from scoregate.local.up import stable_spec

        spec = stable_spec(self._settings, self._service, self._ports, read_desired(self._home), again=1)
        self._put(spec)
        self._wait(spec, lambda: True)

    def check_shadow(self, model: str) -> None:
        """Raises StackError when a model cannot look on while the champion decides."""
        from scoregate.models.artefact import Artefact, champion
        from scoregate.scoring.shadow import Shadow

        models = self._settings.models(self._service)
        try:
            Shadow.beside(Artefact.load(champion(models)), Artefact.load(models / model))
        except ArtefactError as problem:
            raise StackError(f"{model} cannot look on: {problem.detail}.") from None

    def shadow(self, model: str | None) -> None:
        """Start the stable process anew with this model beside the champion, or with none; no request is lost."""
        from scoregate.local.restart import renew_service

        file = shadow_file(self._settings, self._service)
        if model is None:
            file.unlink(missing_ok=True)
        else:
            write_atomically(file, model)
        renew_service(self._settings, self._service)

    # Both

    def _canary_spec(self, model: str) -> ProcessSpec:
        from scoregate.local.up import code_digest

        return service_spec(
            self._settings,
            self._service,
            arm=CANARY,
            port=self._ports.canary[self._service],
            revision=f"{model}-{code_digest()}",
            model_dir=self._settings.models(self._service) / model,
        )

    def _put(self, spec: ProcessSpec) -> None:
        before = read_desired(self._home)
        others = tuple(each for each in before.processes if each.name != spec.name)
        write_desired(self._home, replace(before, processes=(*others, spec)))

    def _wait(self, spec: ProcessSpec, still: Callable[[], bool]) -> None:
        """Wait until this very process is ready."""
        from scoregate.local.ready import probe

        deadline_s = time.monotonic() + READY_S
        assert spec.health_url is not None
        while time.monotonic() < deadline_s:
            if not still():
                raise StackError(f"{spec.name} was taken back before it was ready.")
            if self._runs(spec):
                status, body = probe(spec.health_url)
                if status == 200:
                    return
                if status == 503 and _REFUSED in body:
                    raise StackError(f"{spec.name} will not become ready: {body.strip()}")
            time.sleep(0.05)
        raise StackError(f"{spec.name} is not ready after {READY_S:g} s; see {spec.log}.")

    def _runs(self, spec: ProcessSpec) -> bool:
        status = read_status(self._home)
        found = next((r for r in status.running if r.name == spec.name), None) if status else None
        return found is not None and found.spec == spec.digest and found.mark is not None
