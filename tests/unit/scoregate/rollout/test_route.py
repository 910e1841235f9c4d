"""The canary of a release: what is changed in the chart's own HTTPRoute, and what is read out of it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from scoregate.rollout import route
from scoregate.rollout.canary import Canary, action

RENDERED = Path(__file__).parents[4] / "k8s" / "rendered"
NAME = "scoregate-fraud"
CANARY = Canary("fraud", "registry/fraud:2 with fraud", 10, 1.0, 2.0, {}, "anna", "it is better")


def chart_route(case: str) -> dict[str, Any]:
    """The route as the chart renders it."""
    routes = yaml.safe_load_all((RENDERED / case / "httproutes.yaml").read_text())
    found: dict[str, Any] = next(each for each in routes if each["metadata"]["name"] == NAME)
    return found


def patched(before: route.Route, patch: route.Patch) -> dict[str, Any]:
    """What a server makes of these of RFC 6902's operations; AssertionError where a test in it fails."""
    after: Any = copy.deepcopy(before)
    for each in patch:
        *way, last = [step.replace("~1", "/").replace("~0", "~") for step in each["path"].split("/")[1:]]
        at = after
        for step in way:
            at = at[int(step) if isinstance(at, list) else step]
        match each["op"]:
            case "test":
                assert each["value"] == at[last]
            case "add" | "replace":
                at[last] = each["value"]
            case "remove":
                del at[last]
    return dict(after)


def done(name: str) -> dict[str, Any]:
    return action(name, CANARY, who="anna", why="it is better", verdict={"verdict": "hold"})


def test_weights_are_those_of_the_chart() -> None:
    """Both arms where there is a canary, stable alone where there is none."""
    assert {"stable": 90, "canary": 10} == route.weights(chart_route("canary-10"))
    assert {"stable": 100, "canary": 0} == route.weights(chart_route("rollback"))
    assert ["stable"] == list(route.weights(chart_route("default")))


@pytest.mark.parametrize(("case", "percent"), [("canary-10", 50), ("canary-50", 0)])
def test_a_share_changes_the_weights_and_nothing_else(case: str, percent: int) -> None:
    """What is patched is what the chart renders for that weight."""
    expected = {50: "canary-50", 0: "rollback"}[percent]

    assert chart_route(expected) == patched(chart_route(case), route.weighed(chart_route(case), percent))


def test_the_first_flip_needs_no_look_at_the_route() -> None:
    """It fits the chart's route, and a route of another shape refuses it whole."""
    without = chart_route("default")

    assert chart_route("rollback") == patched(chart_route("canary-50"), route.usual_flip(NAME))
    with pytest.raises(IndexError):
        patched(without, route.usual_flip(NAME))
    assert [] == route.weighed(without, 0)


def test_a_route_of_more_rules_and_backends_is_weighed_by_name() -> None:
    """Whoever adds a rule or a backend keeps it as it is."""
    mixed = chart_route("canary-10")
    (rule,) = mixed["spec"]["rules"]
    other = {"backendRefs": [{"name": "elsewhere", "port": 80, "weight": 7}]}
    mixed["spec"]["rules"] = [other, {**rule, "backendRefs": [*other["backendRefs"], *reversed(rule["backendRefs"])]}]
    first, second = patched(mixed, route.weighed(mixed, 50))["spec"]["rules"]

    assert other == first
    assert [7, 50, 50] == [backend["weight"] for backend in second["backendRefs"]]


def test_the_route_says_which_canary_there_is_and_what_was_done() -> None:
    """Begun without annotations, stepped, and gone; each action with who, why and evidence."""
    begun = patched(chart_route("canary-10"), route.noted(chart_route("canary-10"), CANARY, done("start")))
    stepped = patched(begun, route.noted(begun, CANARY, done("step")))
    gone = patched(stepped, route.noted(stepped, None, done("rollback")))

    assert (CANARY, CANARY, None) == (route.canary_of(begun), route.canary_of(stepped), route.canary_of(gone))
    assert ["start", "step", "rollback"] == [each["action"] for each in route.journal_of(gone)]
    assert ("anna", "it is better", {"verdict": "hold"}) == tuple(
        route.journal_of(gone)[0][name] for name in ("who", "why", "evidence")
    )
    assert chart_route("canary-10")["spec"] == gone["spec"]


def test_of_two_that_write_at_once_the_second_is_refused() -> None:
    """No action is lost from the journal."""
    begun = patched(chart_route("canary-10"), route.noted(chart_route("canary-10"), CANARY, done("start")))
    late = route.noted(begun, CANARY, done("step"))
    meanwhile = patched(begun, route.noted(begun, None, done("rollback")))

    with pytest.raises(AssertionError):
        patched(meanwhile, late)


def test_the_journal_stays_within_what_annotations_hold() -> None:
    """The last actions are kept, the earlier ones go."""
    now = chart_route("canary-10")
    for number in range(route.KEPT + 5):
        now = patched(now, route.noted(now, CANARY, {**done("step"), "number": number}))

    assert [*range(5, route.KEPT + 5)] == [each["number"] for each in route.journal_of(now)]
    assert len(json.dumps(now["metadata"]["annotations"])) < 262_144


def owned(manager: str, operation: str, fields: dict[str, Any]) -> dict[str, Any]:
    return {"manager": manager, "operation": operation, "fieldsType": "FieldsV1", "fieldsV1": fields}


def test_whoever_applied_the_route_gets_its_rules_back() -> None:
    """Rules are theirs alone, notes stay the verb's, and nobody is left that would own nothing or everything."""
    notes = {"f:annotations": {f"f:{route.JOURNAL}": {}}}
    found = chart_route("canary-10")
    found["metadata"] |= {
        "resourceVersion": "7",
        "managedFields": [
            owned("helm", "Apply", {"f:metadata": {"f:labels": {}}, "f:spec": {"f:parentRefs": {}}}),
            owned("scoregate", "Update", {"f:metadata": notes, "f:spec": {"f:rules": {}}}),
            owned("somebody", "Update", {"f:spec": {"f:rules": {}}}),
            owned("traefik", "Update", {"f:status": {"f:parents": {}}}),
        ],
    }
    after = patched(found, route.given_back(found))

    assert [
        ("helm", {"f:metadata": {"f:labels": {}}, "f:spec": {"f:parentRefs": {}, "f:rules": {}}}),
        ("scoregate", {"f:metadata": notes}),
        ("traefik", {"f:status": {"f:parents": {}}}),
    ] == [(each["manager"], each["fieldsV1"]) for each in after["metadata"]["managedFields"]]
    assert found["spec"] == after["spec"]


def test_a_route_that_nobody_applied_is_left_alone() -> None:
    """Who applies on the client's side meets no conflicts."""
    found = chart_route("canary-10")
    found["metadata"]["managedFields"] = [owned("helm", "Update", {"f:spec": {"f:rules": {}}})]

    assert [] == route.given_back(found)
    assert [] == route.given_back(chart_route("canary-10"))
