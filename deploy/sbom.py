"""Prints what an image is made of, as CycloneDX 1.6: Debian's packages, and the Python distributions of a folder.

python sbom.py SITE_PACKAGES

It runs while the image is built, and wants nothing but Python. No time and no serial number: the same image says the
same.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from importlib.metadata import distributions
from pathlib import Path

DPKG = Path("/var/lib/dpkg/status")


def python(site_packages: str) -> Iterator[dict[str, str]]:
    for found in distributions(path=[site_packages]):
        name = found.metadata["Name"].lower().replace("_", "-").replace(".", "-")
        yield component(found.metadata["Name"], found.version, f"pkg:pypi/{name}@{found.version}")


def debian(status: str) -> Iterator[dict[str, str]]:
    for paragraph in status.split("\n\n"):
        lines = (line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and not line.startswith(" "))
        said = dict(lines)
        if said.get("Status", "").endswith(" installed"):
            name, version = said["Package"], said["Version"]
            yield component(name, version, f"pkg:deb/debian/{name}@{version}?arch={said['Architecture']}")


def component(name: str, version: str, purl: str) -> dict[str, str]:
    return {"type": "library", "bom-ref": purl, "name": name, "version": version, "purl": purl}


def sbom(site_packages: str) -> dict[str, object]:
    status = DPKG.read_text() if DPKG.exists() else ""
    components = sorted((*python(site_packages), *debian(status)), key=lambda each: each["purl"])
    return {"bomFormat": "CycloneDX", "specVersion": "1.6", "version": 1, "components": components}


if __name__ == "__main__":
    json.dump(sbom(sys.argv[1]), sys.stdout, indent=1)
