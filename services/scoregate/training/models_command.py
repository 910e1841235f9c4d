"""`scoregate models list|show|promote|demote`: which versions there are, and which one a person approves."""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from scoregate import catalog
from scoregate.errors import ScoregateError
from scoregate.settings import Settings

if TYPE_CHECKING:
    from scoregate.training.registry import Version


def register(verbs: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the verbs to the command line."""
    models = verbs.add_parser("models", help="list and show trained models; make one eligible, or no longer")
    actions = models.add_subparsers(title="actions", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="all versions, newest first")
    listing.add_argument("service", nargs="?", help="this service alone; all without it")
    listing.set_defaults(run=_list)
    show = actions.add_parser("show", help="one version: gates, metrics, lineage, who approved it and why")
    show.set_defaults(run=_show)
    promote = actions.add_parser("promote", help="make a version eligible for a canary, if its gates passed")
    promote.set_defaults(run=_promote)
    demote = actions.add_parser("demote", help="take the challenger's eligibility away")
    demote.set_defaults(run=_demote)
    for action in (show, promote, demote):
        action.add_argument("service", help="a service's folder, such as fraud")
        action.add_argument("version", nargs="?", help="a digest or its beginning (default: newest, or the challenger)")
    for action in (promote, demote):
        action.add_argument("--approver", required=True, metavar="NAME", help="the person who takes responsibility")
        action.add_argument("--reason", required=True, metavar="TEXT", help="why; it stands in the evidence")
    for action in (listing, show, promote, demote):
        action.add_argument("--json", action="store_true", help="print one JSON object on stdout")


def _known(service: str) -> str:
    if service not in catalog.services():
        raise ScoregateError(f"there is no service {service}; there are {', '.join(catalog.services())}")
    return service


def _list(arguments: argparse.Namespace) -> int:
    from scoregate.training.registry import Registry

    registry = Registry(Settings())
    services = [_known(arguments.service)] if arguments.service else catalog.services()
    found = {service: registry.versions(service) for service in services}
    if arguments.json:
        print(json.dumps({service: [_as_json(v) for v in versions] for service, versions in found.items()}))
        return 0
    print(f"{'SERVICE':<10} {'VERSION':<14} {'ALIASES':<22} {'GATES':<8} {'TRAINED':<17} APPROVED BY")
    for service, versions in found.items():
        for v in versions:
            by = v.tags.get("approved_by") or v.tags.get("crowned_by", "")
            gates, at = v.tags.get("gates", ""), v.tags.get("trained_at", "")[:16]
            print(f"{service:<10} {v.version:<14} {', '.join(v.aliases):<22} {gates:<8} {at:<17} {by}".rstrip())
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from scoregate.training.registry import Registry, gates_of

    settings, service = Settings(), _known(arguments.service)
    version = Registry(settings).resolve(service, arguments.version)
    folder = settings.models(service) / version.version
    gates = [asdict(gate) for gate in gates_of(folder)]
    metrics = json.loads((folder / "metrics.json").read_text())
    if arguments.json:
        print(json.dumps({**_as_json(version), "gates": gates, "metrics": metrics, "artefact": str(folder)}))
        return 0
    print(f"{service} {version.version} (MLflow version {version.number}) {', '.join(version.aliases)}".rstrip())
    for gate in gates:
        print(f"  {gate['status']:<8} {gate['name']:<12} {gate['sentence']}")
    for name, value in sorted(version.tags.items()):
        print(f"  {name:<18} {value}")
    return 0


def _promote(arguments: argparse.Namespace) -> int:
    from scoregate.training.registry import Registry

    service = _known(arguments.service)
    done = Registry(Settings()).promote(service, arguments.version, arguments.approver, arguments.reason)
    return _told(arguments, done, f"{service} {done.version} is the challenger, approved by {arguments.approver}")


def _demote(arguments: argparse.Namespace) -> int:
    from scoregate.training.registry import Registry

    service = _known(arguments.service)
    done = Registry(Settings()).demote(service, arguments.version, arguments.approver, arguments.reason)
    return _told(arguments, done, f"{service} {done.version} is no longer the challenger")


def _told(arguments: argparse.Namespace, version: Version, sentence: str) -> int:
    if arguments.json:
        print(json.dumps(_as_json(version)))
    else:
        print(sentence, file=sys.stderr)
    return 0


def _as_json(version: Version) -> dict[str, Any]:
    return {**asdict(version), "aliases": list(version.aliases), "tags": dict(version.tags)}
