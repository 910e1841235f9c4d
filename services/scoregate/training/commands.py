"""`scoregate train` and `scoregate features load|backfill`: from the command line to training and data."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from scoregate import catalog
from scoregate.errors import ScoregateError
from scoregate.settings import Settings
from scoregate.training import skew_command
from scoregate.training.imports import command as brought


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs to the command line."""
    train = verbs.add_parser("train", help="train a service's model, evaluate it, and write its artefact")
    train.add_argument("service", help="a service's folder, such as fraud")
    train.add_argument("--json", action="store_true", help="print one JSON object on stdout, progress on stderr")
    train.add_argument("--promote", action="store_true", help="make it the champion even if there is one")
    brought.register(train)
    train.set_defaults(run=_train)
    features = verbs.add_parser("features", help="bring offline data, Feast registry and online store up to now")
    actions = features.add_subparsers(title="actions", metavar="ACTION", required=True)
    actions.add_parser("load", help="do it once, as far as it is needed").set_defaults(run=_load)
    actions.add_parser("apply", help="bring the registry up to the repository, and nothing else").set_defaults(
        run=_apply
    )
    backfill = actions.add_parser("backfill", help="rebuild the online store from history, safely beside workers")
    backfill.add_argument("--stream", help="this stream alone; all of them without it")
    backfill.add_argument("--json", action="store_true", help="print one JSON object on stdout, progress on stderr")
    backfill.set_defaults(run=_backfill)
    run = actions.add_parser("run", help="count events into the online store as they come, until SIGTERM")
    run.add_argument("--shard", type=int, default=0, help="which share of the entities, from 0 (default 0)")
    run.add_argument("--shards", type=int, default=1, help="how many workers share the entities (default 1)")
    run.add_argument("--host", default="127.0.0.1", help="where metrics and health listen (default 127.0.0.1)")
    run.add_argument("--port", type=int, help="port of /metrics, /livez and /readyz; none without it")
    run.set_defaults(run=_run)
    skew_command.register_skew(actions)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _train(arguments: argparse.Namespace) -> int:
    from scoregate.training import gates, run
    from scoregate.training.registry import refusal

    if arguments.service not in catalog.services():
        raise ScoregateError(f"there is no service {arguments.service}; there are {', '.join(catalog.services())}")
    settings = Settings()
    bring = brought.bring(arguments, settings)
    trained = run.train(arguments.service, settings, _say, promote=arguments.promote, bring=bring)
    failed = gates.first_failed(trained.gates)
    if arguments.json:
        figures = {
            "artefact": str(trained.path),
            "version": trained.version,
            "metrics": {name: asdict(found) for name, found in trained.metrics.items()},
            "gates": [asdict(gate) for gate in trained.gates],
            "champion": trained.champion,
            "report": str(trained.report),
        }
        print(json.dumps(figures))
    if failed is not None:
        _say(f"{refusal(arguments.service, trained.version, failed)}; the evidence is in {trained.report}")
        return 1 if arguments.promote else 0
    _say(
        f"{arguments.service}: {trained.version} is the champion; `scoregate restart {arguments.service}` serves it"
        if trained.champion
        else f"{arguments.service}: the champion stays; train with --promote to replace it by {trained.version}"
    )
    return 0


def _load(arguments: argparse.Namespace) -> int:
    from scoregate.training import prepare

    prepare.features(Settings(), _say)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from scoregate.features.registry import registry_of
    from scoregate.streaming.run import run
    from scoregate.training import backfill

    settings = Settings()
    if not 0 <= arguments.shard < arguments.shards <= backfill.SHARDS_AT_MOST:
        raise ScoregateError(f"--shard must be below --shards, and those at most {backfill.SHARDS_AT_MOST}")

    def rebuild(stream: str) -> bool:
        registry = registry_of(settings)
        return backfill.rebuild(settings, registry, stream, say=_say, only_if_gone=True) is not None

    place = {"shard": arguments.shard, "shards": arguments.shards, "host": arguments.host, "port": arguments.port}
    return run(settings, rebuild, **place)


def _apply(arguments: argparse.Namespace) -> int:
    from scoregate.training import repository

    repository.apply(Settings())
    _say("the feature registry is up to date")
    return 0


def _backfill(arguments: argparse.Namespace) -> int:
    from scoregate.features.registry import registry_of
    from scoregate.training import backfill

    settings = Settings()
    registry = registry_of(settings)
    known = backfill.streams_of(registry)
    if arguments.stream not in (None, *known):
        raise ScoregateError(f"there is no stream {arguments.stream}; there are {', '.join(known)}")
    done = []
    for stream in [arguments.stream] if arguments.stream else known:
        rebuilt = backfill.rebuild(settings, registry, stream, say=_say)
        if rebuilt is not None:
            done.append(asdict(rebuilt))
            _say(f"{stream}: {rebuilt.events:,} events, {rebuilt.rows:,} rows in {rebuilt.seconds:.1f} s")
    if arguments.json:
        print(json.dumps({"streams": done}))
    return 0
