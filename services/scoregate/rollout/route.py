"""A canary of a Helm release, as its HTTPRoute tells of it: weights, and what was done; pure.

    spec.rules[].backendRefs[]     <release>-<service>-stable and -canary with their weights
    metadata.annotations           scoregate.dev/canary: the canary of now, scoregate.dev/journal: the last actions

What changes it is a JSON patch that first tests what it is about: a route of another shape is refused by the server,
and nothing of it is changed.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Final

from scoregate.local.traefik import CANARY, STABLE
from scoregate.rollout.canary import Canary

NOTE: Final = "scoregate.dev/canary"
JOURNAL: Final = "scoregate.dev/journal"
KEPT: Final = 20
"""Actions; with the evidence of each they stay far below what annotations may hold."""

_SPEC, _RULES = "f:spec", "f:rules"
"""As `managedFields` names them; the rules are one field, with all weights in it."""

Route = Mapping[str, Any]
Patch = list[dict[str, Any]]


def route_name(release: str, service: str) -> str:
    """Return the name of the route, and the beginning of its backends' names; as the chart makes it."""
    return f"{release}-{service.replace('_', '-')}"


def usual_flip(name: str) -> Patch:
    """Return what sends everything to stable in a route of the chart, without having read it."""
    return _weighed(name, [{"backendRefs": [{"name": f"{name}-{arm}"} for arm in (STABLE, CANARY)]}], 0)


def weighed(route: Route, canary_percent: int) -> Patch:
    """Return what gives the canary its share in every rule that has both arms; empty when no rule has."""
    return _weighed(route["metadata"]["name"], route["spec"]["rules"], canary_percent)


def _weighed(name: str, rules: Sequence[Mapping[str, Any]], canary_percent: int) -> Patch:
    shares = {f"{name}-{STABLE}": 100 - canary_percent, f"{name}-{CANARY}": canary_percent}
    patch: Patch = []
    for i, rule in enumerate(rules):
        backends = [backend["name"] for backend in rule.get("backendRefs", ())]
        if not shares.keys() <= set(backends):
            continue
        for j, backend in enumerate(backends):
            if backend in shares:
                path = f"/spec/rules/{i}/backendRefs/{j}"
                patch.append({"op": "test", "path": f"{path}/name", "value": backend})
                patch.append({"op": "add", "path": f"{path}/weight", "value": shares[backend]})
    return patch


def weights(route: Route) -> dict[str, int]:
    """Return the weight of each arm, as the first rule with arms has it; what has none has 1."""
    name = route["metadata"]["name"]
    for rule in route["spec"]["rules"]:
        of = {backend["name"]: int(backend.get("weight", 1)) for backend in rule.get("backendRefs", ())}
        if found := {arm: of[f"{name}-{arm}"] for arm in (STABLE, CANARY) if f"{name}-{arm}" in of}:
            return found
    return {}


def canary_of(route: Route) -> Canary | None:
    said = route["metadata"].get("annotations", {}).get(NOTE)
    return Canary(**json.loads(said)) if said else None


def journal_of(route: Route) -> list[dict[str, Any]]:
    """Return what was done, oldest first."""
    found: list[dict[str, Any]] = json.loads(route["metadata"].get("annotations", {}).get(JOURNAL, "[]"))
    return found


def noted(route: Route, canary: Canary | None, done: Mapping[str, Any]) -> Patch:
    """Return what says which canary there is by now, and what was done.

    It holds only for the journal that `route` has: of two that write at once the second is refused, and reads again.
    """
    journal = json.dumps([*journal_of(route), done][-KEPT:], ensure_ascii=False)
    annotations = route["metadata"].get("annotations")
    if annotations is None:
        patch: Patch = [{"op": "add", "path": "/metadata/annotations", "value": {JOURNAL: journal}}]
    else:
        before = annotations.get(JOURNAL)
        same: Patch = [] if before is None else [{"op": "test", "path": _annotation(JOURNAL), "value": before}]
        patch = [*same, {"op": "add", "path": _annotation(JOURNAL), "value": journal}]
    if canary is not None:
        said = json.dumps(asdict(canary), ensure_ascii=False)
        return [*patch, {"op": "add", "path": _annotation(NOTE), "value": said}]
    gone: Patch = [{"op": "remove", "path": _annotation(NOTE)}] if NOTE in (annotations or {}) else []
    return [*patch, *gone]


def given_back(route: Route) -> Patch:
    """Return what gives the rules to whoever applied the rest of the route, such as Helm, whatever their weights.

    Its next apply then changes what is its own; it would meet a conflict where the rules were whoever's that weighed.
    What was never applied server-side knows no conflicts, and stays as it is.
    """
    owners = copy.deepcopy(route["metadata"].get("managedFields", []))
    applied = next((each for each in owners if each["operation"] == "Apply" and _SPEC in each["fieldsV1"]), None)
    if applied is None:
        return []
    for each in owners:
        spec = each["fieldsV1"].get(_SPEC, {})
        spec.pop(_RULES, None)
        if not spec:
            # An empty one would stand for all of the spec.
            each["fieldsV1"].pop(_SPEC, None)
    applied["fieldsV1"].setdefault(_SPEC, {})[_RULES] = {}
    version = route["metadata"]["resourceVersion"]
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": version},
        {"op": "replace", "path": "/metadata/managedFields", "value": [each for each in owners if each["fieldsV1"]]},
    ]


def _annotation(name: str) -> str:
    return f"/metadata/annotations/{name.replace('~', '~0').replace('/', '~1')}"
