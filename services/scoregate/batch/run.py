"""Workers over the chunks of a file, until every row has its part; then the parts become one file."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import multiprocessing.util
import os
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, as_completed, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

import pyarrow as pa

from scoregate import catalog
from scoregate.batch import results, rows
from scoregate.batch.job import CHUNK_ROWS, Job, Parts, digest_of
from scoregate.batch.worker import BatchWorker, Work
from scoregate.errors import ScoregateError, SignatureMismatch
from scoregate.features.plan import compile_plan
from scoregate.features.registry import registry_of
from scoregate.models.artefact import Artefact, champion
from scoregate.scoring.goldens import check_goldens
from scoregate.settings import Settings

Say = Callable[[int, int | None], None]
"""Takes the rows that are done, and how many there are, where that is known."""


def score(
    settings: Settings,
    service: str,
    source: Path,
    target: Path,
    *,
    as_of: str = "now",
    resume: bool = False,
    workers: int | None = None,
    say: Say = lambda *_: None,
) -> dict[str, Any]:
    """Score every row of `source` into `target`; return counts of what became of them.

    Raises:
        ScoregateError: files, options, or an earlier run stand against it; or a dependency did not answer. What was
            decided until then stays, and `resume` goes on from there.
    """
    rows.format_of(target)
    request_type = catalog.part(service, "contract").Request
    columns = rows.Columns.of(source, request_type)
    parts = Parts.beside(target)
    job, model = _job(settings, service, source, target, as_of, parts, resume=resume)
    artefact = _checked(settings, service, model, as_of)
    if artefact.digest != job.model_digest:
        raise ScoregateError(f"the run began with model {job.model_digest[:12]}, and {model} is another one")
    work = Work(service, source.resolve(), model.resolve(), as_of)
    total = rows.count(source)
    todo = (
        (number, chunk)
        for number, chunk in enumerate(rows.chunks(source, columns.fields, job.chunk_rows))
        if not parts.part(number).exists()
    )
    done = len(parts.done()) * job.chunk_rows
    for chunk_rows in _decided(work, job, parts, todo, workers or os.cpu_count() or 1):
        done += chunk_rows
        say(done if total is None else min(done, total), total)
    results.merge(parts.done(), target, request_type.NATURAL_KEY)
    not_read = {"columns_not_read": list(columns.others)}
    found = {"service": service, "model": artefact.version, "as_of": as_of, **not_read, **results.summary(parts.done())}
    parts.remove()
    return found


def _job(
    settings: Settings, service: str, source: Path, target: Path, as_of: str, parts: Parts, *, resume: bool
) -> tuple[Job, Path]:
    """Begin a job, or go on with the one that was not finished; return it with its model's folder."""
    digest = digest_of(source)
    earlier = parts.earlier()
    if earlier is None:
        if target.exists():
            raise ScoregateError(f"{target} is there already; remove it, or name another file")
        model = settings.model_dir or champion(settings.models(service))
        job = Job(service, digest, Artefact.load(model).digest, as_of, settings.arm, CHUNK_ROWS[as_of])
        parts.take()
        parts.begin(job)
        return job, model
    if not resume:
        raise ScoregateError(f"{parts.folder} is what an earlier run left; go on with --resume, or remove it")
    if (earlier.service, earlier.input_sha256, earlier.as_of) != (service, digest, as_of):
        raise ScoregateError(f"{parts.folder} is of another service, file or --as-of; remove it to begin anew")
    parts.take()
    return earlier, settings.model_dir or settings.models(service) / earlier.model_digest[:12]


def _checked(settings: Settings, service: str, model: Path, as_of: str) -> Artefact:
    """Load a model the way a process that serves does before it is ready.

    Raises:
        ArtefactError: something does not agree.
    """
    artefact = Artefact.load(model)
    if artefact.signature.service != service:
        raise SignatureMismatch(f"the artefact was trained for {artefact.signature.service}, not for {service}")
    plan = artefact.signature.plan
    if as_of == "row" or settings.registry_url or settings.registry_path.exists():
        current = compile_plan(registry_of(settings), plan.service)
        if current.digest != plan.digest:
            raise SignatureMismatch(f"{plan.service} is not what the model was trained on: {plan.difference(current)}")
    check_goldens(artefact, catalog.part(service, "features"), catalog.part(service, "contract").Request)
    return artefact


def _decided(work: Work, job: Job, parts: Parts, todo: Iterator[tuple[int, pa.Table]], workers: int) -> Iterator[int]:
    """Decide chunks in processes of their own; yield rows as they are done."""
    # Spawned and not forked: the parent holds threads of Arrow, whose locks a fork would copy.
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, context, _begin, (work,)) as pool:
        running: set[Future[int]] = set()
        try:
            for number, chunk in todo:
                first = number * job.chunk_rows + 1
                running.add(pool.submit(_part, ipc(chunk), first, parts.part(number)))
                # No more of the file than this is in memory.
                if len(running) >= workers + 1:
                    finished, running = wait(running, return_when=FIRST_COMPLETED)
                    yield sum(future.result() for future in finished)
            for future in as_completed(running):
                yield future.result()
        except BrokenProcessPool as problem:
            raise ScoregateError("a worker was killed; go on with --resume") from problem
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


_here: tuple[asyncio.Runner, BatchWorker] | None = None
"""What a worker process keeps from chunk to chunk."""


def _begin(work: Work) -> None:
    global _here  # noqa: PLW0603  a pool gives its workers no other place
    runner, worker = asyncio.Runner(), BatchWorker(work, Settings())
    runner.run(worker.start())
    # Before the process ends its ledger writes what is left, such as how far events were sent.
    multiprocessing.util.Finalize(None, lambda: runner.run(worker.close()), exitpriority=10)
    _here = runner, worker
    # What is here now stays, and a chunk leaves no cycles behind that matter: looking for them over and over in tens of
    # thousands of objects that live as long as the chunk cost a sixth of it.
    gc.collect()
    gc.freeze()
    gc.disable()


def _part(chunk: bytes, first_row: int, path: Path) -> int:
    assert _here is not None, "workers begin before they work"
    runner, worker = _here
    table = pa.ipc.open_stream(chunk).read_all()
    results.write_part(path, runner.run(worker.results(table, first_row)))
    gc.collect()
    return int(table.num_rows)


def ipc(table: pa.Table) -> bytes:
    """Write a table; a pickled slice would carry the buffers of the whole."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue())
