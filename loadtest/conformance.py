"""Requests generated from the OpenAPI documents of the running stack, through the gateway: each answer must conform.

    make up && python loadtest/conformance.py --requests 10000 --json

Schemathesis makes requests that a document allows and requests that it does not (examples, boundaries, random ones),
and checks every answer: no server error, a documented status, media type, headers and schema, what is not allowed
refused, what is allowed accepted, no way past the key, 405 with Allow. All of its checks are on, with one status
granted: 504, the right answer to a deadline of a millisecond. What a document cannot say is put in by settled.py.
The exit code is 1 when any check found anything, or when fewer requests were sent than asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from scoregate import catalog
from scoregate.serving.events import event_code
from scoregate.settings import Settings

HERE = Path(__file__).parent
KNOWN = "conformance-known"
SEED = 20_240_229
FIXED = 600
"""Requests that a service's document gives rise to whatever number is asked for: examples and boundaries."""

CONFIG = """
[checks]
not_a_server_error.expected-statuses = ["2xx", "3xx", "4xx", "504"]
"""


def prepare(service: str, url: str, key: str) -> None:
    """Score the request that later events are about."""
    contract = catalog.part(service, "contract")
    body = contract.EXAMPLE | {contract.Request.NATURAL_KEY: KNOWN}
    answer = httpx.post(f"{url}/v1/{service}/score", json=body, headers={"authorization": f"Bearer {key}"}, timeout=10)
    answer.raise_for_status()


def run(service: str, url: str, key: str, wanted: int, seed: int, folder: Path) -> dict[str, Any]:
    """Run schemathesis on one service; return its exit code, how many requests it sent, and what it said."""
    (config := folder / "schemathesis.toml").write_text(CONFIG)
    report = folder / f"{service}-{seed}.ndjson"
    # Half of the examples are refused requests; paths without a body take few.
    examples = max((wanted - FIXED) // (2 + (event_code(service) is not None)), 10)
    command = [sys.executable, "-m", "schemathesis.cli", f"--config-file={config}", "run", "--checks=all"]
    command += [f"{url}/v1/{service}/openapi.json", f"--url={url}", f"--header=Authorization: Bearer {key}"]
    command += [f"--max-examples={examples}", f"--seed={seed}", "--continue-on-failure", "--no-shrink"]
    command += ["--suppress-health-check=all", "--no-color", f"--report-ndjson-path={report}"]
    env = os.environ | {"SCHEMATHESIS_HOOKS": str(HERE / "settled.py")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder, env=env)
    return {"service": service, "exit": done.returncode, "requests": _requests(report), "said": done.stdout}


def _requests(report: Path) -> int:
    """Count the requests that were sent, from the report."""
    events = (json.loads(line) for line in report.read_text().splitlines()) if report.exists() else ()
    scenarios = (event["ScenarioFinished"] for event in events if "ScenarioFinished" in event)
    return sum(len(each["recorder"].get("interactions", ())) for each in scenarios)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=10_000, help="over all services; a few more are sent")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--service", action="append", help="only this one; default all")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    settings, services = Settings(), arguments.service or catalog.services()
    url, started = settings.gateway_url, time.perf_counter()
    key, found = (settings.home / "demo.key").read_text().strip(), []
    with tempfile.TemporaryDirectory() as folder:
        for number, service in enumerate(services):
            prepare(service, url, key)
            sent = sum(each["requests"] for each in found)
            wanted = (arguments.requests - sent) // (len(services) - number)
            found.append(run(service, url, key, wanted, arguments.seed, Path(folder)))
            print(f"{service}: {found[-1]['requests']:,} requests, exit code {found[-1]['exit']}", file=sys.stderr)
    sent = sum(each["requests"] for each in found)
    bad = [each for each in found if each["exit"]]
    few = sent < arguments.requests
    seconds = round(time.perf_counter() - started, 1)
    if arguments.json:
        print(json.dumps({"requests": sent, "seconds": seconds, "few": few, "services": found}))
    else:
        print(*(each["said"] for each in bad), sep="\n")
        print(f"{sent:,} requests in {seconds} s; found something in: {', '.join(e['service'] for e in bad) or 'none'}")
    return 1 if bad or few else 0


if __name__ == "__main__":
    sys.exit(main())
