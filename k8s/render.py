"""Write k8s/rendered/<case>/ with `helm template`, a folder per values file in helm/scoregate/ci; `--check` checks."""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from helm.binary import helm  # noqa: E402  the checkout is on sys.path only now

CHART = ROOT / "helm" / "scoregate"
RENDERED = ROOT / "k8s" / "rendered"
# What a cluster serves beside Kubernetes and Gateway API, where a case asks for it.
SERVED = ("monitoring.coreos.com/v1", "argoproj.io/v1alpha1/Rollout")
# No case in it: what differs between two cases must be what they do, so that `diff -r` shows it.
HEADER = "# Generated from helm/scoregate by k8s/render.py; do not edit.\n"
SOURCE = re.compile(r"^---\n# Source: scoregate/templates/(\S+)\n", re.MULTILINE)


def cases() -> list[str]:
    """Names of the cases, sorted."""
    return sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))


def render(case: str) -> dict[str, str]:
    """Manifests of a case: file name → text, one file per template.

    Raises:
        subprocess.CalledProcessError: helm refuses the case; its words are on standard error.
    """
    command = [str(helm()), "template", "scoregate", str(CHART), "--namespace=scoregate", "--skip-tests"]
    # Who applies files has no hooks: the routes have their weights, and k8s/README.md says when to apply them.
    command.append("--set=rollout.waitForCanary=false")
    command.extend(f"--api-versions={served}" for served in SERVED)
    command.append(f"--values={CHART / 'ci' / f'{case}-values.yaml'}")
    parts = SOURCE.split(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    files: dict[str, str] = {}
    for name, manifest in zip(parts[1::2], parts[2::2], strict=True):
        files[name] = files.get(name, HEADER) + f"---\n{manifest.strip()}\n"
    return files


def written(case: str) -> dict[str, str]:
    """What lies in k8s/rendered for a case."""
    return {path.name: path.read_text() for path in (RENDERED / case).glob("*.yaml")}


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit with 1 when a file is out of date")
    check = parser.parse_args(arguments).check
    known = cases()
    stale = [case for case in known if render(case) != written(case)]
    gone = sorted(path.name for path in RENDERED.glob("*") if path.name not in known)
    for case in stale + gone:
        print(f"k8s/rendered/{case} {'is out of date: run python k8s/render.py' if check else 'written'}")
        if not check:
            _write(case, render(case) if case in known else {})
    return 1 if check and stale + gone else 0


def _write(case: str, files: dict[str, str]) -> None:
    folder = RENDERED / case
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.glob("*.yaml"):
        if path.name not in files:
            path.unlink()
    for name, text in files.items():
        (folder / name).write_text(text)
    if not files:
        folder.rmdir()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
