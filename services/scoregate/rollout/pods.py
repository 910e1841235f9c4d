"""What the pods of an arm run, and whether they are ready, as the cluster describes them; pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from scoregate.values import frozen

Pod = Mapping[str, Any]


@frozen
class Running:
    """Image and artefact folder of an arm."""

    image: str
    model: str

    def __str__(self) -> str:
        return f"{self.image} with {self.model}"


def ready(pods: Sequence[Pod]) -> bool:
    """Whether there is a pod, and each that stays is ready."""
    staying = [pod for pod in pods if "deletionTimestamp" not in pod["metadata"]]
    return bool(staying) and all(_is_ready(pod) for pod in staying)


def running(pods: Sequence[Pod], service: str) -> Running:
    """Return what they run, by the newest of them."""
    newest = max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]))
    containers = newest["spec"]["containers"]
    named = service.replace("_", "-")
    container = next((each for each in containers if each["name"] == named), containers[0])
    env = {each["name"]: each.get("value", "") for each in container.get("env", ())}
    return Running(container["image"], PurePosixPath(env.get("SCOREGATE_MODEL_DIR", service)).name)


def promotion(running: Running, release: str, service: str, namespace: str | None) -> list[str]:
    """Return the Helm commands that make a canary's image and model the stable ones, and then take the canary away."""
    of = f"services.{service}"
    image, _, digest = running.image.partition("@")
    tag = "" if digest else image.rpartition(":")[2]
    upgrade = f"helm upgrade {release} CHART{f' -n {namespace}' if namespace else ''} --reuse-values"
    stable = {"image.tag": tag, "image.digest": digest, "model": running.model, "canary.weight": "0"}
    none = {"canary.tag": "", "canary.digest": "", "canary.model": ""}
    return [
        f"{upgrade} --wait {' '.join(f'--set {of}.{key}={value}' for key, value in said.items())}"
        for said in (stable, none)
    ]


def _is_ready(pod: Pod) -> bool:
    conditions = pod.get("status", {}).get("conditions", ())
    return any(each["type"] == "Ready" and each["status"] == "True" for each in conditions)
