"""Many files, each with a bound on its time and memory, on processes of their own.

A decoder in C can crash or spin on a damaged file. Each worker has one file at a time: when it dies, that
one file has failed, a new worker takes its place, and the others never notice.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
AHEAD = 4
"""Jobs a worker that may be finished before the one whose turn it is: it bounds the memory of the parent."""


@dataclass(frozen=True)
class Limits:
    """What one job may use."""

    cpu_seconds: float
    """CPU time after which its worker is ended."""
    memory: int
    """Bytes that it may allocate beyond what a fresh worker holds; MemoryError beyond."""


@dataclass(frozen=True)
class Died:
    """A job took its worker with it."""

    over_time: bool
    """Whether it ran out of CPU time; it crashed otherwise."""


@dataclass
class Worker(Generic[Job]):
    """A process with at most one job."""

    process: Any
    pipe: Connection
    number: int | None = None
    """Which job it has."""


def run_in_order(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    workers: int,
    limits: Callable[[Job], Limits],
    preload: str,
) -> Iterator[Result | Died]:
    """Results of `function` over jobs, in their order, on `workers` processes.

    `preload` is the module that holds the function; new workers are forked from a process that has it.
    An exception of `function` itself is raised here.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["echojepa.processes.forked_from", preload])
    crew = [_hire(context, function) for _ in range(min(workers, len(jobs)))]
    finished: dict[int, Any] = {}
    given = told = 0
    try:
        while told < len(jobs):
            for worker in crew:
                if worker.number is None and given < min(len(jobs), told + AHEAD * len(crew)):
                    worker.number = given
                    worker.pipe.send((jobs[given], limits(jobs[given])))
                    given += 1
            busy = [worker for worker in crew if worker.number is not None]
            for pipe in wait([worker.pipe for worker in busy]):
                worker = next(one for one in busy if one.pipe is pipe)
                finished[worker.number or 0] = _collect(worker)
                if isinstance(finished[worker.number or 0], Died):
                    crew[crew.index(worker)] = _hire(context, function)
                worker.number = None
            while told in finished:
                result = finished.pop(told)
                told += 1
                if isinstance(result, BaseException):
                    raise result
                yield result
    finally:
        for worker in crew:
            worker.process.kill()
            worker.process.join()


def _hire(context: Any, function: Callable[[Job], Any]) -> Worker[Job]:
    mine, theirs = context.Pipe()
    process = context.Process(target=_work, args=(function, theirs), daemon=True)
    with _apart_from_main(function):
        process.start()
    theirs.close()
    return Worker(process, mine)


@contextlib.contextmanager
def _apart_from_main(function: Callable[..., Any]) -> Iterator[None]:
    """Start processes that do not run the main script again, as Python has them do to find functions that
    stand in it: a user's script without `if __name__ == "__main__"` would call us in each."""
    main = sys.modules["__main__"]
    path = None if function.__module__ == "__main__" else vars(main).pop("__file__", None)
    try:
        yield
    finally:
        if path is not None:
            vars(main)["__file__"] = path


def _collect(worker: Worker[Any]) -> Any:
    """What a worker sent, or that it died."""
    try:
        return worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        return Died(over_time=worker.process.exitcode == -signal.SIGPROF)


def _work(function: Callable[[Any], Any], pipe: Connection) -> None:
    """Answer jobs until the parent is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends its workers
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            job, limits = pipe.recv()
            _bound(limits)
            try:
                result = function(job)
            except Exception as error:  # noqa: BLE001 - handed to the parent, which raises it
                result = error
            pipe.send(result)


def allow_seconds(more: float) -> None:
    """Let the job of this process use so many CPU seconds from now on, where it has a limit."""
    left = signal.getitimer(signal.ITIMER_PROF)[0]
    if left:
        signal.setitimer(signal.ITIMER_PROF, max(left, more))


def _bound(limits: Limits) -> None:
    """Set this process' limits for its next job.

    The time is a timer's, which starts anew and ends the process. RLIMIT_CPU would be set from what getrusage
    says was used, and Linux holds to it by another count: by 8 s where getrusage had 14, on a busy core. In a
    worker of thousands of files the two drift apart until a job is ended that has only begun.
    """
    signal.setitimer(signal.ITIMER_PROF, limits.cpu_seconds)
    bound_memory(limits.memory)


def bound_memory(more: int) -> None:
    """Let this process, and those that it starts, allocate so many bytes beyond what it holds now."""
    if sys.platform == "linux":  # elsewhere address space is not held to a limit
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        size = pages * resource.getpagesize() + more
        resource.setrlimit(resource.RLIMIT_AS, (size, resource.getrlimit(resource.RLIMIT_AS)[1]))
