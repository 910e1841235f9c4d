"""`scoregate <this service> link`: which applications of a file are the same person."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path

from scoregate.errors import ScoregateError
from scoregate.settings import Settings


def register(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the actions to the command line."""
    link = actions.add_parser(
        "link", help="find applications that are the same person: pairs, with a score and a group"
    )
    link.add_argument("--applications", type=Path, required=True, metavar="FILE", help="applications, CSV or Parquet")
    link.add_argument("--columns", type=Path, required=True, metavar="MAP.toml", help="which of your columns is what")
    link.add_argument("--out", type=Path, required=True, metavar="PAIRS.parquet", help="where the pairs go")
    link.add_argument("--json", action="store_true", help="print one JSON object on stdout, progress on stderr")
    link.set_defaults(run=_link)


def _link(arguments: argparse.Namespace) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from scoregate.training.imports import columns, files
    from scoregate.training.imports.log import Read
    from scoregate.training.linkage.groups import joined

    from . import imports, linkage

    settings = Settings()
    column_map = columns.read_map(arguments.columns, imports.KEYS, files.columns_of(arguments.applications))
    checked = columns.read_checked(arguments.applications, column_map, imports.KEYS)
    service = str(__package__)
    Read.of(service, arguments.applications, column_map, checked.rows).note(settings)
    people = [linkage.Person.of(row) for row in checked.as_rows()]
    left, right, score = linkage.same_person(people, settings.seed)
    group = joined(checked.rows, left, right)
    ids = checked["application_id"]
    pairs = pa.table({"left": ids.take(left), "right": ids.take(right), "score": score, "group": group[left]})
    try:
        handle = os.open(arguments.out, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    except OSError as problem:
        raise ScoregateError(f"{arguments.out} cannot be written: {problem.strerror}") from problem
    with os.fdopen(handle, "wb") as file:
        pq.write_table(pairs, file)
    said = {"records": checked.rows, "pairs": len(left), "groups": len(set(group[left].tolist()))}
    print(
        f"{said['records']:,} records, {said['pairs']:,} pairs in {said['groups']:,} groups: {arguments.out}",
        file=sys.stderr,
    )
    if arguments.json:
        print(json.dumps({**said, "out": str(arguments.out)}))
    return 0
