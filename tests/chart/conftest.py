"""The real helm, and what it makes of every case of the chart."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from helm.binary import helm as helm_path  # noqa: E402  the checkout is on sys.path only now
from k8s.render import CHART, cases, render  # noqa: E402

Manifest = dict[str, Any]
Ran = subprocess.CompletedProcess[str]
Helm = Callable[..., Ran]


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that takes `case` runs once per values file in ci/."""
    if "case" in metafunc.fixturenames:
        metafunc.parametrize("case", cases())


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Run `helm template` (or another verb) on the chart with a case's values, without judging its exit code."""
    path = helm_path()

    def run(case: str | None, *arguments: str, verb: str = "template", release: str = "scoregate") -> Ran:
        named = [release] if verb == "template" else []
        values = [f"--values={CHART / 'ci' / f'{case}-values.yaml'}"] if case else []
        command = [str(path), verb, *named, str(CHART), "--namespace=scoregate", *values, *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    return run


@pytest.fixture(scope="session")
def rendered() -> dict[str, dict[str, str]]:
    """Case → file → text, as helm renders it now."""
    return {case: render(case) for case in cases()}


@pytest.fixture(scope="session")
def manifests(rendered: dict[str, dict[str, str]]) -> dict[str, list[Manifest]]:
    """Case → manifests."""
    return {
        case: [manifest for text in files.values() for manifest in yaml.safe_load_all(text)]
        for case, files in rendered.items()
    }


@pytest.fixture(scope="session")
def helm_tests(helm: Helm) -> list[Manifest]:
    """The pods that `helm test` runs, of a release with a canary of each service."""
    shown = helm("canary-10", "--show-only=templates/tests/ready.yaml")
    assert shown.returncode == 0, shown.stderr
    return list(yaml.safe_load_all(shown.stdout))


@pytest.fixture(scope="session")
def prerequisites() -> list[Manifest]:
    """What k8s/prerequisites asks for."""
    paths = sorted((ROOT / "k8s" / "prerequisites").glob("*.yaml"))
    return [manifest for path in paths for manifest in yaml.safe_load_all(path.read_text())]
