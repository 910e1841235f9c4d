"""What it costs to be seen: a door without metrics, with them, and with 1 % and 100 % of its traces exported.

    make up && python loadtest/telemetry_cost.py --rounds 5 --json

Doors of fraud as `costs.py` measures them, with a ledger each; metrics are in files, as where several workers share
them, and spans go to the Collector that OTELCOL names, or else to a receiver in this process. The exit code is 1 when
an answer was no decision, or a fallback without need.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from costs import QUIET, Running, doors, main

from scoregate.serving import door
from scoregate.settings import Settings
from scoregate.telemetry.metrics import Metrics, NoCounts

# `costs` lets the tests' parts be found.
from conftest import free_ports  # isort: skip
from otlp import endpoint  # isort: skip

METRICS, NO_METRICS = "metrics", "no metrics"
RATIOS = {METRICS: None, NO_METRICS: None, "traced 1 %": 0.01, "traced 100 %": 1.0}


class NoMetrics(NoCounts, Metrics):
    """Counts nothing that a request brings about."""

    def request(self, route: str, status: int, seconds: float) -> None:
        pass

    def stage(self, span: str, seconds: float) -> None:
        pass

    def loop_lag(self, seconds: float) -> None:
        pass


@contextmanager
def watched(stack: Settings) -> Iterator[dict[str, Running]]:
    """Start a door per way of being seen."""
    with ExitStack() as ending:
        folder = Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="scoregate-cost-")))
        receiver = ending.enter_context(endpoint(folder, free_ports(1)[0])).endpoint
        of = {}
        for n, (name, ratio) in enumerate(RATIOS.items()):
            traced = {"otlp_endpoint": None} if ratio is None else {"otlp_endpoint": receiver, "trace_ratio": ratio}
            own = {"ledger_url": f"sqlite:///{folder}/{n}.db", "recent_traces": False}
            of[name] = stack.model_copy(update={**QUIET, **own, **traced})
        (folder / "metrics").mkdir()
        yield ending.enter_context(doors(__file__, of, PROMETHEUS_MULTIPROC_DIR=str(folder / "metrics")))


def _become(name: str) -> None:
    if name == NO_METRICS:
        door.Metrics = NoMetrics  # type: ignore[misc]


if __name__ == "__main__":
    sys.exit(main(__doc__, watched, METRICS, _become))
