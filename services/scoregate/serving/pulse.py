"""The heartbeat of a process: how late the event loop is, and what is said of the process now and then."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from scoregate.errors import Overloaded
from scoregate.serving.admission import Admission
from scoregate.serving.health import Health
from scoregate.telemetry.metrics import Metrics

BEAT_S = 0.1


class Pulse:
    """Beats while the process lives, and calls `follow`. A late beat is what every request meanwhile has waited."""

    def __init__(self, health: Health, admission: Admission, metrics: Metrics, follow: Callable[[], None]) -> None:
        self._health, self._admission, self._metrics, self._follow = health, admission, metrics, follow

    def start(self) -> None:
        self._beating = asyncio.create_task(self._beat())

    def stop(self) -> None:
        self._beating.cancel()

    async def _beat(self) -> None:
        while True:
            due_s = time.monotonic() + BEAT_S
            await asyncio.sleep(BEAT_S)
            self._metrics.loop_lag(max(time.monotonic() - due_s, 0.0))
            self._follow()
            self._count_refused()
            self._metrics.flush()
            self._metrics.held(self._admission.in_flight, self._admission.bound.places)
            self._metrics.waiting("batch-rows", self._admission.lane.rows)
            if (ready := self._health.ready) is not None:
                self._metrics.waiting("outbox", ready.relay.waiting)
                self._metrics.condition(degraded=bool(self._health.without(ready)), breaker=ready.breaker.is_open)

    def _count_refused(self) -> None:
        """What was refused unparsed is counted here: a look at a clock and two counters would double its cost."""
        refused, self._admission.refused = self._admission.refused, 0
        if refused:
            self._metrics.shed(Overloaded.slug, refused)
