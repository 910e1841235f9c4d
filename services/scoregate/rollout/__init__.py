"""Canaries: what is judged, how, and the verbs that act on it.

sequential.py   evidence about two shares that may be looked at as often as one likes; pure
gates.py        which shares are compared, what is tolerated, what is harm; pure
verdict.py      promote, hold or roll back; pure
decisions.py    the ledger's part of the evidence
pairs.py        the ledger's part of the evidence on a shadow
requests.py     the metrics' part of it
prometheus.py   the same from a Prometheus server
canary.py       which canary there is, and the journal of what was done to it
gathering.py    the evidence on one canary, from both sources
flip.py         the first thing a rollback does: the weights
arms.py         the processes behind the arms of the local stack
local.py        the verbs on the local stack: second process, gateway weights
route.py        a canary of a Helm release in its HTTPRoute, and the patches; pure
pods.py         what its pods say; pure
kubectl.py      what of a cluster the verbs need
kube.py         the verbs on a Helm release
auto.py         walks the steps and goes back by itself
answering.py    the verdict over HTTP, for Argo's web metric
commands.py     `scoregate canary`; local_commands.py and kube_commands.py run it, showing.py prints
"""
