"""Upgrades, canaries and ways back under load: no request fails, and weights are what they are said to be."""

from __future__ import annotations

import time

import pytest

from cluster.cluster import Release, kubectl
from cluster.load import Seen, load
from stack.running import eventually

COUNTED, CALLERS = 10_000, 16
CANARY = "defaults.canary.tag=v2"
NEVER = "defaults.canary.model=nothing"


def more(seen: Seen, count: int) -> float:
    """Wait for so many answers to requests from now on; the time that they began."""
    now_s = time.monotonic()
    eventually(lambda: sum(seen.arms(now_s).values()) >= count, 600)
    return now_s


def test_an_upgrade_fails_nobody(healed: Release) -> None:
    """Every pod is replaced, one after the other, and every request is answered by the model or said not to be."""
    with load(healed) as seen:
        more(seen, 20)
        healed.upgrade("defaults.settings.rate_per_s=4000")
        more(seen, 20)

    assert [] == seen.failed
    assert {"stable"} == set(seen.arms())


def test_one_upgrade_makes_a_canary_of_ten_percent(healed: Release) -> None:
    """Nobody meets it before its pods are ready; then it gets its share; a rollback takes it away at once."""
    with load(healed, CALLERS) as seen:
        healed.upgrade(CANARY, "defaults.canary.weight=10")
        began_s = more(seen, COUNTED)
        arms = seen.arms(began_s)
        weights = healed.weights()
        healed.rollback()
        eventually(lambda: seen.are_all_of("stable"))

    assert [] == seen.failed
    assert {"stable": 90, "canary": 10} == weights
    assert 0.1 == pytest.approx(arms["canary"] / arms.total(), abs=0.01)


def test_a_canary_that_is_never_ready_meets_nobody(healed: Release) -> None:
    """The upgrade fails and says so; all traffic is where it was; `helm rollback` tidies up."""
    with load(healed) as seen:
        said = healed.refused_upgrade(NEVER, "defaults.canary.weight=10", "rollout.deadlineSeconds=5")
        more(seen, 50)
        weights = healed.weights()
        healed.rollback()
        more(seen, 20)

    assert "post-upgrade" in said
    assert [] == seen.failed
    assert {"stable": 100, "canary": 0} == weights
    assert {"stable"} == set(seen.arms())


def test_a_canary_is_promoted(healed: Release) -> None:
    """Stable takes the canary's image while all traffic is with the pods that are ready."""
    with load(healed) as seen:
        healed.upgrade(CANARY, "defaults.canary.weight=50")
        more(seen, 50)
        healed.upgrade("defaults.image.tag=v2", "defaults.canary.tag=v1")
        more(seen, 50)
        image = kubectl("get", "deployment/scoregate-credit-stable", "--output=jsonpath={..containers[0].image}")

    assert [] == seen.failed
    assert image.endswith(":v2")


@pytest.mark.parametrize("way", ["rollback", "upgrade"])
def test_helm_goes_on_after_somebody_changed_a_weight(healed: Release, way: str) -> None:
    """Weights that were changed as the runbook says stand in nobody's way."""
    with load(healed) as seen:
        healed.upgrade(CANARY, "defaults.canary.weight=10")
        healed.shift(60)
        began_s = more(seen, 50)
        shifted = healed.weights()
        healed.rollback() if way == "rollback" else healed.upgrade()
        more(seen, 50)

    assert [] == seen.failed
    assert {"stable": 40, "canary": 60} == shifted
    assert seen.arms(began_s)["canary"] > 0
    assert {"stable": 100} == healed.weights()


@pytest.mark.parametrize("way", ["rollback", "upgrade"])
def test_a_verb_gives_and_takes_and_helm_goes_on(healed: Release, way: str) -> None:
    """The verb's rollback leaves the canary nobody; Helm meets no conflict, and the release is as it was before."""
    with load(healed) as seen:
        healed.upgrade(CANARY)
        healed.canary("start", "--weight=60")
        eventually(lambda: seen.arms()["canary"] > 0)
        commanded_s = time.monotonic()
        healed.canary("rollback")
        eventually(lambda: seen.are_all_of("stable"))
        print(f"{seen.last_s('canary') - commanded_s:.2f} s from the command to the canary's last answer")
        healed.rollback() if way == "rollback" else healed.upgrade()
        more(seen, 20)

    assert [] == seen.failed
    assert {"stable": 100} == healed.weights()
