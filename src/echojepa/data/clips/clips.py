"""Clips for models: frames chosen by physical time, letterboxed to a square, uint8 to the end.

A clip is `spec.frames` frames over `spec.seconds`; frame k is the stored frame nearest in time to
start + k * seconds / frames. A spec with a `stride` counts stored frames in place of seconds. A loop shorter
than a clip is played forwards and backwards in turn (a heart that jumps would be a motion no heart makes).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from echojepa.config import InputSpec
from echojepa.data.clips.pictures import Kept, Pictures, letterbox
from echojepa.data.clips.scale import ScaledLoop, at_scale
from echojepa.data.clips.times import even_start, frame_indices, latest_start
from echojepa.data.store.rows import Loop, Loops
from echojepa.errors import UserError
from echojepa.models.contract import fit, resize
from echojepa.randomness import derive_seed


@dataclass(frozen=True)
class Augment:
    """Random crop of a training clip, the same for all its frames; echo pictures are never flipped."""

    scale: tuple[float, float] = (0.5, 1.0)
    """Share of the picture's area that is kept."""
    aspect: tuple[float, float] = (0.9, 1.1)
    """Width over height of the crop."""

    def crop(self, size: int, generator: torch.Generator) -> tuple[int, int, int, int]:
        """Top, left, height, width of a crop from a square of `size` pixels."""
        area, aspect, top, left = torch.rand(4, generator=generator).tolist()
        area = (self.scale[0] + area * (self.scale[1] - self.scale[0])) * size**2
        aspect = math.exp(math.log(self.aspect[0]) + aspect * math.log(self.aspect[1] / self.aspect[0]))
        height, width = (min(size, round(math.sqrt(area * r))) for r in (1 / aspect, aspect))
        return round(top * (size - height)), round(left * (size - width)), height, width

    def __call__(self, pixels: Tensor, spec: InputSpec, generator: torch.Generator) -> Tensor:
        """Square pictures (C, T, S, S), cropped and fitted: (C, T, size, size)."""
        top, left, height, width = self.crop(pixels.shape[-1], generator)
        return fit(spec, pixels[..., top : top + height, left : left + width])


@dataclass(frozen=True)
class Shift:
    """Random shift of a training clip, the same for all its frames; what comes in is black."""

    share: float = 1 / 12
    """Share of the picture's side that it is shifted by at most, each way."""

    def __call__(self, pixels: Tensor, spec: InputSpec, generator: torch.Generator) -> Tensor:
        """Square pictures (C, T, S, S), fitted and shifted: (C, T, size, size)."""
        most = round(self.share * spec.size)
        right, down = torch.randint(-most, most + 1, (2,), generator=generator).tolist()
        return F.pad(fit(spec, pixels), (right, -right, down, -down))


AUGMENTATIONS: dict[str, Augment | Shift] = {"crop": Augment(), "shift": Shift()}
"""By the word that stands for it in a pretraining config."""


def squared(spec: InputSpec, pixels: Tensor, shape: Sequence[int]) -> Tensor:
    """Letterboxed frames (..., S, S) of (height, width); of clips as the released code makes them, the
    short side resized, the long one by the same in whole pixels, and its middle."""
    if spec.clips == "even":
        return pixels
    within = [(pixels.shape[-1] - length) // 2 for length in shape]
    frame = pixels[..., within[0] : within[0] + shape[0], within[1] : within[1] + shape[1]]
    sides, (top, left), short = middle_of(spec, shape)
    if min(shape) != short:
        frame = resize(frame, sides, spec.interpolation)
    return frame[..., top : top + short, left : left + short]


def middle_of(spec: InputSpec, shape: Sequence[int]) -> tuple[tuple[int, int], tuple[int, int], int]:
    """For frames of (height, width), as in the released code: sides after resizing, the start of the kept
    square, and its side."""
    short = spec.resized or spec.size
    height, width = (short * length // min(shape) for length in shape)
    top, left = (round((length - spec.size) / 2) - (short - spec.size) // 2 for length in (height, width))
    return (height, width), (top, left), short


def fitted(spec: InputSpec, frames: NDArray[np.uint8]) -> Tensor:
    """Frames (T, H, W) or (T, H, W, 3) as a clip of this spec shows them: uint8 (1 or 3, T, size, size).

    UserError for a spec by mm: frames alone have no scale.
    """
    if spec.mm is not None:
        raise UserError(
            "this does not support a model with input in millimetres (`mm`); use a model without it"
        )
    return fit(spec, squared(spec, letterbox(frames), frames.shape[1:3]))


def places(spec: InputSpec, shape: Sequence[int]) -> tuple[NDArray[np.floating], NDArray[np.floating]]:
    """Where `fitted` puts the centres of the rows (H,) and columns (W,) of frames (H, W): pixels from the
    clip's upper left corner, outside of 0 to `size` for what is cut off."""
    side = spec.resized or spec.size
    if spec.clips == "halves":
        sides, corner, whole = middle_of(spec, shape)
        found = [
            (np.arange(length) + 0.5) * (after / length) - start
            for length, after, start in zip(shape, sides, corner, strict=True)
        ]
    else:
        whole = max(shape)
        found = [np.arange(length) + 0.5 + (whole - length) // 2 for length in shape]
    cut = int(whole * spec.margin)
    rows, columns = ((place - cut) * (side / (whole - 2 * cut)) - (side - spec.size) // 2 for place in found)
    return rows, columns


class ClipDataset(Dataset[tuple[Tensor, int]]):
    """Map-style clips: uint8 (3, T, size, size) and the row they come from.

    With `augment`, item (epoch, i) is a random clip of loop i, a function of (seed, epoch, i). Without,
    item i is clip i % clips_per_loop of loop i // clips_per_loop, evenly spaced, the whole picture. Where
    `perturb` is given, it changes all stored frames of a row, square (3 or 1, T, S, S), before any is chosen.
    Loops that are in `pictures` are read from there, the others from the store.
    """

    def __init__(
        self,
        store: Loops,
        rows: Sequence[int] | NDArray[np.int64],
        spec: InputSpec,
        *,
        augment: Augment | Shift | None = None,
        seed: int = 0,
        clips_per_loop: int = 1,
        perturb: Callable[[Tensor, int], Tensor] | None = None,
        pictures: Pictures | None = None,
    ) -> None:
        self.pictures = pictures
        self.store, self.rows, self.spec, self.perturb = store, rows, spec, perturb
        self.augment, self.seed, self.clips_per_loop = augment, seed, clips_per_loop

    def __len__(self) -> int:
        return len(self.rows) * (1 if self.augment else self.clips_per_loop)

    def __getitem__(self, item: int | tuple[int, int]) -> tuple[Tensor, int]:
        if isinstance(item, tuple):
            epoch, index = item
            row = int(self.rows[index])
            return self.random_clip(row, epoch, index), row
        index, number = divmod(item, self.clips_per_loop)
        row = int(self.rows[index])
        return self.clip(row, number), row

    def clip(self, row: int, number: int) -> Tensor:
        """Clip `number` of the evenly spaced ones of a row of the table, the whole picture."""
        loop = self._loop(row)
        start = even_start(loop.times, self.spec, number, self.clips_per_loop)
        return self._cut(loop, row, start, None)

    def random_clip(self, row: int, epoch: int, index: int) -> Tensor:
        """A random clip of a row, a function of (seed, epoch, index)."""
        generator = torch.Generator().manual_seed(derive_seed(self.seed, "clip", epoch, index))
        loop = self._loop(row)
        start = torch.rand((), generator=generator).item() * latest_start(loop.times, self.spec)
        return self._cut(loop, row, start, generator)

    def _loop(self, row: int) -> Loop | ScaledLoop | Kept:
        kept = self.pictures.loop(row) if self.pictures else None
        return kept or at_scale(self.store.loop(row), self.spec)

    def _cut(
        self, loop: Loop | ScaledLoop | Kept, row: int, start: float, generator: torch.Generator | None
    ) -> Tensor:
        indices = frame_indices(loop.times, start, self.spec).tolist()
        if isinstance(loop, Kept):
            pixels = loop.pixels[:, indices]
        elif self.perturb:
            frames = loop.frames()
            pixels = squared(self.spec, self.perturb(letterbox(frames), row)[:, indices], frames.shape[1:3])
        else:
            frames = loop.frames(indices)
            pixels = squared(self.spec, letterbox(frames), frames.shape[1:3])
        if self.augment and generator:
            pixels = self.augment(pixels, self.spec, generator)
        else:
            pixels = fit(self.spec, pixels)
        return pixels.expand(3, -1, -1, -1)
