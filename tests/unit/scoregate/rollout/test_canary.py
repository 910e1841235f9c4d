"""Which canary there is, and what was done to it."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

from scoregate.home import home
from scoregate.local import StackError, gateway
from scoregate.local.routes import turn
from scoregate.rollout import canary as records
from scoregate.rollout.canary import Canary
from scoregate.rollout.flip import flip, release_of
from scoregate.rollout.local import LocalRollout
from scoregate.settings import Settings

CANARY = Canary("fraud", "abc", 10, 1.0, 2.0, {"stable": {"errors": {"failed": 1.0}}}, "anna", "a reason")


@pytest.fixture
def rollout(tmp_path: Path) -> LocalRollout:
    settings = Settings(home=tmp_path)
    gateway.write_service(tmp_path, "fraud", {"stable": 1, "canary": 2}, {"stable": 90, "canary": 10})
    return LocalRollout(settings, "fraud", who="anna", why="it looks wrong")


def test_a_canary_is_read_as_it_was_written(tmp_path: Path) -> None:
    """Metrics of its beginning included."""
    assert records.read(tmp_path, "fraud") is None
    records.write(tmp_path, CANARY)

    assert CANARY == records.read(tmp_path, "fraud")


def test_going_back_flips_the_weights_and_says_who_and_why(rollout: LocalRollout, tmp_path: Path) -> None:
    """The canary gets nothing, is no longer there, and the journal has the evidence."""
    records.write(tmp_path, CANARY)
    rollout.rollback({"verdict": "rollback"})
    (done,) = records.journal(tmp_path, "fraud")

    assert {"stable": 100} == gateway.read_weights(tmp_path, "fraud")
    assert rollout.canary is None
    assert ("rollback", "anna", "it looks wrong", {"verdict": "rollback"}) == (
        done["action"],
        done["who"],
        done["why"],
        done["evidence"],
    )


def test_the_command_flips_the_weights_before_all_else(
    rollout: LocalRollout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The canary is gone for every other verb at once; the journal and the process follow."""
    monkeypatch.setenv("SCOREGATE_HOME", str(tmp_path))
    records.write(tmp_path, CANARY)
    flip(["fraud", "--why", "it looks wrong"])

    assert {"stable": 100} == gateway.read_weights(tmp_path, "fraud")
    assert rollout.canary is None
    assert CANARY == rollout.rollback()
    assert ["rollback"] == [done["action"] for done in records.journal(tmp_path, "fraud")]
    with pytest.raises(StackError, match="no canary"):
        rollout.rollback()


@pytest.mark.parametrize("words", [["fraud", "--help"], ["fraud", "--kub"], ["credit"], ["--why", "fraud"], []])
def test_what_does_not_go_back_here_flips_nothing(
    rollout: LocalRollout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: list[str]
) -> None:
    """A question, another service's canary, or one of a cluster leave this one's weight alone."""
    monkeypatch.setenv("SCOREGATE_HOME", str(tmp_path))
    records.write(tmp_path, CANARY)
    flip(words)

    assert CANARY == rollout.canary
    assert 10 == gateway.read_weights(tmp_path, "fraud")["canary"]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["fraud", "--kube"], ("fraud", "scoregate", None)),
        (["fraud", "--release=risk", "--kube", "--namespace", "ns"], ("fraud", "risk", "ns")),
        (["fraud", "--kube", "--why", "--kube", "--who=me"], ("fraud", "scoregate", None)),
        (["fraud", "--kube", "--rel", "risk"], None),
        (["fraud", "--kub", "--release", "risk"], None),
        (["--kube", "fraud"], None),
    ],
)
def test_a_release_is_flipped_where_it_is_written_out(words: list[str], found: tuple[str, str, str | None]) -> None:
    """A shortened option may name another release than the usual one: the verb knows which."""
    assert found == release_of(words)


def test_nothing_slow_is_imported_before_the_flip(tmp_path: Path) -> None:
    """Settings and their library take longer than a rollback may; what is read without them agrees with them."""
    ask = "import scoregate.__main__ as m, sys; print({'pydantic', 'argparse', 'json', 'numpy'} & set(sys.modules))"
    environment = {"SCOREGATE_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True, env=environment)

    assert "set()" == done.stdout.strip()


@pytest.mark.parametrize("value", ["elsewhere", None])
def test_the_home_is_the_settings_home(monkeypatch: pytest.MonkeyPatch, value: str | None) -> None:
    """A rollback that looked in another folder would find no canary."""
    monkeypatch.delenv("SCOREGATE_HOME", raising=False)
    if value:
        monkeypatch.setenv("SCOREGATE_HOME", value)

    assert Settings().home.resolve() == home()


def test_a_step_while_the_stable_process_is_renewed_keeps_its_stand_in(rollout: LocalRollout, tmp_path: Path) -> None:
    """`scoregate restart` moves the stable arm to another port for a while."""
    records.write(tmp_path, CANARY)
    gateway.write_service(tmp_path, "fraud", {"stable": 7, "canary": 2})
    rollout.step(50)

    assert 7 == gateway.read_ports(tmp_path, "fraud")["stable"]


def test_a_step_of_a_canary_that_is_gone_changes_nothing(rollout: LocalRollout, tmp_path: Path) -> None:
    """Whoever was waiting while somebody went back must not bring the canary back."""
    records.write(tmp_path, CANARY)
    rollout.rollback()
    with pytest.raises(StackError, match="any more"):
        rollout.step(50, of=CANARY)

    assert {"stable": 100} == gateway.read_weights(tmp_path, "fraud")


def test_an_earlier_canary_is_not_taken_for_the_one_of_now(rollout: LocalRollout, tmp_path: Path) -> None:
    """A verdict on one canary must not end the next."""
    records.write(tmp_path, Canary("fraud", "def", 10, 5.0, 5.0, {}, "bert", ""))
    with pytest.raises(StackError, match="another canary"):
        rollout.rollback(of=CANARY)

    assert 10 == gateway.read_weights(tmp_path, "fraud")["canary"]


@pytest.mark.parametrize("weight", [0, -1, 101])
def test_a_weight_is_a_percentage_above_zero(rollout: LocalRollout, tmp_path: Path, weight: int) -> None:
    """Nothing at all is a rollback, and is called so."""
    records.write(tmp_path, CANARY)
    with pytest.raises(StackError, match="between 1 and 100"):
        rollout.step(weight)


def test_two_commands_never_change_a_canary_at_once(tmp_path: Path) -> None:
    """The second waits until the first has written."""
    order: list[str] = []

    def second() -> None:
        with turn(tmp_path, "fraud"):
            order.append("second")

    with turn(tmp_path, "fraud"):
        other = threading.Thread(target=second)
        other.start()
        other.join(0.05)
        order.append("first")
    other.join()

    assert ["first", "second"] == order
