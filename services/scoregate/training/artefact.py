"""Writing the immutable folder that serving reads: all of it or nothing, named by its digest, for its owner alone."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scoregate.models.artefact import CHAMPION, MANIFEST, manifest_digest


def as_bytes(value: Any) -> bytes:
    """Write canonical JSON. Raises ValueError for nan, which JSON does not know."""
    return (json.dumps(value, sort_keys=True, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode()


def write(models: Path, files: Mapping[str, bytes]) -> Path:
    """Write the files and their manifest into `models/<digest12>`, and return that folder.

    The same content has the same name, so writing it again changes nothing.
    """
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    folder = models / manifest_digest(digests)[:12]
    if folder.exists():
        return folder
    models.mkdir(parents=True, exist_ok=True)
    # A folder that is only half there must never have a name that can be served.
    unfinished = Path(tempfile.mkdtemp(prefix=".unfinished-", dir=models))
    try:
        for name, content in {**files, MANIFEST: as_bytes(digests)}.items():
            _write_file(unfinished / name, content)
        _flush_folder(unfinished)
        unfinished.rename(folder)
    except BaseException:
        shutil.rmtree(unfinished, ignore_errors=True)
        # Another training may have finished the same content meanwhile.
        if not folder.exists():
            raise
    _flush_folder(models)
    return folder


def promote(models: Path, folder: Path, *, replace: bool) -> bool:
    """Make an artefact the champion, if there is none yet or `replace` says so; return whether it is now."""
    champion = models / CHAMPION
    if champion.exists() and not replace:
        return champion.read_text().strip() == folder.name
    fresh = models / f".{CHAMPION}.{os.getpid()}"
    _write_file(fresh, f"{folder.name}\n".encode())
    fresh.replace(champion)
    _flush_folder(models)
    return True


def _write_file(path: Path, content: bytes) -> None:
    # Golden requests and reference histograms come from real records.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _flush_folder(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
