"""The small recipe's training step and its reading of clips: this source against an earlier one, in one run.

    git archive 2296329 src | tar x -C BEFORE                        # the source to compare with
    python benchmarks/pretrain_small.py --before BEFORE/src --data DATA --rounds 30

Both sides are processes of their own that take turns, round by round: a step on the same clips, masks and
weights (so that losses must agree), then reading a batch of the data set. Figures are CPU seconds of a
thread: medians over rounds, and the ratio of medians. Reading is what the recipe does on each side: decoding
and cropping frames before; shifting pictures that are kept in memory now. The shape is `base` of
`pretrain_arms.py`: 16 frames of 48 px, 128 tokens, ViT 128 x 4, predictor 64 x 2, batch 16, two mask types.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np

BATCH = 16
Work = Callable[[int], float]


def recipe(options: argparse.Namespace) -> Any:
    """The shape as a config of either source."""
    from echojepa.models import vit  # of the source that PYTHONPATH names
    from echojepa.recipes import RECIPES

    smoke = RECIPES["smoke"](options.data, options.data)
    vit.SIZES.setdefault("nano", type(vit.SIZES["micro"])(128, 4, 2, 512))
    known = {field.name for field in fields(smoke)}
    kept = {"augment": "shift", "pictures": options.pictures} if "pictures" in known else {}
    return replace(
        smoke,
        architecture=replace(smoke.architecture, size="nano", patch=12),
        spec=replace(smoke.spec, size=48, frames=16, seconds=1.2, mean=(0.2,) * 3, std=(0.25,) * 3),
        predictor_width=64,
        predictor_depth=2,
        predictor_heads=2,
        batch_size=BATCH,
        **kept,
    )


def stepping(config: Any, precision: str) -> Work:
    """Steps on random clips, the same for each source."""
    import torch

    from echojepa.models.masking import sample_mask
    from echojepa.training import pretrain as module
    from echojepa.training.distributed import World
    from echojepa.training.loader import Batch
    from echojepa.training.step import TrainStep

    torch.set_num_threads(1)
    module.keep_pages()
    model = module.build_objective(config)
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    optimizer = module.build_optimizer(model, config)
    step = TrainStep(config, World(0, 1, torch.device("cpu")), model, model, optimizer, dtype, 1000)
    grid = config.architecture.grid(config.spec)

    def work(number: int) -> float:
        draws = torch.Generator().manual_seed(number)
        clips = torch.randint(0, 256, (BATCH, 3, 16, 48, 48), dtype=torch.uint8, generator=draws)
        masks = [sample_mask(mask, grid, BATCH, draws) for mask in config.masks]
        began = time.process_time()
        loss = step(Batch(clips, masks, BATCH), number)["loss"]
        work.seconds = time.process_time() - began  # pyright: ignore[reportFunctionMemberAccess]
        return loss

    return work


def reading(config: Any) -> Work:
    """Batches of the data set's training loops."""
    import torch

    from echojepa.data.store.loop_store import LoopStore
    from echojepa.training import pretrain as module
    from echojepa.training.distributed import World

    store, world = LoopStore.open(config.data), World(0, 1, torch.device("cpu"))
    rows = module.training_loops(store)["row"].to_numpy()
    more = [module.run_pictures(store, rows, config, world)] if hasattr(module, "run_pictures") else []
    steps = module.Steps(store, rows, config, world, 0, *more)

    def work(number: int) -> float:
        began = time.process_time()
        batch = steps[number]
        work.seconds = time.process_time() - began  # pyright: ignore[reportFunctionMemberAccess]
        return float(len(batch.clips))

    return work


def serve(options: argparse.Namespace) -> None:
    """Be a side: a round for each line of the input."""
    config = recipe(options)
    works = [stepping(config, options.precision), *([reading(config)] if options.read else [])]
    for number, _ in enumerate(sys.stdin):
        for work in works:
            value = work(number)
            print(work.seconds, value, end=" ")  # pyright: ignore[reportFunctionMemberAccess]
        print(flush=True)


def measure(options: argparse.Namespace, precision: str) -> dict[str, np.ndarray]:
    """Of each side, rounds (rounds, 2 or 4): seconds and loss of a step, seconds and clips of a reading."""
    sides, rows = {}, {}
    for name, source in (("before", options.before), ("now", options.now)):
        command = [sys.executable, __file__, *sys.argv[1:], "--serve", "--precision", precision]
        environment = os.environ | {"PYTHONPATH": str(source), "OMP_NUM_THREADS": "1"}
        sides[name] = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        rows[name] = []
    for _ in range(options.rounds + 2):
        for name, side in sides.items():
            assert side.stdin and side.stdout
            side.stdin.write("\n")
            side.stdin.flush()
            rows[name].append([float(word) for word in side.stdout.readline().split()])
    for side in sides.values():
        side.communicate()
    return {name: np.array(found[2:]) for name, found in rows.items()}


def main() -> None:
    """Measure and print; the last column of each line is before over now."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--before", type=Path, required=True, help="the folder src of an earlier source")
    parser.add_argument("--now", type=Path, default=Path(__file__).parents[1] / "src")
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, default=Path("pictures"))
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--precisions", nargs="+", default=["float32"])
    parser.add_argument("--read", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--precision", default="float32", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options)
        return
    for precision in options.precisions:
        rows = measure(options, precision)
        apart = np.abs(rows["before"][:, 1] - rows["now"][:, 1]).max()
        print(f"{precision}: losses of {options.rounds} steps differ by {apart:.1e} at most")
        for name, columns in (("step", [0]), ("reading", [2]), ("step and reading", [0, 2])):
            if max(columns) < rows["now"].shape[1]:
                before, now = (np.median(rows[side][:, columns].sum(1)) for side in ("before", "now"))
                print(f"  {name:17} {1e3 * before:6.1f} ms, now {1e3 * now:6.1f} ms", end=" ")
                print(f"({BATCH / now:.0f} clips/s): {before / now:.2f} times", flush=True)


if __name__ == "__main__":
    main()
