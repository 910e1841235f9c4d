"""The options of `scoregate train` for somebody's own data."""

from __future__ import annotations

import argparse
import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from scoregate import catalog
from scoregate.errors import ScoregateError
from scoregate.settings import Settings

if TYPE_CHECKING:
    from scoregate.training.imports import Material, Say

_DAYS = ("start", "train_days", "delay_days", "test_days")


def register(train: argparse.ArgumentParser) -> None:
    """Add the options."""
    own = train.add_argument_group("your own data (a file of CSV or Parquet, or the ledger)")
    own.add_argument("--transactions", type=Path, metavar="FILE", help="labelled transactions, for fraud")
    own.add_argument("--applications", type=Path, metavar="FILE", help="applications, for credit (labelled) and kyc")
    own.add_argument("--columns", type=Path, metavar="MAP.toml", help="which of your columns is what")
    own.add_argument("--decisions", action="store_true", help="what was decided, with the labels that have come")
    own.add_argument("--start", type=_day, metavar="D", help="first day to train on; rows before it fill windows alone")
    own.add_argument("--train-days", type=int, metavar="N", help="days to train on")
    own.add_argument("--delay-days", type=int, metavar="N", help="days until labels are known, left out before test")
    own.add_argument("--test-days", type=int, metavar="N", help="days to test on")


def bring(arguments: argparse.Namespace, settings: Settings) -> Callable[[Say], Material] | None:
    """Return what makes material of the file or ledger that was named; None without one.

    Raises:
        ScoregateError: the options do not belong together, or not to the service.
    """
    named = {option: getattr(arguments, option) for option in ("transactions", "applications")}
    given = [option for option, file in named.items() if file is not None]
    days = [f"--{name.replace('_', '-')}" for name in _DAYS if getattr(arguments, name) is not None]
    from scoregate.training.imports.days import Period

    period = Period(*(getattr(arguments, name) for name in _DAYS))
    if arguments.decisions:
        if given or arguments.columns:
            raise ScoregateError("--decisions trains on the ledger, and takes no file and no map")
        from scoregate.training.imports import decisions

        return lambda say: decisions.material(arguments.service, period, settings, say)
    if not given:
        if arguments.columns or days:
            raise ScoregateError(f"{'--columns' if arguments.columns else days[0]} needs a file to read")
        return None
    service = arguments.service
    wanted = getattr(_part(service), "OPTION", None)
    if given != [wanted]:
        raise ScoregateError(f"{service} takes {f'--{wanted}' if wanted else 'no file'}, not --{' and --'.join(given)}")
    if arguments.columns is None:
        raise ScoregateError(f"--{wanted} needs --columns MAP.toml, which says what its columns are")
    file = named[str(wanted)]
    if hasattr(_part(service), "STREAM"):
        from scoregate.training.imports import events

        asked = events.Asked(file, arguments.columns, period)
        return lambda say: events.material(service, asked, settings, say)
    if days:
        raise ScoregateError(f"{service} has no {days[0]}: its records are not split by days")
    from scoregate.training.imports import tabular

    return lambda say: tabular.material(service, file, arguments.columns, settings, say)


def _part(service: str) -> object:
    try:
        return catalog.part(service, "imports")
    except ModuleNotFoundError:
        return None


def _day(text: str) -> dt.date:
    return dt.date.fromisoformat(text)
