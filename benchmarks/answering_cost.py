"""Seconds and memory that studies take: read, answered and written, with one load of the model.

    python benchmarks/answering_cost.py MODEL STUDY [STUDY ...] [--workers 2] [--dicom]

A `STUDY` is what `echojepa predict` takes; a folder may hold several. CPU seconds are of this process and of
all that it starts, which other jobs on the machine disturb little; the wall clock stands beside them. Linux
alone: it reads /proc.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from family import TICK, family_seconds

from echojepa.answer.model import load_model
from echojepa.answer.predict import answers
from echojepa.answer.writing.output import write_answer

EVERY = 0.1
"""Seconds between looks at the processes."""


class Family(threading.Thread):
    """CPU seconds and greatest memory of this process and of its descendants, also of those that ended."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.seconds: dict[int, float] = {}
        self.gigabytes: dict[int, float] = {}
        self.start()

    def run(self) -> None:
        """Look again and again."""
        while True:
            self.look()
            time.sleep(EVERY)

    def look(self) -> None:
        """Read /proc once."""
        for process, seconds in family_seconds(os.getpid(), self.seconds).items():
            self.seconds[process] = seconds
            self.gigabytes[process] = max(self.gigabytes.get(process, 0.0), peak(process))

    def total(self) -> float:
        """CPU seconds of all until now."""
        self.look()
        return sum(self.seconds.values())


def peak(process: int) -> float:
    """Greatest resident memory of a process, GB; 0 for one that ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) * 1024 / 1e9 for line in lines if line.startswith("VmHWM")), 0.0)


def age() -> float:
    """Seconds since this process began, imports included."""
    started = int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19]) / TICK
    return time.clock_gettime(time.CLOCK_BOOTTIME) - started


def main() -> None:
    """Load once, answer all, print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("studies", nargs="+", type=Path)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--dicom", action="store_true")
    options = parser.parse_args()
    family = Family()
    model = load_model(options.model)
    loaded = family.total(), age()
    read = {"cpu": loaded[0], "wall": loaded[1]}

    def show(done: int, total: int, note: str = "") -> None:
        if note == "files read" and done == total:
            read.update(cpu=family.total(), wall=age())

    cpu, wall, loops = [], [], 0
    with tempfile.TemporaryDirectory() as out:
        before = 0.0, 0.0
        for answer in answers(options.studies, model, show, options.workers):
            if not cpu:
                before = read["cpu"], read["wall"]
            write_answer(answer, Path(out, str(answer.number)), dicom=options.dicom)
            now = family.total(), age()
            cpu.append(now[0] - before[0])
            wall.append(now[1] - before[1])
            before, loops = now, loops + len(answer.loops)
    count = len(cpu)
    print(f"{count} studies, {loops} loops, {options.workers} processes that read")
    print(f"start and load, once: {loaded[0]:.1f} CPU s, {loaded[1]:.1f} s")
    reading = [(read[clock] - start) / count for clock, start in zip(("cpu", "wall"), loaded, strict=True)]
    print(f"read, a study: {reading[0]:.2f} CPU s, {reading[1]:.2f} s")
    print(
        f"answer and write, a study: median {np.median(cpu):.2f} CPU s (most {max(cpu):.2f}), "
        f"median {np.median(wall):.2f} s (most {max(wall):.2f})"
    )
    print(f"all: {family.total():.1f} CPU s, {age():.1f} s")
    own, others = family.gigabytes[os.getpid()], [g for p, g in family.gigabytes.items() if p != os.getpid()]
    print(f"memory: {own:.2f} GB, and at most {max(others, default=0.0):.2f} GB in a process that reads")


if __name__ == "__main__":
    main()
