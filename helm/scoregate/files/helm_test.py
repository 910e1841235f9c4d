"""What `helm test` runs in the cluster: every arm is ready, and its door is closed to who has no key.

Arguments: a service's name, then the URL of each of its arms.
"""

from __future__ import annotations

import sys
import urllib.error
import urllib.request


def status(url: str, body: bytes | None = None) -> int:
    """HTTP status of a GET, or of a POST where there is a body; 0 when nothing answers."""
    request = urllib.request.Request(url, data=body, headers={"Content-Type": "application/json"})  # noqa: S310
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:  # noqa: S310  the chart writes the URLs
            return int(answer.status)
    except urllib.error.HTTPError as refusal:
        return refusal.code
    except OSError:
        return 0


def main(service: str, arms: list[str]) -> int:
    failed = 0
    for arm in arms:
        for what, want, got in (
            ("is ready", 200, status(f"{arm}/readyz")),
            ("refuses a request without a key", 401, status(f"{arm}/v1/{service}/score", b"{}")),
        ):
            print(f"{'ok  ' if got == want else 'FAIL'} {arm} {what}: {got or 'no answer'}, expected {want}")
            failed += got != want
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], sys.argv[2:]))
