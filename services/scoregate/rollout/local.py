"""The verbs on the local stack: a second process beside the stable one, and the gateway's weights.

    start     process → ready → weight          step      weight alone
    rollback  weight → process ends             promote   all to the canary → champion, stable anew → all to stable

Whoever goes back flips the weights before anything else and waits for nobody: neither for a process, nor for a verb
that is still at work. A verb that was waiting finds its canary gone and stops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from scoregate.errors import PROBLEM_BASE, ArtefactError
from scoregate.local import StackError, gateway
from scoregate.local.plan import Ports, ports, process_name, service_spec
from scoregate.local.routes import go_back, turn
from scoregate.local.state import Desired, ProcessSpec, Running, read_desired, read_status, write_desired
from scoregate.local.traefik import CANARY, HOST, STABLE
from scoregate.rollout import canary as records
from scoregate.rollout.canary import Canary
from scoregate.rollout.flip import leave
from scoregate.settings import Settings

READY_S: Final = 120.0
_REFUSED: Final = f"{PROBLEM_BASE}{ArtefactError.slug}"


class LocalRollout:
    """The canary of one service of the local stack. `who` and `why` stand in the journal with every action.

    What going back does not need is imported where it is used: a person waits for it.

    Raises:
        StackError: there is no such service.
    """

    def __init__(self, settings: Settings, service: str, *, who: str, why: str) -> None:
        from scoregate import catalog

        services = catalog.services()
        if service not in services:
            raise StackError(f"There is no service {service}; there are {', '.join(services)}.")
        self._settings, self.service, self._who, self._why = settings, service, who, why
        self._home = settings.home
        self._ports: Ports = ports(settings, services)

    @property
    def canary(self) -> Canary | None:
        return records.read(self._home, self.service)

    def start(self, model: str, weight_percent: int) -> Canary:
        """Start a canary of an artefact and, once it is ready, give it its share.

        Raises:
            StackError: nothing runs, there is one already, it does not become ready, or it was rolled back meanwhile.
        """
        _must_run(self._home)
        with turn(self._home, self.service):
            if self.canary is not None:
                raise StackError(f"{self.service} has a canary already, {self.canary.model}: roll it back first.")
            now_s = time.time()
            begun = Canary(self.service, model, 0, now_s, now_s, {}, self._who, self._why)
            records.write(self._home, begun)
            self._put(self._spec(model))
        self._note("start", begun)
        try:
            self._wait_until_ready(begun)
        except StackError as problem:
            self._end(begun, "abandon", str(problem).splitlines()[0])
            raise
        return self.step(weight_percent, of=begun)

    def step(
        self, weight_percent: int, *, of: Canary | None = None, verdict: Mapping[str, Any] | None = None
    ) -> Canary:
        """Change the canary's share; what is known of it is gathered anew from here.

        Raises:
            StackError: there is no canary, or another than `of`.
        """
        if not 0 < weight_percent <= 100:
            raise StackError(f"A canary's weight is between 1 and 100 percent, not {weight_percent}.")
        from scoregate.rollout.gathering import readings

        before = readings(self._settings, self.service)
        with turn(self._home, self.service):
            current = self._current(of)
            taken = replace(current, weight_percent=weight_percent, since_s=time.time(), before=before)
            records.write(self._home, taken)
            self._weigh(weight_percent)
        self._note("step", taken, verdict)
        return taken

    def rollback(self, verdict: Mapping[str, Any] | None = None, *, of: Canary | None = None) -> Canary:
        """Send everything to the stable process at once; then let the canary finish what it has, and end it.

        Raises:
            StackError: there is no canary, or another than `of`.
        """
        with turn(self._home, self.service):
            # The command has flipped the weights already, or an earlier one did and came no further.
            left = records.leaving(self._home, self.service) if of is None else None
            current = left or self._current(of)
            leave(self._home, self.service)
        self._note("rollback", replace(current, weight_percent=0), verdict)
        records.forget_leaving(self._home, self.service)
        self._drop_process()
        return current

    def promote(self, crown: Callable[[str], object], verdict: Mapping[str, Any] | None = None) -> Canary:
        """Make the canary's model the champion: the canary carries everything while the stable process starts anew.

        `crown` moves the champion; it is called with the model.

        Raises:
            StackError: there is no canary, it dies meanwhile, or the stable process does not become ready with it.
        """
        from scoregate.local.ready import probe

        _must_run(self._home)
        current = self.step(100, verdict=verdict)
        if probe(self._health(CANARY))[0] != 200:
            self.rollback(of=current)
            raise StackError(f"The canary of {self.service} is not ready: everything goes to the stable process.")
        crown(current.model)
        self._renew_stable()
        with turn(self._home, self.service):
            self._current(current)
            go_back(self._home, self.service)
            records.remove(self._home, self.service)
        self._note("promote", replace(current, weight_percent=0), verdict)
        self._drop_process()
        return current

    # Weights and records

    def _weigh(self, canary_percent: int) -> None:
        # The stable process may be a stand-in of its own just now.
        stable = gateway.read_ports(self._home, self.service).get(STABLE, self._ports.stable[self.service])
        arms = {STABLE: stable, CANARY: self._ports.canary[self.service]}
        weights = {STABLE: 100 - canary_percent, CANARY: canary_percent}
        gateway.write_service(self._home, self.service, arms, weights)

    def _current(self, expected: Canary | None) -> Canary:
        found = self.canary
        if found is None:
            raise StackError(f"{self.service} has no canary{' any more' if expected else ''}.")
        if expected is not None and found.started_s != expected.started_s:
            raise StackError(f"{self.service} has another canary by now, {found.model}.")
        return found

    def _note(self, action: str, canary: Canary, verdict: Mapping[str, Any] | None = None, why: str = "") -> None:
        records.note(
            self._home,
            self.service,
            action,
            who=self._who,
            why=why or self._why,
            model=canary.model,
            weight_percent=canary.weight_percent,
            verdict=verdict,
        )

    def _end(self, canary: Canary, action: str, why: str) -> None:
        """Take away a canary that never had a share, unless somebody already did."""
        with turn(self._home, self.service):
            found = self.canary
            if found is None or found.started_s != canary.started_s:
                return
            records.remove(self._home, self.service)
        self._note(action, canary, why=why)
        self._drop_process()

    # Processes

    def _health(self, arm: str) -> str:
        port = (self._ports.canary if arm == CANARY else self._ports.stable)[self.service]
        return f"http://{HOST}:{port}/readyz"

    def _spec(self, model: str) -> ProcessSpec:
        from scoregate.local.up import code_digest

        return service_spec(
            self._settings,
            self.service,
            arm=CANARY,
            port=self._ports.canary[self.service],
            revision=f"{model}-{code_digest()}",
            model_dir=self._settings.models(self.service) / model,
        )

    def _put(self, spec: ProcessSpec) -> None:
        before = read_desired(self._home)
        others = tuple(each for each in before.processes if each.name != spec.name)
        write_desired(self._home, replace(before, processes=(*others, spec)))

    def _drop_process(self) -> None:
        # Traefik follows within 0.1 s; what it sent until then the process finishes while it drains.
        time.sleep(0.2)
        before: Desired = read_desired(self._home)
        name = process_name(self.service, CANARY)
        write_desired(self._home, replace(before, processes=tuple(s for s in before.processes if s.name != name)))

    def _renew_stable(self) -> None:
        from scoregate.local.up import stable_spec

        spec = stable_spec(self._settings, self.service, self._ports, read_desired(self._home), again=1)
        self._put(spec)
        self._wait(spec, READY_S, lambda: True)

    def _wait_until_ready(self, begun: Canary) -> None:
        def still() -> bool:
            return (found := self.canary) is not None and found.started_s == begun.started_s

        self._wait(self._spec(begun.model), READY_S, still)

    def _wait(self, spec: ProcessSpec, timeout_s: float, still: Callable[[], bool]) -> None:
        """Wait until this very process is ready; `still` says whether anybody wants it."""
        from scoregate.local.ready import probe

        deadline_s = time.monotonic() + timeout_s
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
        raise StackError(f"{spec.name} is not ready after {timeout_s:g} s; see {spec.log}.")

    def _runs(self, spec: ProcessSpec) -> bool:
        status = read_status(self._home)
        found: Running | None = next((r for r in status.running if r.name == spec.name), None) if status else None
        return found is not None and found.spec == spec.digest and found.mark is not None


def _must_run(home: Path) -> None:
    from scoregate.local.supervisor import supervisor_of

    if supervisor_of(home) is None:
        raise StackError("Nothing runs: `make up` starts it.")
