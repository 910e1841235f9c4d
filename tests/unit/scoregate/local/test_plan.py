"""Who listens where, and how it is started."""

from __future__ import annotations

from pathlib import Path

import pytest

from scoregate.local.plan import environment, gateway_limits, ports, service_spec
from scoregate.settings import Settings

SERVICES = ["kyc", "credit", "fraud"]


def settings(**given: object) -> Settings:
    return Settings(base_port=8100, store_url="redis://127.0.0.1:6390/0", gateway_port=8080, **given)  # type: ignore[arg-type]


def test_services_take_ports_in_order_of_name() -> None:
    """A port means the same service whatever order the folders were found in."""

    planned = ports(settings(), SERVICES)

    assert {"credit": 8101, "fraud": 8102, "kyc": 8103} == planned.stable
    assert {"credit": 8151, "fraud": 8152, "kyc": 8153} == planned.canary


def test_store_of_another_machine_is_not_started() -> None:
    """A store URL that points elsewhere is used as it is."""

    elsewhere = settings().model_copy(update={"store_url": "redis://store.internal:6379/0"})

    assert ports(elsewhere, SERVICES).store is None
    assert ports(settings(), SERVICES).store == 6390


def test_every_port_names_the_setting_that_moves_it() -> None:
    """A sentence about a taken port must say what to change."""

    named = ports(settings(), SERVICES).named()

    assert {8080, 6390, 8101, 8102, 8103, 8197, 8198, 8199} == set(named)
    assert "SCOREGATE_GATEWAY_PORT" == named[8080][1]


@pytest.mark.parametrize("deadline_ms", [20, 1_000, 30_000])
def test_the_gateway_gives_up_on_a_decision_before_its_caller(deadline_ms: int) -> None:
    """Its 504 must come inside the deadline; for a batch the service's own answer comes first."""
    limits = gateway_limits(settings(deadline_ms=deadline_ms))

    assert 0 < limits.decision_s < deadline_ms / 1000 < limits.answer_s


def test_child_is_told_every_setting() -> None:
    """What the supervisor was once started with must not reach a child by itself: absent settings are taken away."""

    told = environment(settings(deadline_ms=250))

    assert {f"SCOREGATE_{name.upper()}" for name in Settings.model_fields} <= set(told)
    assert "250" == told["SCOREGATE_DEADLINE_MS"]
    assert told["SCOREGATE_MODEL_DIR"] is None


def test_settings_survive_the_way_to_a_child() -> None:
    """The words a child is told mean the values they came from."""

    told = environment(settings())
    ours = {
        name.removeprefix("SCOREGATE_").lower(): word for name, word in told.items() if name.startswith("SCOREGATE")
    }
    words = {name: word for name, word in ours.items() if word is not None}

    assert settings().model_dump() == Settings(**words).model_dump()  # type: ignore[arg-type]


def test_every_process_has_its_own_bento_home(tmp_path: Path) -> None:
    """`bentoml serve` wipes the metrics of whoever shares its home."""

    specs = [
        service_spec(settings(home=tmp_path), "fraud", arm=arm, port=1, revision="") for arm in ("stable", "canary")
    ]

    assert 2 == len({spec.env["BENTOML_HOME"] for spec in specs})
    assert ["stable", "canary"] == [spec.env["SCOREGATE_ARM"] for spec in specs]
