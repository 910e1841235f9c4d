"""The verbs on a Helm release: the same words as on the local stack, and the weights of its HTTPRoute.

What begins and ends pods is Helm: a canary is there once `canary.tag`, `.digest` or `.model` is set, and gets its share
from here only when its pods are ready. Whoever goes back flips the weights before anything is read.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from scoregate.errors import ScoregateError
from scoregate.local.traefik import CANARY
from scoregate.rollout import canary as records
from scoregate.rollout import pods, route
from scoregate.rollout.canary import Canary
from scoregate.rollout.kubectl import Kubectl

TRIES = 3
"""Somebody else may write to the route between its reading and its patch."""


class KubeRollout:
    """The canary of one service of a release. `who` and `why` stand in the route's journal with every action.

    Raises:
        ScoregateError: there is no kubectl, or the cluster refuses.
    """

    def __init__(self, service: str, *, release: str, namespace: str | None, who: str, why: str) -> None:
        self.service, self._release, self._namespace = service, release, namespace
        self._who, self._why = who, why
        self._name = route.route_name(release, service)
        self._kubectl = Kubectl(namespace)

    @property
    def canary(self) -> Canary | None:
        return route.canary_of(self._kubectl.route(self._name))

    def status(self) -> tuple[Canary | None, Mapping[str, int], list[dict[str, Any]]]:
        """Return which canary there is, the weights that the route really has, and the journal."""
        found = self._kubectl.route(self._name)
        return route.canary_of(found), route.weights(found), route.journal_of(found)

    def start(self, weight_percent: int) -> Canary:
        """Give the release's canary its share, or another one; it is judged anew from here.

        Raises:
            ScoregateError: the release has no canary, or its pods are not ready.
        """
        if not 0 < weight_percent <= 100:
            raise ScoregateError(f"A canary's weight is between 1 and 100 percent, not {weight_percent}")
        runs, earlier, now_s = self._running(), self.canary, time.time()
        started_s = earlier.started_s if earlier else now_s
        taken = Canary(self.service, str(runs), weight_percent, started_s, now_s, {}, self._who, self._why)
        self._write(taken, "step" if earlier else "start")
        return taken

    def rollback(self, verdict: Mapping[str, Any] | None = None) -> Canary | None:
        """Send everything to the stable pods at once, then say so in the journal; the canary's pods stay and drain."""
        try:
            self._kubectl.patch_route(self._name, route.usual_flip(self._name))
        except ScoregateError:
            # A route of another shape than the chart's, or no canary in it.
            found = self._kubectl.route(self._name)
            if not (patch := route.weighed(found, 0)):
                raise ScoregateError(f"the route {self._name} has no canary") from None
            self._kubectl.patch_route(self._name, patch)
        gone = self.canary
        nothing = gone or Canary(self.service, "unknown", 0, 0.0, 0.0, {}, self._who, self._why)
        self._write(replace(nothing, weight_percent=0), "rollback", verdict)
        return gone

    def promotion(self) -> list[str]:
        """Return the Helm commands that make the canary stable."""
        return pods.promotion(self._running(), self._release, self.service, self._namespace)

    def _running(self) -> pods.Running:
        labels = {
            "app.kubernetes.io/instance": self._release,
            "app.kubernetes.io/component": self.service,
            "scoregate.dev/arm": CANARY,
        }
        found = self._kubectl.pods(**labels)
        if not found:
            raise ScoregateError(
                f"the release {self._release} has no canary of {self.service}: "
                f"`helm upgrade … --set services.{self.service}.canary.tag=TAG` begins its pods"
            )
        if not pods.ready(found):
            raise ScoregateError(f"the canary's pods of {self.service} are not ready, so it gets no requests")
        return pods.running(found, self.service)

    def _write(self, canary: Canary, action: str, verdict: Mapping[str, Any] | None = None) -> None:
        """Change weights and notes by one patch, and give the rules back; a canary without weight is none any more."""
        done = records.action(action, canary, who=self._who, why=self._why, verdict=verdict)

        def changes(found: route.Route) -> route.Patch:
            weights = route.weighed(found, canary.weight_percent)
            if not weights:
                raise ScoregateError(f"the route {self._name} has no canary")
            return [*weights, *route.noted(found, canary if canary.weight_percent else None, done)]

        self._patch(changes)
        try:
            self._patch(route.given_back)
        except ScoregateError as problem:
            raise ScoregateError(
                f"The weights are changed, but not given back: the next `helm upgrade` or `helm rollback` needs "
                f"--force-conflicts ({problem})"
            ) from None

    def _patch(self, changes: Callable[[route.Route], route.Patch]) -> None:
        """Change the route as it is; anew if somebody else wrote to it meanwhile."""
        for left in reversed(range(TRIES)):
            patch = changes(self._kubectl.route(self._name))
            try:
                return self._kubectl.patch_route(self._name, patch) if patch else None
            except ScoregateError:
                if not left:
                    raise
        raise AssertionError("the last try returns or raises")
