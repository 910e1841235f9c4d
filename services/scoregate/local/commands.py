"""The commands of the local stack; whatever their user can mend ends in one sentence and exit code 1."""

from __future__ import annotations

import argparse
import contextlib
import errno
import fcntl
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError

from scoregate.errors import ScoregateError
from scoregate.local import StackError
from scoregate.local.state import run_dir
from scoregate.settings import Settings, unknown_variables

if TYPE_CHECKING:
    from rich.console import Console

WIDTH = 120
INTERRUPTED = 130


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add `up`, `down`, `status`, `restart`, `chaos`, `trace` and `top`."""
    up = subparsers.add_parser("up", help="start the stack on this machine and wait until it is ready")
    down = subparsers.add_parser("down", help="stop what `up` started; the state stays")
    status = subparsers.add_parser("status", help="say what runs, and how it is")
    restart = subparsers.add_parser("restart", help="start one service anew, with the code and champion of now")
    restart.add_argument("service", help="a service's name, `worker` or `gateway`")
    chaos = subparsers.add_parser("chaos", help="rehearse faults: break parts of a service for a while (development)")
    chaos.add_argument("service", help="a service's name")
    chaos.add_argument("fault", nargs="*", help="PART=HOW, as store=dead; none mends everything")
    chaos.add_argument("--seconds", type=float, default=60.0, help="after which all is well again (%(default)g)")
    trace = subparsers.add_parser("trace", help="draw a recent trace; the last decision's if none is named")
    trace.add_argument("id", nargs="?", help="of a trace, or of a decision")
    top = subparsers.add_parser("top", help="rates, times and outcomes of every process, live")
    top.add_argument("--every", type=float, default=2.0, help="seconds (%(default)g)")
    top.add_argument("--once", action="store_true", help="show once, as where nobody looks at a terminal")
    commands = {
        "up": up,
        "top": top,
        "down": down,
        "status": status,
        "restart": restart,
        "chaos": chaos,
        "trace": trace,
    }
    for name, parser in commands.items():
        parser.set_defaults(run=_runner(name))


def _runner(name: str) -> Callable[[argparse.Namespace], int]:
    return lambda arguments: run_command(name, arguments)


def run_command(name: str, arguments: argparse.Namespace) -> int:
    """Return the exit code."""
    home: Path | None = None
    try:
        settings = _settings()
        home = settings.home
        return _dispatch(name, settings, arguments)
    except (StackError, ScoregateError, TimeoutError) as error:
        return _say(str(error))
    except ValidationError as error:
        wrong = "; ".join(f"SCOREGATE_{str(each['loc'][0]).upper()}: {each['msg']}" for each in error.errors())
        return _say(f"A setting is not acceptable: {wrong}.")
    except KeyboardInterrupt:
        _say("Interrupted; `make down` stops what was started, `make up` goes on from here.")
        return INTERRUPTED
    except OSError as error:
        return _say(_disk(error) or f"{name} failed: {error}.")
    except Exception as error:  # The last door: the details belong in a file, the sentence on the screen.
        return _say(f"{name} failed unexpectedly: {type(error).__name__}: {error}.{_kept(home)}")


def _settings() -> Settings:
    found = Settings()
    if unknown := unknown_variables():
        print(f"scoregate: there is no setting {', '.join(unknown)}; it is ignored.", file=sys.stderr)
    return found.model_copy(update={"home": found.home.resolve()})


def _dispatch(name: str, settings: Settings, arguments: argparse.Namespace) -> int:
    # Each command imports only what it needs: `down` and `status` must be instant, and an image has no rich.
    from rich.console import Console

    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else WIDTH)
    match name:
        case "up":
            from scoregate.local.up import up

            with _alone(settings.home):
                return up(settings, console)
        case "down":
            from scoregate.local.down import down

            return down(settings, console)
        case "status":
            from scoregate.local.status import status

            return status(settings, console)
        case "restart":
            from scoregate.local.restart import restart

            with _alone(settings.home):
                return restart(settings, console, arguments.service)
        case "chaos":
            from scoregate.local.chaos import chaos

            return chaos(settings, console, arguments.service, arguments.fault, arguments.seconds)
        case _:
            return _look(name, settings, console, arguments)


def _look(name: str, settings: Settings, console: Console, arguments: argparse.Namespace) -> int:
    """Run a command that changes nothing."""
    if name == "top":
        from scoregate.local.top import top

        return top(settings, console, arguments.every, once=arguments.once)
    from scoregate.local.trace import trace

    return trace(settings, console, arguments.id)


@contextlib.contextmanager
def _alone(home: Path) -> Iterator[None]:
    """Two at once would train twice, take each other's stand-in, and write over each other."""
    home.mkdir(parents=True, exist_ok=True, mode=0o700)
    run_dir(home).mkdir(exist_ok=True, mode=0o700)
    with (run_dir(home) / "up.lock").open("a") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise StackError(f"Another `up` or `restart` is at work in {home}: wait for it to end.") from None
        yield


def _disk(error: OSError) -> str | None:
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return None
    where = f" while {error.filename} was written" if error.filename else ""
    return f"The disk is full{where}: free some space, or set SCOREGATE_HOME to a folder on another disk."


def _kept(home: Path | None) -> str:
    if home is None:
        return ""
    file = run_dir(home) / "error.log"
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(traceback.format_exc())
        return f" The details are in {file}."
    return ""


def _say(sentence: str) -> int:
    print(sentence, file=sys.stderr)
    return 1
