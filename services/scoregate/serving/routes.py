"""Paths: a method and a template, which is also the label in metrics; the only place where a path is looked up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable

from scoregate.serving.http import Request, Response
from scoregate.telemetry.tracing import RequestTrace
from scoregate.values import frozen

Handler = Callable[[Request, RequestTrace], Awaitable[Response]]


@frozen
class Route:
    """A template may end in one `{name}`, which stands for a path's last segment."""

    method: str
    template: str
    handler: Handler
    traced: bool = True

    @property
    def stem(self) -> str:
        """What stands before the last segment's name; the whole template where there is none."""
        return self.template.partition("{")[0]


class Routes:
    """Finds the route of a path."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._exact = {route.template: route for route in routes}
        self._open = [route for route in self._exact.values() if route.stem != route.template]

    def find(self, path: str) -> Route | None:
        if found := self._exact.get(path):
            return found
        for route in self._open:
            if path.startswith(route.stem) and "/" not in path[len(route.stem) :]:
                return route
        return None
