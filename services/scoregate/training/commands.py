"""`scoregate train` and `scoregate features`: from the command line to training and data."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict

from scoregate import catalog
from scoregate.errors import ScoregateError
from scoregate.settings import Settings


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs to the command line."""
    train = verbs.add_parser("train", help="train a service's model, evaluate it, and write its artefact")
    train.add_argument("service", help="a service's folder, such as fraud")
    train.add_argument("--json", action="store_true", help="print one JSON object on stdout, progress on stderr")
    train.add_argument("--promote", action="store_true", help="make it the champion even if there is one")
    train.set_defaults(run=_train)
    features = verbs.add_parser("features", help="bring offline data, Feast registry and online store up to now")
    actions = features.add_subparsers(title="actions", metavar="ACTION", required=True)
    actions.add_parser("load", help="do it once").set_defaults(run=_load)


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _train(arguments: argparse.Namespace) -> int:
    from scoregate.training import run

    if arguments.service not in catalog.services():
        raise ScoregateError(f"there is no service {arguments.service}; there are {', '.join(catalog.services())}")
    trained = run.train(arguments.service, Settings(), _say, promote=arguments.promote)
    if arguments.json:
        metrics = {name: asdict(found) for name, found in trained.metrics.items()}
        print(json.dumps({"artefact": str(trained.path), "version": trained.version, "metrics": metrics}))
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
