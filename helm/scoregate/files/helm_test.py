"""What `helm test` runs in the cluster: every arm is ready, closed to who has no key, and decides for who has one.

Arguments: a service's name; a file with a key, or nothing: then no score is asked for; the URL of each of its arms.
"""

from __future__ import annotations

import json
import sys
import time
import urllib.error
import urllib.request
import uuid
from importlib import import_module
from pathlib import Path

FRESH_S = 60
"""How long what the demo told may take to be counted on a busy cluster."""


def asked(url: str, body: bytes | None = None, key: str = "") -> tuple[int, bytes]:
    """Status and answer of a GET, or of a POST where there is a body; 0 when nothing answers."""
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {key}"} if key else {})
    try:
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=5) as answer:  # noqa: S310
            return int(answer.status), answer.read()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read()
    except OSError:
        return 0, b""


def decision(arm: str, service: str, key: str) -> str:
    """What became of the service's own example: `model` when the model decided and no feature was stale or missing."""
    contract = import_module(f"{service}.contract")
    deadline_s, said = time.monotonic() + FRESH_S, ""
    while said != "model" and time.monotonic() < deadline_s:
        time.sleep(1 if said else 0)
        fresh = contract.EXAMPLE | {contract.Request.NATURAL_KEY: f"helm-test-{uuid.uuid4().hex}"}
        status, answer = asked(f"{arm}/v1/{service}/score", json.dumps(fresh).encode(), key)
        decided = json.loads(answer) if status == 200 else {}
        lacks = [*decided["features"]["stale"], *decided["features"]["missing"]] if decided else []
        said = f"{decided.get('source', status)}" + (f" without {', '.join(lacks)}" if lacks else "")
    return said


def main(service: str, key_file: str, arms: list[str]) -> int:
    failed = 0
    for arm in arms:
        found: list[tuple[str, object, object]] = [
            ("is ready", 200, asked(f"{arm}/readyz")[0]),
            ("refuses a request without a key", 401, asked(f"{arm}/v1/{service}/score", b"{}")[0]),
        ]
        if key_file:
            found.append(("decides", "model", decision(arm, service, Path(key_file).read_text().strip())))
        for what, want, got in found:
            print(f"{'ok  ' if got == want else 'FAIL'} {arm} {what}: {got or 'no answer'}, expected {want}")
            failed += got != want
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2], sys.argv[3:]))
