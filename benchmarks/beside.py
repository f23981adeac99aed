"""Two pretraining runs on the same cores: at once, against one after the other.

    taskset -c 0,1 .venv/bin/python benchmarks/beside.py --data DATA --work DIR --steps 150 --rounds 2

Wall seconds for both runs of the recipe `micro`, without the decoding of its clips, which a first short run
keeps in DIR. Ways: `in turn`, each with all cores, as torch is; `at once`, the same; `at once, passive`, with
OMP_WAIT_POLICY=passive; `at once, a core each`, with one thread each on a core of its own. The ways take
turns. The last line has, for each way, its fastest round over that of `in turn`: 1.25 is a quarter slower.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

WAYS: dict[str, dict[str, str]] = {
    "in turn": {},
    "at once": {},
    "at once, passive": {"OMP_WAIT_POLICY": "passive"},
    "at once, a core each": {"OMP_NUM_THREADS": "1"},
}


def command(data: Path, work: Path, number: int, steps: int) -> list[str]:
    """One run, from its beginning."""
    out = work / f"run-{number}"
    shutil.rmtree(out, ignore_errors=True)
    made = [sys.executable, "-m", "echojepa", "pretrain", "micro", "--data", str(data), "--out", str(out)]
    kept = ["--pictures", str(work / "pictures"), "--workers", "0"]
    return [*made, "--steps", str(steps), "--seed", str(number), *kept]


def seconds(way: str, data: Path, work: Path, steps: int) -> float:
    """Wall seconds of both runs."""
    cores = sorted(os.sched_getaffinity(0))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OMP_")}
    running: list[subprocess.Popen[bytes]] = []
    begun = time.perf_counter()
    for number in range(2):
        own = command(data, work, number, steps)
        if "a core each" in way:
            own = ["taskset", "-c", str(cores[number % len(cores)]), *own]
        log = (work / f"run-{number}.log").open("wb")
        running.append(subprocess.Popen(own, env=environment | WAYS[way], stdout=log, stderr=log))
        if way == "in turn":
            running[-1].wait()
    if any(one.wait() for one in running):
        raise SystemExit(f"a run failed; see {work}/run-*.log")
    return time.perf_counter() - begun


def main() -> None:
    """Print each round, and the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=150)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    subprocess.run(command(options.data, options.work, 0, 2), check=True, stdout=subprocess.DEVNULL)
    rounds = [
        {way: seconds(way, options.data, options.work, options.steps) for way in WAYS}
        for _ in range(options.rounds)
    ]
    for one in rounds:
        print("; ".join(f"{way} {spent:.1f} s" for way, spent in one.items()))
    fastest = {way: min(one[way] for one in rounds) for way in WAYS}
    print(
        " ".join(
            f"{way.replace(', ', '_').replace(' ', '_')}={fastest[way] / fastest['in turn']:.2f}"
            for way in WAYS
        )
    )


if __name__ == "__main__":
    main()
