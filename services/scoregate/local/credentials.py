"""The secrets of a local stack, made once: one demo key that may do everything, and the key of identifiers' hashes."""

from __future__ import annotations

from pathlib import Path

from scoregate.hashing import KeyedHash
from scoregate.serving.keyfile import KeyFile, write_private
from scoregate.settings import Settings

DEMO = "demo"


def demo_key_file(home: Path) -> Path:
    return home / "demo.key"


def ensure_credentials(settings: Settings) -> str:
    """Return the raw demo key; keys that others put into the file stay."""
    KeyedHash.create(settings.hash_key_path)
    keys, path = KeyFile(settings.keys_path), demo_key_file(settings.home)
    made = any(record["id"] == DEMO for record in keys.records())
    if made and path.exists():
        return path.read_text().strip()
    if made:
        # Only its hash is stored, so a lost key cannot be printed again.
        keys.revoke(DEMO)
    raw = keys.create(DEMO, ["*:*"])
    write_private(path, (raw + "\n").encode())
    return raw
