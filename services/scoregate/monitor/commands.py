"""`scoregate monitor drift|run`."""

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import asdict
from pathlib import Path

from scoregate import catalog
from scoregate.errors import ScoregateError
from scoregate.monitor.gauges import DriftGauges
from scoregate.monitor.look import Look
from scoregate.monitor.now import look_now, triggers
from scoregate.settings import Settings


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs to the command line."""
    monitor = verbs.add_parser("monitor", help="compare what is decided with what the model was trained on")
    actions = monitor.add_subparsers(title="actions", metavar="ACTION", required=True)
    drift = actions.add_parser("drift", help="compare once; exit code 2 when the model should be trained again")
    drift.add_argument("service")
    drift.add_argument("--report", type=Path, help="write Evidently's page here")
    drift.add_argument("--json", action="store_true")
    drift.set_defaults(run=_drift)
    run = actions.add_parser("run", help="compare every service again and again, and serve gauges")
    run.add_argument("--host", default="127.0.0.1")
    run.add_argument("--port", type=int, required=True, help="of /metrics")
    run.add_argument("--every", type=float, default=60.0, help="seconds (%(default)g)")
    run.set_defaults(run=_run)


def _drift(arguments: argparse.Namespace) -> int:
    from scoregate.monitor import report

    settings, service = Settings(), arguments.service
    artefact, reference, found = look_now(service, settings)
    due = found.due(triggers(service))
    if arguments.report is not None:
        report.write(settings, artefact, reference, arguments.report)
    if arguments.json:
        print(json.dumps({"service": service, "model": artefact.version, **asdict(found), "due": due}))
    else:
        _show(service, artefact.version, found, due)
    return 2 if due else 0


def _show(service: str, version: str, found: Look, due: list[str]) -> None:
    print(f"{service} {version}")
    for window, count in found.decisions.items():
        values = found.psi.get(window)
        if values is None:
            print(f"  {window}: {count:,} decisions, too few or too new to compare")
            continue
        largest = sorted(values.items(), key=lambda pair: -pair[1])[:5]
        print(f"  {window}: {count:,} decisions; " + ", ".join(f"{name} {value:.3f}" for name, value in largest))
    print("retrain: " + "; ".join(due) if due else "No reason to train again.")


def _run(arguments: argparse.Namespace) -> int:
    from prometheus_client import start_http_server

    settings, gauges = Settings(), DriftGauges()
    start_http_server(arguments.port, arguments.host, gauges.registry)
    while True:
        for service in catalog.services():
            try:
                artefact, _, found = look_now(service, settings)
                gauges.say(service, artefact.version, found, is_due=bool(found.due(triggers(service))))
            except ScoregateError as problem:
                print(f"{service}: {problem.detail}", file=sys.stderr, flush=True)
        time.sleep(arguments.every)
