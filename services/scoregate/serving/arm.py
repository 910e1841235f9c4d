"""Which arm a process is of where a file says so: Kubernetes writes a label of the pod into one, as it is now.

Argo Rollouts makes a canary's pods stable ones by their labels alone, without a new process.
"""

from __future__ import annotations

from scoregate.settings import Settings


def arm_of(settings: Settings, before: str) -> str:
    """Return what the file says now; a pod that has lost its label, such as one that goes, stays what it was before."""
    try:
        said = settings.arm_file.read_text().strip() if settings.arm_file else ""
    except OSError:
        said = ""
    return said or before
