"""Counts in a real Prometheus equal what was sent: two workers a service, and a second arm that starts and stops.

    python loadtest/counts.py --home /tmp/counts --json

Starts a stack of its own in --home and Debian's `prometheus`, which scrapes every process each second. Sends requests
to each service before, while and after a canary of fraud takes a share; then asks Prometheus. A series that is gone
counts with its last value. The home has two models of fraud. The exit code is 1 when a sum is not what was sent.
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import json
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ownstack import Own, own_stack

from scoregate import catalog
from scoregate.local.plan import ports
from scoregate.telemetry import names

CANARY_OF = "fraud"
SETTLED_S = 4.0
"""Several scrapes."""


class Prometheus:
    """A server of its own, with its data in a folder that goes with it."""

    def __init__(self, url: str) -> None:
        self.url = url

    def value(self, query: str) -> float:
        asked = urllib.parse.urlencode({"query": query})
        with urllib.request.urlopen(f"{self.url}/api/v1/query?{asked}", timeout=10) as answer:  # noqa: S310
            found: list[Any] = json.load(answer)["data"]["result"]
        return float(found[0]["value"][1]) if found else 0.0


@contextlib.contextmanager
def prometheus(program: str, targets: list[str]) -> Iterator[Prometheus]:
    with socket.create_server(("127.0.0.1", 0)) as held:
        port = held.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "prometheus.yml"
        scrape = {"job_name": "scoregate", "scrape_interval": "1s", "static_configs": [{"targets": targets}]}
        config.write_text(json.dumps({"global": {"evaluation_interval": "5s"}, "scrape_configs": [scrape]}))
        options = [
            f"--config.file={config}",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ]
        with (Path(folder) / "log").open("wb") as log:
            process = subprocess.Popen([program, *options], stdout=log, stderr=log)
        try:
            _wait(port)
            yield Prometheus(f"http://127.0.0.1:{port}")
        finally:
            process.terminate()
            process.wait(30)


def _wait(port: int) -> None:
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/-/ready", timeout=2):
            return
        time.sleep(0.2)
    raise RuntimeError("Prometheus does not become ready")


class Sender:
    """Sends requests to the gateway, and counts them; each over a connection of its own, so that workers take turns."""

    def __init__(self, own: Own) -> None:
        self._own = own
        self._bodies = {name: own.bodies(name) for name in catalog.services()}
        self.sent = dict.fromkeys(catalog.services(), 0)
        self.other = 0

    def send(self, service: str, count: int) -> None:
        headers = {"authorization": f"Bearer {self._own.key}", "content-type": "application/json"}
        for _ in range(count):
            connection = http.client.HTTPConnection("127.0.0.1", self._own.settings.gateway_port, timeout=30)
            connection.request("POST", f"/v1/{service}/score", self._bodies[service](), headers)
            answer = connection.getresponse()
            answer.read()
            connection.close()
            self.sent[service] += 1
            self.other += answer.status != 200


def asked(service: str) -> dict[str, str]:
    """Sums over all series of what one request adds one to."""
    route = f'service="{service}", route="/v1/{service}/score"'
    stage = f'service="{service}", stage="{names.SPAN_LEDGER}"'
    counters = {
        "requests": f'{names.REQUESTS}_total{{{route}, status="200"}}',
        "times": f"{names.REQUEST_SECONDS}_count{{{route}}}",
        "times up to the last bucket": f'{names.REQUEST_SECONDS}_bucket{{{route}, le="+Inf"}}',
        "decisions": f'{names.DECISIONS}_total{{service="{service}"}}',
        "appends": f"{names.STAGE_SECONDS}_count{{{stage}}}",
    }
    return {name: f"sum(max_over_time({counter}[1h]))" for name, counter in counters.items()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--requests", type=int, default=300, help="per service and phase, of which there are three")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if (program := shutil.which("prometheus")) is None:
        parser.error("Debian's `prometheus` is not here")
    with own_stack(arguments.home, WORKERS="2") as own:
        planned = ports(own.settings, catalog.services())
        targets = [f"127.0.0.1:{port}" for port in (*planned.stable.values(), planned.canary[CANARY_OF])]
        with prometheus(program, targets) as server:
            sender = Sender(own)
            _phases(own, sender, arguments.requests)
            time.sleep(SETTLED_S)
            found = {
                service: {name: server.value(query) for name, query in asked(service).items()}
                for service in sender.sent
            }
            arms = server.value(
                f'count(count by (arm) (max_over_time({names.DECISIONS}_total{{service="fraud"}}[1h])))'
            )
    result = {"sent": sender.sent, "not 200": sender.other, "arms of fraud": arms, "found": found}
    print(json.dumps(result) if arguments.json else result)
    equal = all(value == sender.sent[service] for service, values in found.items() for value in values.values())
    return int(not equal or sender.other > 0 or arms != 2)


def _other_model(own: Own) -> str:
    """Return one that is not the champion.

    Raises:
        LookupError: there is none.
    """
    folder = own.settings.models(CANARY_OF)
    served = (folder / "champion").read_text().strip()
    for path in folder.iterdir():
        if path.is_dir() and path.name != served:
            return path.name
    raise LookupError(f"{folder} has one model: `scoregate train {CANARY_OF}` makes another, once a day has passed")


def _phases(own: Own, sender: Sender, requests: int) -> None:
    """Before, beside and after a second arm."""
    for phase in ("before", "beside", "after"):
        if phase == "beside":
            version = _other_model(own)
            own.scoregate("models", "promote", CANARY_OF, version, "--approver", "counts", "--reason", "rehearsal")
            own.scoregate("canary", "start", CANARY_OF, "--weight", "50")
        if phase == "after":
            time.sleep(SETTLED_S)
            own.scoregate("canary", "rollback", CANARY_OF, "--why", "rehearsal")
        for service in sender.sent:
            sender.send(service, requests)


if __name__ == "__main__":
    sys.exit(main())
