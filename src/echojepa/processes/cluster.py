"""The same work on a Ray cluster: tasks go out, results come back in order, this process alone writes.

A task whose worker or node dies is run again elsewhere; its results are taken once, so nothing is lost and
nothing doubled. Files are not sent: every node sees them, and the key, at the same paths. Results stay in the
memory of the node that made them until they are fetched, and are freed then.
"""

from __future__ import annotations

import os
import socket
import warnings
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, Generic, TypeVar

from echojepa.errors import UserError
from echojepa.processes.workers import AHEAD, Died, Limits, run_in_order

Task = TypeVar("Task")
Job = TypeVar("Job")
Result = TypeVar("Result")
LOCAL = "local"
"""In place of HOST:PORT: a cluster of this machine alone, for as long as the command runs."""
AUTO = "auto"
"""The cluster that this machine is part of."""
PATIENCE = 10.0
"""Seconds in which a cluster must answer."""
RETRIES = 5
"""How often a task is run again whose worker died under it."""
JOBS_A_TASK = 32
"""Files that go out together: enough to make up for sending them, few enough to repeat."""


class ClusterError(UserError):
    """A Ray cluster is not there, or failed."""


@contextmanager
def connected(address: str) -> Iterator[Any]:
    """Ray, connected to a cluster, or the connection that this process has already; ClusterError if neither.

    No worker's output is fetched (it could quote a path), and a cluster started here reports to nobody.
    """
    try:
        import ray
    except ImportError:
        raise ClusterError("Ray is not installed; pip install 'echojepa[ray]'") from None
    if ray.is_initialized():
        yield ray
        return
    check_address(address)
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "ERROR", "include_dashboard": False}
    if address != LOCAL:
        del quiet["include_dashboard"]  # it is the cluster's
    try:
        with warnings.catch_warnings():  # Lance warns of every fork; this one becomes another program at once
            warnings.filterwarnings("ignore", "lance is not fork-safe")
            ray.init(address=address, **quiet)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise no_cluster(address, type(error).__name__) from None
    try:
        yield ray
    finally:
        ray.shutdown()


def check_address(address: str) -> None:
    """ClusterError unless something listens there: Ray itself would wait for minutes."""
    if address in (LOCAL, AUTO):
        return
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host, int(port)), PATIENCE).close()
    except (OSError, ValueError) as error:
        raise no_cluster(address, type(error).__name__) from None


def no_cluster(address: str, why: str) -> ClusterError:
    """The error for an address that is none."""
    return ClusterError(
        f"no Ray cluster answers at '{address}' ({why}); give HOST:PORT, `{AUTO}` for this machine's "
        f"cluster, or `{LOCAL}` for this machine alone. `ray start --head --disable-usage-stats` starts "
        "one"
    )


def map_on_cluster(
    function: Callable[[Task], Result], tasks: Iterable[Task], address: str, *, on_gpus: bool = False
) -> Iterator[Result]:
    """Results of `function` over tasks, in their order; each has a core, or `on_gpus` a GPU if there are any.

    A few tasks for each core are out at a time. An exception of the function itself is raised here;
    ClusterError for a cluster that is not there, and for a task that took its worker down RETRIES times.
    """
    with connected(address) as ray:
        resources = ray.cluster_resources()
        gpus = int(resources.get("GPU", 0)) if on_gpus else 0
        remote = ray.remote(num_cpus=1, num_gpus=1 if gpus else 0, max_retries=RETRIES)(_named(function))
        shared, coming = ray.put(function), iter(tasks)
        size = AHEAD * (gpus or int(resources.get("CPU", 1)))
        waiting = deque(remote.remote(shared, task) for task in islice(coming, size))
        while waiting:
            try:
                result = ray.get(waiting.popleft())
            except ray.exceptions.RayTaskError as error:
                if isinstance(error.cause, UserError):
                    raise error.cause from None
                raise
            except ray.exceptions.RayError as error:
                raise ClusterError(
                    f"the cluster lost a task {RETRIES + 1} times ({type(error).__name__}); finished work "
                    "is safe. Run again, with more memory for each node if it was short"
                ) from None
            waiting.extend(remote.remote(shared, task) for task in islice(coming, 1))
            yield result


def _named(function: Callable[[Task], Result]) -> Callable[[Any, Any], Any]:
    """The function that a node runs. Its name states only the kind of work, because Ray shows names."""

    def work(shared: Callable[[Task], Result], task: Task) -> Result:
        return shared(task)

    work.__name__ = work.__qualname__ = type(function).__name__
    return work


@dataclass(frozen=True)
class OnNode(Generic[Job, Result]):
    """Jobs one after the other in a process of their own on a node, each within its limits, as at home."""

    function: Callable[[Job], Result]
    limits: Callable[[Job], Limits]
    preload: str

    def __call__(self, jobs: Sequence[Job]) -> list[Result | Died]:
        """Their results; a job that crashes its process has died, and only it."""
        return list(run_in_order(self.function, jobs, 1, self.limits, self.preload))


def run_on_cluster(
    function: Callable[[Job], Result],
    jobs: Sequence[Job],
    address: str,
    limits: Callable[[Job], Limits],
    preload: str,
) -> Iterator[Result | Died]:
    """`workers.run_in_order` with a cluster's address in place of a number of processes."""
    tasks = (jobs[start : start + JOBS_A_TASK] for start in range(0, len(jobs), JOBS_A_TASK))
    for results in map_on_cluster(OnNode(function, limits, preload), tasks, address):
        yield from results
