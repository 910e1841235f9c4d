"""Writes what compose.yaml has to be told: passwords and the champions' versions into `.env`, keys into a folder.

python compose/prepare.py

What was made before stays: the key of a database or of a ledger's hashes is not changed by making another.
"""

from __future__ import annotations

import secrets
import sys
from pathlib import Path

from scoregate import catalog
from scoregate.errors import ScoregateError
from scoregate.home import DEFAULT_HOME
from scoregate.local.credentials import demo_key_file, ensure_credentials
from scoregate.models.artefact import champion
from scoregate.settings import ROOT, Settings


def values(settings: Settings, before: dict[str, str]) -> dict[str, str]:
    """Return the variables of `.env`; today's champions take the place of earlier ones.

    Raises:
        ArtefactCorrupt: a service has no champion.
    """
    models = {f"{name.upper()}_MODEL": champion(settings.models(name)).name for name in catalog.services()}
    return {"POSTGRES_PASSWORD": secrets.token_hex(24)} | before | models


def read(path: Path) -> dict[str, str]:
    lines = path.read_text().splitlines() if path.exists() else []
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def write_keys(settings: Settings) -> None:
    """Copy keys to where a container's user may read them: on this machine the home is its owner's alone."""
    ensure_credentials(settings)
    settings.home.chmod(0o700)
    for folder, path in (
        ("keys", settings.keys_path),
        ("keys", settings.hash_key_path),
        ("demo", demo_key_file(settings.home)),
    ):
        copy = settings.home / "containers" / folder / path.name
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
        for each, mode in ((copy, 0o644), (copy.parent, 0o755)):
            each.chmod(mode)


def main() -> int:
    # Images are made of what lies in the checkout.
    settings, env = Settings(home=DEFAULT_HOME), ROOT / ".env"
    try:
        said = values(settings, read(env))
    except ScoregateError as problem:
        print(f"{problem.detail}; `make up` trains it.", file=sys.stderr)
        return 1
    write_keys(settings)
    env.touch(mode=0o600)
    env.write_text("".join(f"{name}={value}\n" for name, value in said.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
