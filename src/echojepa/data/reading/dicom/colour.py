"""Which colour space pixels are in, by the pixels themselves where the header may lie.

An ultrasound picture is mostly black and grey. As RGB that is three equal samples; as YBR it is Y, 128, 128,
and black is 0, 128, 128. So the share of pixels that are grey under each reading tells them apart. The header
is believed unless its reading leaves hardly any grey and another one makes most of the picture grey.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GREY = 8
"""Levels by which samples of a grey pixel differ at most, after lossy compression too."""
EXACT = 2
"""The same in uncompressed pictures."""
BLACK = 4
"""A pixel whose samples are all at most this is black in RGB, and counts for no reading."""
STRONG, WEAK = 0.6, 0.3
"""Share of grey pixels that another reading must have, and that the header's may have, to be overruled."""
CLEARLY = 0.25
"""Share by which another planar configuration must be the better one."""
FEWEST = 0.02
"""Share of the frame that must not be black for it to say anything."""
Reading = tuple[str, int]
"""Photometric interpretation, and planar configuration."""


def grey_share(samples: NDArray[Any], photometric: str) -> float:
    """Share of the pixels (..., 3) that are grey when read so, of those that are not zero throughout."""
    first, second, third = np.moveaxis(samples.astype(np.int16), -1, 0)
    there = np.maximum(np.maximum(first, second), third) > BLACK
    if there.mean() < FEWEST:
        return 0.0
    levels = (first, first) if photometric == "RGB" else (np.int16(128), np.int16(128))
    grey = (abs(second - levels[0]) <= GREY) & (abs(third - levels[1]) <= GREY)
    return float(grey[there].mean())


def space_of(samples: NDArray[Any], stated: str) -> str:
    """RGB or YBR_FULL: what samples (H, W, 3) that the header calls `stated` are in."""
    believed = "RGB" if stated == "RGB" else "YBR_FULL"
    other = "YBR_FULL" if believed == "RGB" else "RGB"
    overruled = grey_share(samples, believed) <= WEAK and grey_share(samples, other) >= STRONG
    return other if overruled else stated


def textured_grey_share(samples: NDArray[np.uint8], photometric: str) -> float:
    """The same of pixels (H, W, 3) beside which the first sample steps: by the wrong planar configuration
    three neighbours stand for one pixel, and where the picture is even they are alike."""
    first = samples[..., 0].astype(np.int16)
    steps = abs(first[:, 1:] - first[:, :-1]) > GREY
    if steps.mean() < FEWEST / 2:
        return 0.0
    second, third = (samples[:, 1:, n].astype(np.int16) for n in (1, 2))
    level = first[:, 1:] if photometric == "RGB" else np.int16(128)
    return float(((abs(second - level) <= EXACT) & (abs(third - level) <= EXACT))[steps].mean())


def by_pixel(frame: NDArray[Any], shape: tuple[int, int], planar: int) -> NDArray[Any]:
    """The samples of one uncompressed frame, pixel by pixel or plane by plane, as (H, W, 3)."""
    return np.moveaxis(frame.reshape(3, *shape), 0, -1) if planar else frame.reshape(*shape, 3)


def reading_of(frame: NDArray[np.uint8], shape: tuple[int, int], stated: Reading) -> Reading:
    """Colour space and planar configuration of the bytes of one uncompressed frame of 8-bit samples."""
    either = [by_pixel(frame, shape, planar) for planar in (0, 1)]
    shares = {
        (space, planar): textured_grey_share(samples, space)
        for planar, samples in enumerate(either)
        for space in ("RGB", "YBR_FULL")
    }
    believed = ("RGB" if stated[0] == "RGB" else "YBR_FULL", stated[1])
    best = max(shares, key=lambda reading: shares[reading])
    if best[1] != stated[1] and shares[best] >= max(STRONG, shares[believed] + CLEARLY):
        return best
    return space_of(either[bool(stated[1])], stated[0]), stated[1]
