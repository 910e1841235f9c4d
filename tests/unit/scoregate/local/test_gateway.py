"""The gateway's files, and the weights in them."""

from __future__ import annotations

from pathlib import Path

import pytest

from scoregate.local import gateway
from scoregate.local.routes import go_back, route_file, routes_dir

PORTS = {"stable": 1, "canary": 2}


def test_new_route_is_all_stable(tmp_path: Path) -> None:
    """Without a word about weights, a canary gets nothing."""

    gateway.write_service(tmp_path, "fraud", PORTS)

    assert {"stable": 100, "canary": 0} == gateway.read_weights(tmp_path, "fraud")


def test_weights_outlive_a_new_up(tmp_path: Path) -> None:
    """`up` in the middle of a canary must not move its traffic."""
    gateway.write_service(tmp_path, "fraud", PORTS)
    gateway.set_weights(tmp_path, "fraud", stable=90, canary=10)

    gateway.write_service(tmp_path, "fraud", PORTS)

    assert {"stable": 90, "canary": 10} == gateway.read_weights(tmp_path, "fraud")


def test_weight_goes_with_its_arm(tmp_path: Path) -> None:
    """When the canary's process is gone, all is stable's, even where all was the canary's."""
    gateway.write_service(tmp_path, "fraud", PORTS)
    gateway.set_weights(tmp_path, "fraud", stable=0, canary=100)

    gateway.write_service(tmp_path, "fraud", {"stable": 1})

    assert {"stable": 100} == gateway.read_weights(tmp_path, "fraud")


@pytest.mark.parametrize(("stable", "canary"), [(-1, 10), (0, 0)])
def test_weights_that_mean_nothing_are_refused(tmp_path: Path, stable: int, canary: int) -> None:
    """Negative weights and none at all are refused, and the route stays."""
    gateway.write_service(tmp_path, "fraud", PORTS)

    with pytest.raises(ValueError, match="weights"):
        gateway.set_weights(tmp_path, "fraud", stable=stable, canary=canary)

    assert {"stable": 100, "canary": 0} == gateway.read_weights(tmp_path, "fraud")


def test_weight_for_an_arm_without_process_is_refused(tmp_path: Path) -> None:
    """A share for a canary that does not exist would be a share of failures."""
    gateway.write_service(tmp_path, "fraud", {"stable": 1})

    with pytest.raises(ValueError, match="canary"):
        gateway.set_weights(tmp_path, "fraud", stable=90, canary=10)


def test_health_interval_outlives_new_weights(tmp_path: Path) -> None:
    """Changing a weight changes the weight alone."""
    gateway.write_service(tmp_path, "fraud", PORTS, health_interval_s=7)

    gateway.set_weights(tmp_path, "fraud", stable=1, canary=1)

    assert '"interval": "7s"' in route_file(tmp_path, "fraud").read_text()


def test_route_of_a_folder_that_is_gone_goes(tmp_path: Path) -> None:
    """The gateway routes to the services there are; what all share stays."""
    gateway.write_shared(tmp_path, {})
    for service in ("fraud", "gone"):
        gateway.write_service(tmp_path, service, {"stable": 1})

    gateway.remove_other_routes(tmp_path, ["fraud"])

    assert ["_shared.yml", "fraud.yml"] == sorted(path.name for path in routes_dir(tmp_path).iterdir())


def test_static_file_has_a_new_digest_when_it_changes(tmp_path: Path) -> None:
    """The digest is what makes the supervisor restart the gateway, and it stays while nothing changes."""

    digests = [gateway.write_static(tmp_path, {"port": port}) for port in (1, 1, 2)]

    assert digests[0] == digests[1] != digests[2]


def test_the_way_back_is_there_before_the_weights(tmp_path: Path) -> None:
    """Going back sends everything to wherever the stable arm is now, and twice is as good as once."""
    gateway.write_service(tmp_path, "fraud", PORTS, {"stable": 50, "canary": 50})
    gateway.write_service(tmp_path, "fraud", PORTS | {"stable": 9})
    go_back(tmp_path, "fraud")
    go_back(tmp_path, "fraud")

    assert {"stable": 100} == gateway.read_weights(tmp_path, "fraud")
    assert {"stable": 9} == gateway.read_ports(tmp_path, "fraud")
    assert ["fraud.yml"] == [path.name for path in routes_dir(tmp_path).iterdir()]
