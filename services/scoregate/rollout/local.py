"""The verbs on the local stack: a second process beside the stable one, and the gateway's weights.

    start     process → ready → weight          step      weight alone
    shadow    stable anew, with another model beside the champion
    rollback  weight → process ends             promote   all to the canary → champion, stable anew → all to stable

Whoever goes back flips the weights before anything else and waits for nobody: neither for a process, nor for a verb
that is still at work. A verb that was waiting finds its canary gone and stops.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from scoregate.local import StackError, gateway
from scoregate.local.plan import Ports, ports
from scoregate.local.routes import go_back, turn
from scoregate.local.traefik import CANARY, STABLE
from scoregate.rollout import canary as records
from scoregate.rollout.arms import Arms
from scoregate.rollout.canary import Canary
from scoregate.rollout.flip import leave
from scoregate.settings import Settings


class LocalRollout:
    """The canary of one service of the local stack. `who` and `why` stand in the journal with every action.

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
        self._arms = Arms(settings, service, self._ports)

    @property
    def canary(self) -> Canary | None:
        return records.read(self._home, self.service)

    def start(self, model: str, weight_percent: int) -> Canary:
        """Start a canary of an artefact and, once it is ready, give it its share.

        Raises:
            StackError: nothing runs, there is one already, it does not become ready, or it was rolled back meanwhile.
        """
        with turn(self._home, self.service):
            self.check_free()
            now_s = time.time()
            begun = Canary(self.service, model, 0, now_s, now_s, {}, self._who, self._why)
            records.write(self._home, begun)
            self._arms.begin_canary(model)
        self._note("start", begun)
        with self._abandoned_if_it_fails(begun):
            self._arms.wait_for_canary(model, lambda: self._is_still(begun))
        return self.step(weight_percent, of=begun)

    def check_free(self) -> None:
        """Require a stack that runs, and no canary.

        Raises:
            StackError: it is otherwise.
        """
        _must_run(self._home)
        if self.canary is not None:
            raise StackError(f"{self.service} has a canary already, {self.canary.model}: roll it back first.")

    def shadow(self, model: str) -> Canary:
        """Let the stable process, started anew, score a model beside the champion.

        Raises:
            StackError: nothing runs, there is a canary already, or the model cannot look on.
        """
        with turn(self._home, self.service):
            self.check_free()
            self._arms.check_shadow(model)
            now_s = time.time()
            begun = Canary(self.service, model, 0, now_s, now_s, {}, self._who, self._why, shadow=True)
            records.write(self._home, begun)
        self._note("shadow", begun)
        with self._abandoned_if_it_fails(begun):
            self._arms.shadow(model)
        return begun

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
            _answers(current)
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
        self._end(current)
        return current

    def promote(self, crown: Callable[[str], object], verdict: Mapping[str, Any] | None = None) -> Canary:
        """Make the canary's model the champion: the canary carries everything while the stable process starts anew.

        `crown` moves the champion; it is called with the model.

        Raises:
            StackError: there is no canary, it dies meanwhile, or the stable process does not become ready with it.
        """
        _must_run(self._home)
        current = self.step(100, verdict=verdict)
        if not self._arms.canary_is_ready():
            self.rollback(of=current)
            raise StackError(f"The canary of {self.service} is not ready: everything goes to the stable process.")
        crown(current.model)
        self._arms.renew_stable()
        with turn(self._home, self.service):
            self._current(current)
            go_back(self._home, self.service)
            records.remove(self._home, self.service)
        self._note("promote", replace(current, weight_percent=0), verdict)
        self._arms.end_canary()
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
        done = records.action(action, canary, who=self._who, why=why or self._why, verdict=verdict)
        records.note(self._home, done)

    def _is_still(self, canary: Canary) -> bool:
        return (found := self.canary) is not None and found.started_s == canary.started_s

    @contextmanager
    def _abandoned_if_it_fails(self, begun: Canary) -> Iterator[None]:
        """Take away a canary that never had a share, unless somebody already did."""
        try:
            yield
        except (StackError, TimeoutError) as problem:
            with turn(self._home, self.service):
                if is_ours := self._is_still(begun):
                    records.remove(self._home, self.service)
            if is_ours:
                self._note("abandon", begun, why=str(problem).splitlines()[0])
                self._end(begun)
            raise

    def _end(self, canary: Canary) -> None:
        if canary.shadow:
            self._arms.shadow(None)
        else:
            self._arms.end_canary()


def _answers(canary: Canary) -> None:
    if canary.shadow:
        raise StackError(f"{canary.model} is a shadow and answers nobody: roll it back, then start it with a weight.")


def _must_run(home: Path) -> None:
    from scoregate.local.supervisor import supervisor_of

    if supervisor_of(home) is None:
        raise StackError("Nothing runs: `make up` starts it.")
