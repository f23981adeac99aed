"""Claims about files that crash, spin or swell: they cost themselves alone."""

from __future__ import annotations

import math
import operator
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from echojepa.processes.workers import Died, Limits, run_in_order

Thunk = Callable[[], Any]


def run(jobs: list[Thunk], workers: int = 2, seconds: float = 1.0, memory: int = 1 << 30) -> list[Any]:
    return list(run_in_order(operator.call, jobs, workers, lambda job: Limits(seconds, memory), "operator"))


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_results_come_in_the_order_of_jobs_whatever_the_number_of_workers(workers: int) -> None:
    jobs: list[Thunk] = [partial(math.isqrt, n * n) for n in range(40)]
    assert run(jobs, workers) == list(range(40))
    assert run([], workers) == []


def test_a_job_that_crashes_or_exits_is_said_to_have_died_and_all_others_answer() -> None:
    crash, leave = partial(signal.raise_signal, signal.SIGSEGV), partial(os._exit, 0)
    jobs: list[Thunk] = [partial(abs, -1), crash, partial(abs, -2), leave, crash, partial(abs, -3)]
    died = Died(over_time=False)
    assert run(jobs, workers=1) == run(jobs) == [1, died, 2, died, died, 3]


def test_a_job_that_spins_in_c_is_ended_and_said_to_be_over_time() -> None:
    assert run([partial(sum, range(10**13)), partial(abs, -1)], seconds=0.3) == [Died(over_time=True), 1]


def test_time_is_counted_for_each_job_and_not_for_the_worker() -> None:
    spin: Thunk = partial(sum, range(2 * 10**6))
    assert len(set(run([spin] * 16, workers=1, seconds=0.4))) == 1


def test_a_job_that_asks_for_too_much_memory_gets_an_error_and_not_the_machine() -> None:
    with pytest.raises(MemoryError):
        run([partial(bytearray, 4 << 30)], memory=1 << 30)


def test_an_error_of_our_own_is_raised_and_not_taken_for_a_bad_file() -> None:
    with pytest.raises(ZeroDivisionError):
        run([partial(abs, -1), partial(operator.truediv, 1, 0)])


def test_a_script_without_a_guard_is_not_run_again_in_its_workers(tmp_path: Path) -> None:
    """Python would, to find functions that stand in it; ours stand in modules. Nor does anything warn."""
    script = tmp_path / "script.py"
    script.write_text(
        "from echojepa.processes.workers import Limits, run_in_order\nprint('once')\n"
        "limits = lambda job: Limits(5.0, 1 << 28)\n"
        "print(list(run_in_order(abs, [-1, 2], 1, limits, 'echojepa.data.store.loop_store')), __file__)\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == (f"once\n[1, 2] {script}\n", "")
