"""The same flood by k6: where two generators of different make agree, what they found is the server's doing."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

from contenders import apart
from wrk import Flood, ran

SCRIPT = Path(__file__).with_name("k6.js")


def flood(
    url: str, bodies: Path, headers: Mapping[str, str], *, connections: int, seconds: float, core: int | None = None
) -> Flood:
    """Send to one URL for so long. `bodies`: beginnings of bodies, see k6.js.

    Raises:
        LookupError: there is no k6 in its environment.
    """
    asked = {
        "URL": url,
        "BODIES": str(bodies),
        "HEADERS": json.dumps({"Content-Type": "application/json", **headers}),
        "CONNECTIONS": str(connections),
        "SECONDS": f"{seconds:g}",
        "IDS": uuid.uuid4().hex[:12],
    }
    # An empty address: its own server for commands stays shut.
    command = [str(apart("k6")), "run", "--quiet", "--no-usage-report", "--address", "", str(SCRIPT)]
    return Flood.of(ran(command, core, {**os.environ, **asked}))
