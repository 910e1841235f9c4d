"""What holds of every image: what it says it is made of, and that it is no larger than it has to be."""

from __future__ import annotations

import json

import pytest

from container import engine
from container.conftest import FEATURES, FRAUD, WORKER

LARGEST_MB = {FRAUD: 450, WORKER: 450, FEATURES: 510}
"""Of features half is Feast and what it reads tables with."""
NAMES = "import importlib.metadata as m; print(*{f'{d.name}=={d.version}' for d in m.distributions()})"
SBOM = "dev.scoregate.sbom"

EVERY = pytest.mark.parametrize("image", LARGEST_MB)


def inside(image: str, *command: str) -> str:
    return engine.run("docker", "run", "--rm", "--network=none", "--read-only", image, *command)


@EVERY
def test_an_image_says_what_it_is_made_of(images: None, image: str) -> None:
    """In CycloneDX: every Python distribution that can be imported, and Debian's packages."""
    config = json.loads(engine.run("docker", "image", "inspect", image))[0]["Config"]
    said = json.loads(inside(image, "cat", config["Labels"][SBOM]))
    purls = [each["purl"] for each in said["components"]]
    python = {f"{each['name']}=={each['version']}" for each in said["components"] if "pkg:pypi/" in each["purl"]}

    assert ("CycloneDX", "1.6") == (said["bomFormat"], said["specVersion"])
    assert set(inside(image, "python", "-c", NAMES).split()) == python
    assert any(purl.startswith("pkg:deb/debian/libc6@") for purl in purls)


@EVERY
def test_an_image_is_small(images: None, image: str) -> None:
    """A node pulls it in seconds."""
    size = json.loads(engine.run("docker", "image", "inspect", image))[0]["Size"]

    assert size <= LARGEST_MB[image] * 1e6


@pytest.mark.parametrize("module", ["pip", "bentoml", "treelite", "duckdb", "mypy"])
def test_the_image_of_features_has_nothing_that_others_need(images: None, module: str) -> None:
    """It can neither serve nor read history."""

    assert (
        "None"
        == inside(FEATURES, "python", "-c", f"import importlib.util as u; print(u.find_spec({module!r}))").strip()
    )
