"""The secrets of a local stack, made once: one demo key that may do everything, and the key of identifiers' hashes."""

from __future__ import annotations

import json
import os
from pathlib import Path

from scoregate.hashing import KeyedHash
from scoregate.serving.auth import new_key
from scoregate.settings import Settings

DEMO = "demo"


def demo_key_file(home: Path) -> Path:
    return home / "demo.key"


def ensure_credentials(settings: Settings) -> str:
    """Return the raw demo key; keys that others put into the file stay."""
    KeyedHash.create(settings.hash_key_path)
    records = _records(settings.keys_path)
    path = demo_key_file(settings.home)
    if path.exists() and any(record.get("id") == DEMO for record in records):
        return path.read_text().strip()
    raw, record = new_key(DEMO, ["*:*"])
    _write_private(path, (raw + "\n").encode())
    kept = [record for record in records if record.get("id") != DEMO]
    _write_private(settings.keys_path, json.dumps({"keys": [*kept, record]}, indent=2).encode())
    return raw


def _records(path: Path) -> list[dict[str, object]]:
    if not path.exists():
        return []
    found: list[dict[str, object]] = json.loads(path.read_text())["keys"]
    return found


def _write_private(path: Path, content: bytes) -> None:
    """Readable by the owner alone from its first moment."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
    temporary.replace(path)
