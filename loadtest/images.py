"""How large the images of the product are, by what the container engine of this machine has of them."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass

from measures import IMAGES

PREFIXES = ("scoregate/", "scoregate-test/")
"""Of `make containers`, and of the tests that build them."""


@dataclass(frozen=True, slots=True)
class Image:
    name: str
    megabytes: float


def images() -> dict[str, Image]:
    """Return the newest image of each kind that there is one of; nothing where no engine answers."""
    found = {}
    filters = [f"--filter=reference={prefix}*" for prefix in PREFIXES]
    for line in _docker("image", "ls", "--format={{.Repository}}:{{.Tag}} {{.ID}}", *filters).splitlines():
        name, _, digest = line.partition(" ")
        kind = name.partition("/")[2].partition(":")[0]
        # The newest comes first.
        if kind in IMAGES and kind not in found:
            found[kind] = Image(name, int(_docker("image", "inspect", "--format={{.Size}}", digest)) / 1e6)
    return found


def _docker(*arguments: str) -> str:
    """What the engine says; nothing where there is none."""
    if shutil.which("docker") is None:
        return ""
    ran = subprocess.run(["docker", *arguments], capture_output=True, text=True, timeout=60, check=False)
    return ran.stdout if ran.returncode == 0 else ""
