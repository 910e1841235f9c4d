"""The one-machine stack: starts the online store, the services and the gateway, keeps them up, stops them.

state.py        what should run and what does, as files under <home>/run/
processes.py    one child process; processes by pid and birth
supervisor.py   the daemon that owns the children
valkey.py       the online store
traefik.py      what the gateway is told, as pure functions
routes.py       where the gateway's files are, and the way back from a canary
gateway.py      the gateway's files; the weights of the arms
beside.py       what stands beside a gateway in a container
problems.py     pages in place of the gateway's own refusals
plan.py         who listens where and how it is started
preflight.py    what would stop the stack, before it is started
credentials.py  the demo key
champions.py    which model each service would serve
up.py down.py status.py restart.py chaos.py      the commands, registered by commands.py
ready.py progress.py table.py           what they wait for and show
"""

from __future__ import annotations


class StackError(Exception):
    """What whoever runs the command can mend; its text is the whole message, a sentence that says what to do."""
