"""The door as a BentoML service: BentoML gives processes, packaging and images; the hot path is our own ASGI app.

Measured: a method under `@bentoml.api` costs 0.7-0.9 ms a call, an app mounted with BentoML's tracing, metrics and
access log off still 0.1 ms, and a timer with the request's context for as long as its traffic timeout, answered or not.
So requests go to the door, and BentoML is told of the process's life alone.

BentoML imports a service twice, in the process that holds the socket and in the worker. Only the worker needs the
model's libraries, so the door is imported when the worker starts.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import bentoml

from scoregate.settings import Settings

if TYPE_CHECKING:
    from scoregate.serving.door import Door
    from scoregate.serving.http import Receive, Scope, Send


SWITCH_S = 0.0005
"""How long the ledger's thread may keep the interpreter from the loop: by default ten times as long, which is what the
slowest answers were made of (at half load p99 16 ms, and 12 with this)."""


class _LateDoor:
    """The door, once the worker has started. Nothing is served before that."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._door: Door | None = None

    async def start(self) -> None:
        sys.setswitchinterval(SWITCH_S)
        from scoregate import catalog
        from scoregate.serving.door import Door
        from scoregate.serving.events import event_code

        contract = catalog.part(self._service, "contract")
        features = catalog.part(self._service, "features")
        # The house test holds the modules to these protocols.
        self._door = Door(self._service, contract, features, event_code(self._service))  # type: ignore[arg-type]
        await self._door.start()

    async def stop(self) -> None:
        if self._door is not None:
            await self._door.stop()

    def refusal(self, data: bytes, running: int) -> bytes | None:
        """See `Shedding`."""
        return None if self._door is None else self._door.shedding.refusal(data, running)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._door is not None, "BentoML runs startup hooks before it serves"
        await self._door(scope, receive, send)


class _DoorFirst:
    """The app of a worker: requests to the door, its life to BentoML."""

    def __init__(self, app: Any, door: _LateDoor) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await (self._door if scope["type"] == "http" else self._app)(scope, receive, send)


class _DoorService(bentoml.Service[Any]):  # type: ignore[misc]  # BentoML is untyped here
    """A service whose inner class has the door."""

    def to_asgi(self, is_main: bool = True) -> Any:
        from scoregate.serving import protocol

        # The worker calls this just before it configures its server, which it gives no word about protocols.
        protocol.use(self.inner.door.refusal)
        return _DoorFirst(super().to_asgi(is_main), self.inner.door)


def bento_service(package: str) -> Any:
    """Make the BentoML service of a folder; its name is the folder's, everywhere."""

    class Scoring:
        door = _LateDoor(package)

        @bentoml.on_startup  # type: ignore[untyped-decorator]
        async def start(self) -> None:
            await self.door.start()

        @bentoml.on_shutdown  # type: ignore[untyped-decorator]
        async def stop(self) -> None:
            await self.door.stop()

    workers = Settings().workers
    service = bentoml.service(name=package, workers=workers, metrics={"enabled": False}, service_class=_DoorService)(
        Scoring
    )
    # BentoML finds a service by the module that called it, which is this one; it is bound in the folder's.
    service._caller_module = f"{package}.service"
    return service
