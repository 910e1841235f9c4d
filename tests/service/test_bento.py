"""A service as BentoML packs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx

from conftest import ROOT, Stack, free_ports, until
from scoregate.models.artefact import champion
from scoregate.settings import Settings

SERVICE = "fraud"


def test_a_bento_becomes_ready(stack: Stack, tmp_path: Path) -> None:
    """What `bentoml build` makes holds service, library and lock, and serves a model that is given to it."""
    model = champion(Settings(home=stack.home).models(SERVICE))
    env = stack.env | {
        "BENTOML_HOME": str(tmp_path),
        "SCOREGATE_MODEL_DIR": str(model),
        "SCOREGATE_LEDGER_URL": f"sqlite:///{tmp_path}/ledger.db",
        "SCOREGATE_CHECKPOINT_S": "0",
    }
    build = [sys.executable, str(ROOT / "deploy" / "bento.py"), SERVICE, "--version", "v1"]
    built = subprocess.run(build, env=env, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stdout + built.stderr
    bento = tmp_path / "bentos" / SERVICE / "v1"
    (port,) = free_ports(1)
    serve = [sys.executable, "-m", "bentoml", "serve", f"{SERVICE}:v1", "--host", "127.0.0.1", "--port", str(port)]

    def ready() -> dict[str, object]:
        try:
            answer = httpx.get(f"http://127.0.0.1:{port}/readyz?verbose", timeout=10)
        except httpx.TransportError:
            return {}
        return dict(answer.json()) if answer.status_code == 200 else {}

    with subprocess.Popen(serve, env=env, cwd=tmp_path) as process:
        try:
            until(ready)
            said = ready()
        finally:
            process.terminate()

    assert model.name == said["version"]
    assert {"scoregate", SERVICE} <= {path.name for path in (bento / "src").iterdir()}
    assert "--hash=sha256:" in (bento / "env" / "python" / "requirements.txt").read_text()
