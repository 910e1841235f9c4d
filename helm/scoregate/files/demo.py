"""What the demo's Job runs in a service's own image: the service is told its own examples, once it is ready.

Arguments: the service's name, its URL, the file with a key, seconds to wait.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
from datetime import UTC, datetime, timedelta
from importlib import import_module
from pathlib import Path
from typing import Any


def told(service: str) -> list[dict[str, Any]]:
    """The service's examples that state facts or are counted, as of an hour ago."""
    events = import_module(f"{service}.events")
    contract = import_module("scoregate.contract")
    wanted = {each.model_fields["type"].annotation.__args__[0]: each for each in events.EVENTS}
    at = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    return [
        example | ({"event_at": at} if "event_at" in example else {})
        for example in events.EXAMPLES
        if issubclass(wanted[example["type"]], contract.FactsEvent | contract.CountEvent)
    ]


def post(url: str, key: str, body: dict[str, Any]) -> None:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)  # noqa: S310  the chart writes the URL
    urllib.request.urlopen(request, timeout=10).close()  # noqa: S310


def main(service: str, url: str, key_file: str, wait_s: str) -> int:
    key, deadline_s = Path(key_file).read_text().strip(), time.monotonic() + float(wait_s)
    events = told(service)
    while time.monotonic() < deadline_s:
        try:
            post(f"{url}/v1/{service}/events", key, {"events": events})
        except urllib.error.HTTPError as refusal:
            print(f"{refusal.code} {refusal.read().decode()}", flush=True)
        except OSError as problem:
            print(f"{url} does not answer: {problem}", flush=True)
        else:
            print(f"{service} was told {', '.join(event['type'] for event in events)}", flush=True)
            return 0
        time.sleep(1)
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
