"""How large a pixel of the picture is: by the calibrated region that holds the sector, or else not at all."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from echojepa.data.reading.cine import Region

INSIDE = 0.5
"""Share of the sector that a region must hold for its calibration to be the sector's."""
ALIKE = 0.01
"""Shares of the sector, and pixel sizes, that differ by no more than this are the same."""


def mm_per_pixel(regions: Sequence[Region], sector: NDArray[np.bool_]) -> tuple[float, float] | None:
    """Height and width of a pixel within the sector (H, W), mm; None if no region states it.

    The region is the calibrated one (tissue, colour) that contains most of the sector, at least half of it;
    of several such, the smallest. If two of the same size disagree, neither is used.
    """
    found = []
    for region in regions:
        if region.kind in ("tissue", "colour") and region.mm_per_pixel:
            part = sector[region.y0 : region.y1 + 1, region.x0 : region.x1 + 1]
            area = (region.y1 + 1 - region.y0) * (region.x1 + 1 - region.x0)
            found.append((part.sum() / sector.sum(), area, region.mm_per_pixel))
    most = max((share for share, *_ in found), default=0.0)
    if most < INSIDE:
        return None
    holding = [(area, size) for share, area, size in found if share >= most - ALIKE]
    smallest = min(area for area, _ in holding)
    sizes = [size for area, size in holding if area == smallest]
    agree = np.allclose(sizes, sizes[0], rtol=ALIKE, atol=0)
    return sizes[0] if agree else None
