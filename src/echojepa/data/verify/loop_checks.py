"""Checks of one loop: what its row says, and what its pixels show. Used by `verify` and the contact sheet."""

from __future__ import annotations

import hashlib
import math
import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Generic, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from echojepa.config import InputSpec
from echojepa.data.clips.times import is_short
from echojepa.data.store.encoding import Encoding, surely_black
from echojepa.data.store.loop_store import LoopStore
from echojepa.data.store.rows import DamagedLoop, black_outside
from echojepa.vocabulary import Kind, Split, View

Subject = TypeVar("Subject")
Severity = Literal["error", "warning"]
FRAME_RATES = (10.0, 200.0)
"""Frames a second that a cine loop plausibly has."""
PIXEL_SIZES = (0.02, 4.0)
"""Millimetres that a pixel plausibly spans: 25 cm of depth, seen in 60 pixels or in 1,000, and zoomed."""
HEART_RATES = (20.0, 300.0)
"""Beats a minute, newborns included."""
AGES = (0.0, 90.0)
"""Years; ingest writes 90 for everyone older."""
LEAST_SECTOR = 0.04
"""Share of its picture, which is cropped to it, that a sector covers at least."""
FINGERPRINT_FRAMES, FINGERPRINT_GRID = 4, 16
"""A fingerprint compares neighbouring cells of a square grid in this many frames: a bit each."""
PSEUDONYM = re.compile(r"[0-9a-f]{20}")
UNDECODABLE = (
    OSError, SyntaxError, ValueError, TypeError, zlib.error, struct.error, Image.DecompressionBombError,
    DamagedLoop,
)  # fmt: skip
"""What the codecs and the store raise on damaged bytes."""


@dataclass(frozen=True)
class Check(Generic[Subject]):
    """A claim about one loop, and what to do where it fails."""

    name: str
    severity: Severity
    fails: Callable[[Subject], bool]
    advice: str


@dataclass(frozen=True)
class Look:
    """What the pixels of one loop showed; for a damaged loop nothing but that."""

    row: dict[str, Any]
    damaged: bool = False
    """A frame or the mask does not decode, or has not the size and channels that its row states."""
    frame_count: int = 0
    time_count: int = 0
    sector_share: float = 1.0
    """Share of the picture that the mask covers."""
    black: bool = False
    """No pixel inside the mask is ever anything but 0."""
    spilled: bool = False
    """A pixel outside the mask is something else than 0."""
    motionless: bool = False
    """Several frames, each the same picture."""
    altered: bool = False
    """Stored lossless, and the pixels are not those that `pixel_sha256` was made of."""
    fingerprint: NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, dtype=bool))
    """See `fingerprint`."""


def shown(identifier: str | None) -> str:
    """A pseudonym as it is; anything else is not repeated, for it may name a person."""
    return identifier if identifier and PSEUDONYM.fullmatch(identifier) else "(an id that is not a pseudonym)"


def outside(value: float | None, limits: tuple[float, float]) -> bool:
    """Whether a value is stated and not within the limits (NaN is not)."""
    return value is not None and not limits[0] <= value <= limits[1]


def odd_frame_rate(row: dict[str, Any]) -> bool:
    """Whether a cine states no plausible frame rate."""
    return row["kind"] == Kind.CINE and (row["frame_rate"] is None or outside(row["frame_rate"], FRAME_RATES))


def unordered_times(row: dict[str, Any]) -> bool:
    """Whether times are absent, not finite, or not strictly increasing."""
    times = row["times"] or [math.nan]
    return not (math.isfinite(times[0]) and all(a < b < math.inf for a, b in pairwise(times)))


def shorter_than_a_clip(row: dict[str, Any]) -> bool:
    """Whether a cine has less to show than a clip of the usual span."""
    return row["kind"] == Kind.CINE and bool(row["times"]) and is_short(np.array(row["times"]), InputSpec())


def unknown_word(row: dict[str, Any]) -> bool:
    """Whether split, kind or view is a word that no other part of the package knows."""
    split, kind, view = row["split"], row["kind"], row["view"]
    return split not in (*Split,) or kind not in (*Kind,) or view not in (None, *View)


WITHOUT_VIEW: Check[dict[str, Any]] = Check(
    "cine without a view", "warning", lambda row: row["kind"] == Kind.CINE and not row["view"],
    "used in pretraining, not in probing; give views if the archive has them",
)  # fmt: skip

SHORT: Check[dict[str, Any]] = Check(
    "cine shorter than a clip", "warning", shorter_than_a_clip,
    f"a clip of {InputSpec().seconds:g} s, as most models use, plays these forwards and backwards in turn",
)  # fmt: skip

ROW_CHECKS: tuple[Check[dict[str, Any]], ...] = (
    Check(
        "frame times do not increase", "error", unordered_times,
        "clips are cut by time: check these files' frame times, and leave them out",
    ),
    Check(
        "odd or no frame rate", "warning", odd_frame_rate,
        f"below {FRAME_RATES[0]:.0f} or above {FRAME_RATES[1]:.0f} frames a second: compare with the scanner",
    ),
    Check(
        "doubtful frame times", "warning", lambda row: bool(row["time_warning"]),
        "the column time_warning states the reason; the contact sheet shows it",
    ),
    WITHOUT_VIEW,
    SHORT,
    Check(
        "implausible pixel size", "warning",
        lambda row: any(outside(row[side], PIXEL_SIZES) for side in ("pixel_height_mm", "pixel_width_mm")),
        f"not within {PIXEL_SIZES[0]} to {PIXEL_SIZES[1]} mm: measure nothing on these",
    ),
    Check(
        "implausible heart rate", "warning", lambda row: outside(row["heart_rate"], HEART_RATES),
        f"not within {HEART_RATES[0]:.0f} to {HEART_RATES[1]:.0f} beats a minute: do not use it",
    ),
    Check(
        "implausible age", "warning", lambda row: outside(row["age"], AGES),
        "not within 0 to 90 years; store older people as 90, because their age can identify them",
    ),
    Check(
        "word outside the vocabulary", "error", unknown_word,
        "a loop with an unknown split, kind or view is left out silently; ingest again",
    ),
)  # fmt: skip
"""Claims about a row of the table, its times included."""

PIXEL_CHECKS: tuple[Check[Look], ...] = (
    Check(
        "pixels do not decode", "error", lambda look: look.damaged,
        "these rows are damaged, or do not have their stated size; ingest into a new folder",
    ),
    Check(
        "pixels are not those of their checksum", "error", lambda look: look.altered,
        "pixels changed after ingest, so duplicates cannot be found; ingest into a new folder",
    ),
    Check(
        "times and frames differ in number", "error", lambda look: look.frame_count != look.time_count,
        "clips would show other times than they state; ingest into a new folder",
    ),
    Check(
        "empty sector", "error", lambda look: look.sector_share < LEAST_SECTOR,
        f"the mask covers less than {LEAST_SECTOR:.0%} of its image; leave these files out",
    ),
    Check(
        "black inside the sector", "error", lambda look: look.black,
        "the loop shows nothing; leave these files out",
    ),
    Check(
        "something outside the sector", "error", lambda look: look.spilled,
        "it can be burned-in text that names a person; check these loops before you share anything",
    ),
    Check(
        "cine without motion", "warning", lambda look: look.motionless,
        "all frames are the same, so this is a still; leave it out or store it as a still",
    ),
)  # fmt: skip
"""Claims about a loop's pixels."""


def inspect(store: LoopStore, number: int, row: dict[str, Any]) -> Look:
    """Decode the loop that is row `number` of the table, and see; a damaged one is an answer, no error.

    `row` holds its columns kind, height, width, colour, times and pixel_sha256.
    """
    try:
        loop = store.loop(number)
        decoded, mask, encoding = loop.decoded(), loop.mask, loop.encoding
    except UNDECODABLE:
        return Look(row, damaged=True)
    size = (row["height"], row["width"])
    shape = (len(decoded), *size, 3) if row["colour"] else (len(decoded), *size)
    if decoded.shape != shape or decoded.dtype != np.uint8 or mask.shape != size:
        return Look(row, damaged=True)
    frames = black_outside(decoded, mask)
    brightest = decoded.max(axis=0)
    brightest = brightest.max(axis=-1) if row["colour"] else brightest
    return Look(
        row,
        frame_count=len(frames),
        time_count=len(row["times"] or ()),
        sector_share=float(mask.mean()),
        black=not brightest[mask].any(),
        spilled=bool(brightest[surely_black(mask, encoding)].any()),
        motionless=len(frames) > 1 and bool((frames == frames[0]).all()),
        altered=encoding == Encoding.PNG
        and hashlib.sha256(decoded.tobytes()).hexdigest() != row["pixel_sha256"],
        fingerprint=fingerprint(frames),
    )


def fingerprint(frames: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """1024 bits of (T, H, W) or (T, H, W, 3) that mostly survive compression, brightness and another size.

    Four evenly spaced frames are reduced to the means of 16 x 17 cells; a bit says whether a cell is darker
    than its right neighbour (the "difference hash" of image search).
    """
    chosen = np.linspace(0, len(frames) - 1, FINGERPRINT_FRAMES).round().astype(int)
    size = FINGERPRINT_GRID + 1, FINGERPRINT_GRID
    cells = [
        np.asarray(Image.fromarray(frame).convert("L").resize(size, Image.Resampling.BOX))
        for frame in frames[chosen]
    ]
    return (np.diff(np.stack(cells).astype(np.int16), axis=-1) > 0).ravel()
