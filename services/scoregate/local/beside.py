"""`scoregate gateway`: what stands beside a Traefik in a container: its files, the words of its refusals, its weights.

`serve` writes the files into the state folder, which is a volume that the gateway's container reads, and then answers
in its place where it refuses. `weigh` is run in the same container.
"""

from __future__ import annotations

import argparse
import asyncio
import signal
from collections.abc import Mapping, Sequence

from scoregate.errors import ScoregateError
from scoregate.local import gateway
from scoregate.local.plan import gateway_limits
from scoregate.local.problems import ProblemPages
from scoregate.local.routes import routes_dir, turn
from scoregate.local.traefik import CANARY, STABLE, Traces, shared_config, static_config
from scoregate.settings import Settings

EVERYWHERE = "0.0.0.0"  # noqa: S104  in a container: what reaches it is said by its networks
GATEWAY, METRICS, PROBLEMS = 8080, 8081, 8082
SERVICE = 3000
"""The port of the images."""


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `gateway` and its actions."""
    parser = verbs.add_parser("gateway", help="for a gateway in a container: its files and weights")
    actions = parser.add_subparsers(title="actions", metavar="ACTION", required=True)
    serve = actions.add_parser("serve", help="write the gateway's files, then answer where it refuses")
    serve.add_argument("services", nargs="+", metavar="SERVICE")
    serve.add_argument("--name", required=True, help="this container's, by which the gateway finds it")
    serve.add_argument("--stable", required=True, metavar="HOST", help="{service} and {number} stand for a container's")
    serve.add_argument("--replicas", type=int, default=1, help="how many there are of it")
    serve.add_argument("--canary", required=True, metavar="HOST", help="{service} stands for the canary's")
    serve.set_defaults(run=_serve)
    weigh = actions.add_parser("weigh", help="share a service's requests between its arms, in effect within 0.1 s")
    weigh.add_argument("service")
    weigh.add_argument("canary", type=int, metavar="PERCENT", help="of the canary; 0 leads everything back to stable")
    weigh.set_defaults(run=_weigh)


def _serve(arguments: argparse.Namespace) -> int:
    settings = Settings()
    _write(settings, arguments.name)
    for service in arguments.services:
        places = hosts(service, arguments.stable, arguments.replicas, arguments.canary)
        gateway.write_service(settings.home, service, dict.fromkeys(places, SERVICE), hosts=places)
    asyncio.run(_answer(settings))
    return 0


def hosts(service: str, stable: str, replicas: int, canary: str) -> Mapping[str, Sequence[str]]:
    """Return where each arm's processes are."""
    numbers = range(1, replicas + 1)
    return {
        STABLE: [stable.format(service=service, number=number) for number in numbers],
        CANARY: [canary.format(service=service)],
    }


def _write(settings: Settings, name: str) -> None:
    """Write what all routes share; a weight that somebody set stays."""
    limits = gateway_limits(settings)
    url = settings.otlp_url
    traces = None if url is None else Traces(url, settings.sampled_share, settings.otlp_protocol)
    routes = routes_dir(settings.home)
    static = static_config(routes, port=GATEWAY, host=EVERYWHERE, metrics_port=METRICS, traces=traces, limits=limits)
    # The container's own health check asks there.
    gateway.write_static(settings.home, static | {"ping": {"entryPoint": "metrics"}})
    gateway.write_shared(settings.home, shared_config(problems_port=PROBLEMS, problems_host=name, limits=limits))


async def _answer(settings: Settings) -> None:
    """Answer until SIGTERM."""
    told = asyncio.Event()
    for each in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(each, told.set)
    pages = ProblemPages(host=EVERYWHERE, port=PROBLEMS, max_body_bytes=settings.max_body_bytes)
    await pages.start()
    await told.wait()
    await pages.close()


def _weigh(arguments: argparse.Namespace) -> int:
    home, service, percent = Settings().home, arguments.service, arguments.canary
    with turn(home, service):
        try:
            gateway.set_weights(home, service, stable=100 - percent, canary=percent)
        except ValueError as problem:
            raise ScoregateError(str(problem)) from None
    print(f"{service}: {percent} % to the canary, {100 - percent} % to stable")
    return 0
