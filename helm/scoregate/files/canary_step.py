"""The step after an install or upgrade: each canary gets its share of the traffic when its pods are ready.

Arguments: seconds to wait, and JSON: a list of `{"canary": name of Deployment and Service, "route": HTTPRoute}`.
"""

from __future__ import annotations

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

POD = Path("/var/run/secrets/kubernetes.io/serviceaccount")
LEARNS_S = 1.0
"""The gateway hears of new pods and of new weights apart: it shall know the pods first."""


def api(path: str, applied: dict[str, Any] | None = None) -> Any:
    """Answer of the cluster's API to a GET, or to a server-side apply."""
    request = urllib.request.Request(
        f"https://{os.environ['KUBERNETES_SERVICE_HOST']}:{os.environ['KUBERNETES_SERVICE_PORT']}{path}",
        data=None if applied is None else json.dumps(applied).encode(),
        method="GET" if applied is None else "PATCH",
        headers={
            "Authorization": f"Bearer {(POD / 'token').read_text()}",
            "Content-Type": "application/apply-patch+yaml",
        },
    )
    context = ssl.create_default_context(cafile=str(POD / "ca.crt"))
    with urllib.request.urlopen(request, timeout=10, context=context) as answer:  # noqa: S310
        return json.load(answer)


def is_ready(deployment: dict[str, Any], slices: list[dict[str, Any]]) -> bool:
    """Whether every pod of the newest template is there, and no other, and the Service knows as many."""
    wanted, status = deployment["spec"]["replicas"], deployment.get("status", {})
    endpoints = [each for one in slices for each in one.get("endpoints") or []]
    return (
        status.get("observedGeneration", 0) >= deployment["metadata"]["generation"]
        and wanted == status.get("replicas") == status.get("updatedReplicas") == status.get("availableReplicas")
        and wanted <= sum(each.get("conditions", {}).get("ready", False) for each in endpoints)
    )


def owner(route: dict[str, Any]) -> str:
    """Who applied the route, and shall own its weights: whoever else did would be in the way of the next upgrade."""
    return next((m["manager"] for m in route["metadata"].get("managedFields", []) if m["operation"] == "Apply"), "helm")


def helms(route: dict[str, Any]) -> dict[str, str]:
    """The annotations by which Helm knows its own; who applies without them takes them away."""
    return {k: v for k, v in route["metadata"].get("annotations", {}).items() if k.startswith("meta.helm.sh/")}


def wait(canary: str, namespace: str, deadline_s: float) -> bool:
    """Whether the canary became ready in time."""
    while time.monotonic() < deadline_s:
        try:
            deployment = api(f"/apis/apps/v1/namespaces/{namespace}/deployments/{canary}")
            asked = f"?labelSelector=kubernetes.io/service-name={canary}"
            slices = api(f"/apis/discovery.k8s.io/v1/namespaces/{namespace}/endpointslices{asked}")["items"]
        except OSError as problem:
            print(f"{canary}: the API does not answer: {problem}", flush=True)
        else:
            if is_ready(deployment, slices):
                return True
        time.sleep(0.5)
    return False


def main(wait_s: str, canaries: str) -> int:
    deadline_s, failed = time.monotonic() + float(wait_s), 0
    for each in json.loads(canaries):
        route, canary = each["route"], each["canary"]
        namespace, name = route["metadata"]["namespace"], route["metadata"]["name"]
        if not wait(canary, namespace, deadline_s):
            print(f"{canary} is not ready after {wait_s} s: all traffic stays on stable.", flush=True)
            failed += 1
            continue
        time.sleep(LEARNS_S)
        path = f"/apis/gateway.networking.k8s.io/v1/namespaces/{namespace}/httproutes/{name}"
        live = api(path)
        route["metadata"]["annotations"] = helms(live)
        # The route alone is forced: a verb or a person may have changed its weights since.
        api(f"{path}?fieldManager={owner(live)}&force=true", route)
        weights = {ref["name"]: ref["weight"] for ref in route["spec"]["rules"][0]["backendRefs"]}
        print(f"{canary} is ready: {weights}", flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
