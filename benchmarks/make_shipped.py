"""Makes the model that comes with the package, `shipped:small`, from nothing: hours on one core.

    OMP_NUM_THREADS=1 taskset -c 0 .venv/bin/python benchmarks/make_shipped.py WORK

Each stage is one command of `echojepa`, and goes on where it was stopped. The finished model lies in
WORK/small: `git rm -r` the one in src/echojepa/shipped and copy this one there. Test patients are looked at
once, by the probes at the end. Synthetic data throughout.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from echojepa.cli import main as echojepa

PATIENTS, SEED = 1000, 11
PROBES = ("attentive, over time", "ridge, over time")


def stages(work: Path) -> list[list[str]]:
    """The arguments of every command, in order."""
    data, teacher, run, results = (str(work / name) for name in ("data", "teacher", "run", "results"))
    pictures = ["--pictures", str(work / "pictures")]
    phantom = f"--preset benchmark --seconds 1.5 --site teaching --layout store --patients {PATIENTS}"
    return [
        ["simulate", *phantom.split(), "--seed", str(SEED), "--out", data],
        ["pretrain", "small-mae", "--data", data, "--out", teacher, *pictures],
        ["pretrain", "small", "--data", data, "--out", run, "--latent.teacher", teacher, *pictures],
        ["probe", "--calibrated", "--tasks", "lvef", "rvsp", "view", "--probes", *PROBES,
         "--data", data, "--backbones", run, "--out", results],
        ["assemble", "--results", results, "--backbone", run, "--out", str(work / "small")],
    ]  # fmt: skip


def main() -> None:
    """Run what is not there yet."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("work", type=Path)
    options = parser.parse_args()
    for arguments in stages(options.work):
        print("echojepa", *arguments, flush=True)
        if echojepa(arguments):
            raise SystemExit(1)


if __name__ == "__main__":
    main()
