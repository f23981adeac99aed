"""CPU milliseconds of a training step of six attentive heads on frozen tokens, against another checkout.

    git worktree add OTHER COMMIT
    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/probe_step.py --against OTHER/src

Both sides run this file, each in a process of its own, in turns, on the same tokens, truth and start; the
losses of the last step are compared before a ratio is printed. Shapes: a place's mean and spread over time
from the small encoder (32 tokens of 128), its whole grid (128 of 128), and 392 tokens of a ViT-S. The last
line has the ratios of the fastest rounds' medians: how many times as fast this checkout is.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

from echojepa.models.grid import GridAdamW
from echojepa.models.probe import Probes, ProbeShape, Scale, Standardiser

SHAPES = {"over_time": ((2, 4, 4), 128), "grid": ((8, 4, 4), 128), "vit_s": ((8, 7, 7), 384)}
HEADS, BATCH, CLIPS = 6, 32, 128


def side(name: str, steps: int) -> tuple[float, list[float]]:
    """Median CPU milliseconds of a step after the first five, and the heads' last losses."""
    torch.set_num_threads(1)
    grid, width = SHAPES[name]
    draws = torch.Generator().manual_seed(7)
    shape = ProbeShape(grid, width, 1, 1)
    tokens = torch.randn(CLIPS, grid[0] * grid[1] * grid[2], width, generator=draws).half()
    truth = torch.randn(CLIPS, generator=draws)
    plain = Standardiser(tokens.float().mean(0), tokens.float().std((0, 1)))
    model = Probes(HEADS, shape, plain, Scale(), torch.Generator().manual_seed(0))
    optimizer = GridAdamW(model, torch.full((HEADS,), 3e-4), torch.full((HEADS,), 0.05))
    spent, losses = [], torch.zeros(HEADS)
    for _ in range(steps):
        chosen = torch.randint(0, CLIPS, (BATCH,), generator=draws)
        began = time.process_time()
        outputs = model(tokens[chosen], None).squeeze(-1)
        losses = F.smooth_l1_loss(outputs, truth[chosen].expand(HEADS, -1), reduction="none").mean(1)
        losses.sum().backward()
        optimizer.step(1.0)
        spent.append(time.process_time() - began)
    return 1000 * sorted(spent[5:])[len(spent[5:]) // 2], losses.tolist()


def ask(source: Path, name: str, steps: int) -> tuple[float, list[float]]:
    """What `side` says in a process that has the package at `source`."""
    command = [sys.executable, __file__, "--side", name, "--steps", str(steps)]
    made = subprocess.run(
        command, env={**os.environ, "PYTHONPATH": str(source)}, capture_output=True, text=True, check=True
    )
    return json.loads(made.stdout)


def main() -> None:
    """Measure and print; the last line has the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--against", type=Path, help="src folder of another checkout")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--side", choices=list(SHAPES), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side:
        print(json.dumps(side(options.side, options.steps)))
        return
    if options.against is None:
        raise SystemExit("say what to compare with: --against OTHER/src")
    sources, ratios = {"ours": Path(__file__).parents[1] / "src", "other": options.against.resolve()}, []
    for name in SHAPES:
        seen: dict[str, list[float]] = {who: [] for who in sources}
        losses: dict[str, torch.Tensor] = {}
        for _ in range(options.rounds):
            for who, source in sources.items():
                spent, last = ask(source, name, options.steps)
                seen[who].append(spent)
                losses[who] = torch.tensor(last)
        torch.testing.assert_close(losses["ours"], losses["other"], rtol=1e-4, atol=1e-5)
        ratios.append(f"{name}={min(seen['other']) / min(seen['ours']):.2f}")
        words = (f"{who} {min(spent):.1f} ({max(spent):.1f})" for who, spent in seen.items())
        print(f"{name:9} ms a step, fastest round (slowest): {', '.join(words)}", flush=True)
    print(" ".join(ratios))


if __name__ == "__main__":
    main()
