"""The verbs on a Helm release."""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Mapping

from scoregate.errors import ScoregateError
from scoregate.rollout import showing
from scoregate.rollout.kube import KubeRollout

WEIGHT_PERCENT = 10


def run(verb: str, arguments: argparse.Namespace) -> int:
    if verb not in _VERBS:
        raise ScoregateError(f"`canary {verb}` does not go with --kube")
    return _VERBS[verb](_rollout(arguments), arguments)


def _rollout(arguments: argparse.Namespace) -> KubeRollout:
    return KubeRollout(
        arguments.service,
        release=arguments.release,
        namespace=arguments.namespace,
        who=getattr(arguments, "who", None) or showing.account(),
        why=getattr(arguments, "why", ""),
    )


def _start(rollout: KubeRollout, arguments: argparse.Namespace) -> int:
    if arguments.auto or arguments.shadow or arguments.model:
        raise ScoregateError(
            "--auto, --shadow and --model go with the local stack: in a release Argo Rollouts walks the steps, and its "
            "values say which models there are"
        )
    taken = rollout.start(arguments.weight or WEIGHT_PERCENT)
    showing.say(arguments, f"{taken.service} {showing.has(taken)}", showing.canary_json(taken))
    return 0


def _status(rollout: KubeRollout, arguments: argparse.Namespace) -> int:
    current, weights, done = rollout.status()
    if arguments.json:
        canary = showing.canary_json(current) if current else None
        print(json.dumps({"canary": canary, "weights": weights, "journal": done}))
        return 0
    shares = ", ".join(f"{arm} {weight}" for arm, weight in weights.items())
    print(f"{showing.has(current) if current else f'{arguments.service} has no canary'}; weights: {shares}")
    showing.history(done)
    return 0


def _verdict(rollout: KubeRollout, arguments: argparse.Namespace) -> int:
    from scoregate.rollout.gathering import Gathering, metrics_of
    from scoregate.settings import Settings

    canary = rollout.canary
    if canary is None:
        raise ScoregateError(f"{arguments.service} has no canary; `canary start --kube` begins its record")
    if not arguments.prometheus:
        raise ScoregateError("in a cluster the metrics are Prometheus': say where, by --prometheus URL")
    of = {"namespace": arguments.namespace} if arguments.namespace else {}
    verdict = Gathering(Settings(), canary, metrics_of(canary, arguments.prometheus, of)).verdict()
    showing.show(arguments, verdict)
    return showing.CODES[verdict.action.value]


def _promote(rollout: KubeRollout, arguments: argparse.Namespace) -> int:
    commands = rollout.promotion()
    steps = "\n".join(f"  {command}" for command in commands)
    showing.say(arguments, f"Helm makes it stable, and then takes the canary away:\n{steps}", {"commands": commands})
    return 0


def _rollback(rollout: KubeRollout, arguments: argparse.Namespace) -> int:
    gone = rollout.rollback()
    model = gone.model if gone else "canary"
    said = showing.canary_json(gone) if gone else {"service": arguments.service}
    showing.say(arguments, f"{arguments.service} {model} gets no more requests", said)
    return 0


_VERBS: Mapping[str, Callable[[KubeRollout, argparse.Namespace], int]] = {
    "start": _start,
    "status": _status,
    "verdict": _verdict,
    "promote": _promote,
    "rollback": _rollback,
}
