"""Sizes of images come from the engine of this machine, and the table says what to do where it has none."""

from __future__ import annotations

from pathlib import Path

import pytest
from loadtest import images

ENGINE = """#!/bin/sh
case "$1 $2 $4" in
  "image ls "*)
    echo 'scoregate/fraud:v2 aa'
    echo 'scoregate-test/valkey:latest bb'
    echo 'scoregate/fraud:v1 cc'
    echo 'scoregate-test/worker:latest dd';;
  "image inspect aa") echo 401000000;;
  "image inspect dd") echo 402000000;;
  *) exit 1;;
esac
"""


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that PATH consists of."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    return tmp_path / "docker"


def said(engine: Path, script: str) -> dict[str, images.Image]:
    engine.write_text(script)
    engine.chmod(0o755)
    return images.images()


def test_the_newest_image_of_each_kind_counts(engine: Path) -> None:
    """By whatever it was built; what others make does not count."""
    expected = {
        "fraud": images.Image("scoregate/fraud:v2", 401.0),
        "worker": images.Image("scoregate-test/worker:latest", 402.0),
    }

    assert expected == said(engine, ENGINE)


def test_an_engine_that_does_not_answer_has_no_images(engine: Path) -> None:
    """A client without its engine ends with 1."""

    assert {} == said(engine, "#!/bin/sh\nexit 1\n")
