"""A data set's loops with nuisance that changes from frame to frame, or that stands still through the loop.

    python benchmarks/nuisance.py DATA OUT --when frame --grains 0.6 --gain 6

Each frame is multiplied with grains, 1 + `grains` x standard normal and never below 0, and all of its sector
gets a normal number of decibels, with spread `gain`, of the 60 between black and white. `--when frame` draws
both anew for each frame, `--when loop` once for the loop: a single frame is spoiled alike either way, and
only time tells the two apart. OUT is a data set of the same rows, patients, splits and labels. Draws are
functions of the loop's id.
"""

from __future__ import annotations

import argparse
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from echojepa.data.store.encoding import Encoding
from echojepa.data.store.loop_store import LoopStore
from echojepa.data.store.rows import StoredLoop, black_outside, encode_loop
from echojepa.evaluation.perturbations import DISPLAY_DB, grey, spread_grains
from echojepa.randomness import derive_seed

COMMIT_EVERY = 64
GRAINS = 48
"""Grains along a side: as many as small encoders see pixels, so that resizing does not average them away."""
EACH_FRAME, EACH_LOOP = "frame", "loop"


def spoiled(
    frames: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    generator: torch.Generator,
    when: str,
    grains: float,
    gain: float,
) -> NDArray[np.uint8]:
    """Frames (T, H, W) or (T, H, W, 3) with nuisance in the sector (H, W)."""
    draws = len(frames) if when == EACH_FRAME else 1
    height, width = mask.shape
    factor = 1 + grains * spread_grains(
        torch.randn(draws, GRAINS, GRAINS, generator=generator), height, width
    )
    shift = 255 / DISPLAY_DB * gain * torch.randn(draws, generator=generator)
    clip = torch.from_numpy(frames).reshape(*frames.shape[:3], -1).float()
    made = grey(clip * factor.clamp_min(0)[..., None] + shift[:, None, None, None])
    return black_outside(made.numpy().reshape(frames.shape), mask)


def main() -> None:
    """Write the data set; one that is there is completed."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--when", choices=(EACH_FRAME, EACH_LOOP), required=True)
    parser.add_argument("--grains", type=float, default=0.6, help="spread of what frames are multiplied with")
    parser.add_argument("--gain", type=float, default=6.0, help="spread of decibels that are added")
    options = parser.parse_args()
    torch.set_num_threads(1)
    source = LoopStore.open(options.data)
    made = LoopStore.create(options.out, source.split_seed)
    count = source.table.count_rows()
    for first in range(made.table.count_rows(), count, COMMIT_EVERY):
        rows = range(first, min(count, first + COMMIT_EVERY))
        made.append(spoiled_row(source, row, options.when, options.grains, options.gain) for row in rows)
    made.add_labels(source.labels())


def spoiled_row(source: LoopStore, row: int, when: str, grains: float, gain: float) -> StoredLoop:
    """A row of the data set with spoiled pixels."""
    loop, stored = source.loop(row), source.row(row)
    generator = torch.Generator().manual_seed(derive_seed(0, f"nuisance {stored.loop_id}"))
    frames = spoiled(loop.frames(), loop.mask, generator, when, grains, gain)
    pixels = encode_loop(frames, loop.mask, Encoding(stored.encoding))
    return replace(stored, **{field.name: getattr(pixels, field.name) for field in fields(pixels)})


if __name__ == "__main__":
    main()
