"""Builds a service's Bento: its folder, the library and the lock of one scoring process, as `bentoml build` wants them.

python deploy/bento.py fraud
bentoml containerize fraud:latest

Like an image without MODEL inside, it serves what SCOREGATE_MODEL_DIR names. BentoML takes nothing from outside of the
folder that it builds from, and the locks lie there: so it gets a folder of its own.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BASE = "python:3.11-slim-bookworm"


def bentofile(service: str) -> str:
    """Return the build file; JSON is YAML too."""
    said = {
        "service": f"{service}.service:Service",
        "include": ["scoregate/", f"{service}/"],
        # They are locked already, with hashes.
        "python": {"requirements_txt": "serve.lock", "lock_packages": False},
        "docker": {"base_image": BASE},
    }
    return json.dumps(said)


def build(service: str, *options: str) -> int:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("scoregate", service):
            ignored = shutil.ignore_patterns("__pycache__")
            shutil.copytree(ROOT / "services" / part, folder / part, ignore=ignored)
        shutil.copy(ROOT / "requirements" / "serve.lock", folder)
        (folder / "bentofile.yaml").write_text(bentofile(service))
        command = [sys.executable, "-m", "bentoml", "build", str(folder), *options]
        return subprocess.run(command, cwd=folder, check=False).returncode


if __name__ == "__main__":
    sys.exit(build(*sys.argv[1:]))
