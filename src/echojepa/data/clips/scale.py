"""Loops at a physical scale: each pixel spans the number of millimetres that a model was trained on.

An image is resized to exactly `spec.mm` millimetres a pixel and put on a black square of `spec.size`, aligned
at the top and centred horizontally. The transducer therefore stays at one place, whatever the scanner's
depth. Parts beyond the square are cut off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from echojepa.config import InputSpec
from echojepa.data.store.rows import PIXEL_MM, Loop
from echojepa.errors import UserError

Rows = Callable[[Sequence[str]], pa.Table]
"""Reads rows of the table, with some columns."""
NO_SCALE = "no physical scale"
"""Why a loop cannot be shown to a model that is fed by millimetres."""


def scaled_rows(rows: Rows, columns: Sequence[str], spec: InputSpec) -> pa.Table:
    """Some columns of the rows that `spec` can show: of all, or by mm of those that state their scale."""
    if spec.mm is None:
        return rows(columns)
    table = rows([*columns, *PIXEL_MM])
    height, width = (pc.field(name).is_valid() for name in PIXEL_MM)
    return table.filter(height & width).drop_columns(list(PIXEL_MM))


class ScaledLoop:
    """A loop whose frames are squares of `spec.size` at `spec.mm`; UserError for one that states no scale."""

    def __init__(self, loop: Loop, spec: InputSpec) -> None:
        assert spec.mm is not None
        if loop.pixel_mm is None:
            raise UserError(
                f"a loop states no millimetres a pixel, and this input needs {spec.mm} mm a pixel; leave "
                "such loops out, or use an input without `mm`"
            )
        self.loop, self.spec, self.times = loop, spec, loop.times
        self.zoom = tuple(own / spec.mm for own in loop.pixel_mm)
        """Rows and columns of a clip to one of the loop."""

    def __len__(self) -> int:
        return len(self.loop)

    def frames(self, indices: Sequence[int] | None = None) -> NDArray[np.uint8]:
        """Frames (T, size, size) or (T, size, size, 3), as `Loop.frames`."""
        return self.shown(self.loop.frames(indices))

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The sector, (size, size)."""
        return self.shown(self.loop.mask[None].astype(np.uint8) * 255)[0] > 127

    def shown(self, frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Frames (T, H, W) or (T, H, W, 3) at the scale."""
        size, (height, width) = self.spec.size, frames.shape[1:3]
        rows = triangles(height, self.zoom[0], size, 0.0)
        columns = triangles(width, self.zoom[1], size, width / 2 - size / (2 * self.zoom[1]))
        pixels = torch.from_numpy(frames if frames.ndim == 4 else frames[..., None]).permute(0, 3, 1, 2)
        made = (rows @ pixels.float() @ columns.T).round().clamp(0, 255).to(torch.uint8)
        made = made.permute(0, 2, 3, 1).numpy()
        return made if frames.ndim == 4 else made[..., 0]


def triangles(count: int, zoom: float, size: int, start: float) -> Tensor:
    """(size, count) shares of `count` pixels in `size` new ones, `zoom` new ones to one, from `start` on:
    bilinear, antialiased where it shrinks, as torch's; 0 for new ones whose centre lies outside."""
    centres = (torch.arange(size, dtype=torch.float64) + 0.5) / zoom + start
    places = torch.arange(count, dtype=torch.float64) + 0.5
    shares = (1 - (places - centres[:, None]).abs() / max(1.0, 1 / zoom)).clamp_min(0)
    shares *= ((centres > 0) & (centres < count))[:, None]
    return (shares / shares.sum(1, keepdim=True).clamp_min(1e-9)).float()


def at_scale(loop: Loop, spec: InputSpec) -> Loop | ScaledLoop:
    """The loop as `spec` wants it: by its scale, or as it is."""
    return loop if spec.mm is None else ScaledLoop(loop, spec)
