"""How a JEPA training step grows with batch, tokens and width: clips a second and memory, as a picture.

    .venv/bin/python benchmarks/pretrain_growth.py --out docs/images/pretrain_growth.png

Each point is a process of its own on one thread: the fastest of its steps, in CPU seconds, so that a
machine that others use as well gives much the same figures; memory is the peak beyond what the process had
before its model.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import matplotlib
import torch
from matplotlib.figure import Figure
from pretrain_step import MOMENTUM, RATE, make_model, resident

from echojepa.config import PAPER_MASKS, InputSpec
from echojepa.models.masking import sample_mask
from echojepa.processes.allocator import keep_pages

BASE = {"batch": 4, "frames": 16, "size": "small"}
"""ViT-S, predictor of 12 x 192, 16 frames of 112 px, float32; one of these is changed at a time."""
POINTS = {"batch": (1, 2, 4, 8), "frames": (4, 8, 16, 32), "size": ("tiny", "small", "base")}


def measure(batch: int, frames: int, size: str, steps: int) -> tuple[int, int, float, float]:
    """Width, tokens a clip, CPU seconds of the fastest step but the first, and peak GB."""
    torch.set_num_threads(1)
    keep_pages()
    before = resident("VmRSS")
    model = make_model(size, 192, 12, InputSpec(size=112, frames=frames))
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], RATE, fused=True)
    draws = torch.Generator().manual_seed(1)
    clips, seconds = torch.randn(batch, 3, frames, 112, 112, generator=draws), []
    for _ in range(steps + 1):
        masks = [sample_mask(mask, model.encoder.grid, batch, draws) for mask in PAPER_MASKS]
        began = time.process_time()
        for mask, wanted in zip(masks, model.targets(clips, masks), strict=True):
            (model.loss(clips, mask, wanted) / len(masks)).backward()
        optimizer.step()
        model.update_ema(MOMENTUM)
        optimizer.zero_grad(set_to_none=True)
        seconds.append(time.process_time() - began)
    tokens = model.encoder.grid[0] * model.encoder.grid[1] * model.encoder.grid[2]
    return model.encoder.width, tokens, min(seconds[1:]), resident("VmHWM") - before


def main() -> None:
    """Measure each point and draw two rows of panels."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--out", type=Path)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--point", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.point:
        batch, frames, size = options.point
        print(*measure(int(batch), int(frames), size, options.steps))
        return
    matplotlib.use("Agg")
    figure = Figure((8.4, 4.4), dpi=80, layout="constrained")
    axes = figure.subplots(2, len(POINTS), squeeze=False)
    for column, (name, values) in enumerate(POINTS.items()):
        rows = []
        for value in values:
            point = {**BASE, name: value}
            command = [
                sys.executable,
                __file__,
                "--steps",
                str(options.steps),
                "--point",
                *map(str, point.values()),
            ]
            found = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
            width, tokens, seconds, memory = map(float, found)
            place = {"batch": point["batch"], "frames": tokens, "size": width}[name]
            rows.append((place, point["batch"] / seconds, memory))
            print(f"{name}={value}: {int(tokens)} tokens, width {int(width)}", end=", ")
            print(f"{rows[-1][1]:.2f} clips/s, {memory:.2f} GB", flush=True)
        label = {"batch": "clips a step", "frames": "tokens a clip", "size": "width of the encoder"}[name]
        for row, number in ((0, 1), (1, 2)):
            axes[row][column].plot([r[0] for r in rows], [r[number] for r in rows], marker="o")
            axes[row][column].set(xlabel=label, ylim=(0, None), ylabel=("clips/s", "peak GB")[row])
    figure.savefig(options.out)


if __name__ == "__main__":
    main()
