"""Load on the whole stack through the gateway; the exit code says whether loadtest/limits.toml held.

locust -f loadtest/locustfile.py --headless --users 12 --spawn-rate 12 --run-time 20s --html report.html
"""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import Any

from locust import events
from locust.env import Environment

from scoregate.settings import Settings

sys.path.insert(0, str(Path(__file__).parent))

from users import personas

# Locust runs every user class that it finds among this file's names.
globals().update({persona.__name__: persona for persona in personas(f"http://127.0.0.1:{Settings().gateway_port}")})


@events.init_command_line_parser.add_listener
def _options(parser: Any) -> None:
    parser.add_argument(
        "--limits", default=str(Path(__file__).with_name("limits.toml")), help="limits that fail the run"
    )


@events.quitting.add_listener
def _judge(environment: Environment, **_: Any) -> None:
    limits = tomllib.loads(Path(environment.parsed_options.limits).read_text())
    total = environment.stats.total
    found = {
        "fail_ratio": total.fail_ratio,
        "p50_ms": total.get_response_time_percentile(0.5) or 0.0,
        "p99_ms": total.get_response_time_percentile(0.99) or 0.0,
    }
    broken = [f"{name} {value:g} is above {limits[name]:g}" for name, value in found.items() if value > limits[name]]
    if total.num_requests < limits["least_requests"]:
        broken.append(f"{total.num_requests} requests are fewer than {limits['least_requests']}")
    figures = ", ".join(f"{name} {value:g}" for name, value in found.items())
    print(f"limits: {'broken: ' + '; '.join(broken) if broken else 'held'} ({total.num_requests} requests, {figures})")
    environment.process_exit_code = 1 if broken else 0
