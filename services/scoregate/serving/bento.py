"""The door as a BentoML service: BentoML gives processes, packaging and images; the hot path is our own ASGI app.

Measured: a method under `@bentoml.api` costs 0.7-0.9 ms a call, a mounted ASGI app with BentoML's tracing, metrics and
access log off costs 0.1 ms.

BentoML imports a service twice, in the process that holds the socket and in the worker. Only the worker needs the
model's libraries, so the door is imported when the worker starts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import bentoml

if TYPE_CHECKING:
    from scoregate.serving.door import Door
    from scoregate.serving.http import Receive, Scope, Send

TRAFFIC_TIMEOUT_S = 5
"""BentoML keeps a timer and the request's context for this long after each request, answered or not: keep it short."""

_OURS_FIRST = frozenset(("/livez", "/readyz", "/metrics"))


class _LateDoor:
    """The ASGI app that is mounted: the door, once the worker has started. Nothing is served before that."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._door: Door | None = None

    async def start(self) -> None:
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

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        assert self._door is not None, "BentoML runs startup hooks before it serves"
        await self._door(scope, receive, send)


class _HealthFirst:
    """Sends the paths that BentoML would answer itself to the door: its readiness knows nothing of models."""

    def __init__(self, app: Any, door: _LateDoor) -> None:
        self._app, self._door = app, door

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        ours = scope["type"] == "http" and scope["path"] in _OURS_FIRST
        await (self._door if ours else self._app)(scope, receive, send)


def bento_service(package: str) -> Any:
    """Make the BentoML service of a folder; its name is the folder's, everywhere."""
    door = _LateDoor(package)

    class Scoring:
        @bentoml.on_startup  # type: ignore[untyped-decorator]
        async def start(self) -> None:
            await door.start()

        @bentoml.on_shutdown  # type: ignore[untyped-decorator]
        async def stop(self) -> None:
            await door.stop()

    service = bentoml.service(
        name=package,
        workers=1,
        traffic={"timeout": TRAFFIC_TIMEOUT_S},
        tracing={"excluded_urls": ".*"},
        logging={"access": {"enabled": False}},
        metrics={"enabled": False},
    )(Scoring)
    service.mount_asgi_app(door, path="/", name=package)
    service.add_asgi_middleware(_HealthFirst, door=door)
    # BentoML finds a service by the module that called it, which is this one; it is bound in the folder's.
    service._caller_module = f"{package}.service"
    return service
