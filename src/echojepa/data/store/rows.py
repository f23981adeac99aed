"""A row of the data set as values: how one is made of frames, and how its pixels are read again."""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from echojepa.data.store.encoding import Encoding, decode, encode, from_png, to_png
from echojepa.errors import UserError


class DamagedLoop(UserError):
    """The pixels of a row are not those that were written."""


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """The columns of a row that say what is to be seen; `encode_loop` makes them."""

    colour: bool
    """Whether frames are RGB."""
    encoding: str
    """How frames are encoded: a word of `Encoding`."""
    frames: list[bytes]
    """Encoded, one each."""
    frame_crc32: list[int]
    """Checksum of each frame's bytes, looked at whenever the frame is read."""
    mask: bytes
    """PNG of the sector, lossless in either encoding."""
    height: int
    width: int
    pixel_sha256: str
    """Checksum of the frames as they were before encoding: equal for equal pixels, whatever the encoding."""


@dataclass(frozen=True, kw_only=True)
class StoredLoop(Pixels):
    """A row of `loops.lance`."""

    loop_id: str
    file_id: str
    study_id: str
    patient_id: str
    patient_ordinal: int
    split: str
    site: str
    view: str | None
    kind: str
    times: list[float]
    """Seconds since the first frame."""
    frame_rate: float | None
    """Frames a second, by the median interval; None for a single frame."""
    time_source: str
    time_warning: str
    pixel_height_mm: float | None
    pixel_width_mm: float | None
    heart_rate: float | None
    sex: str | None
    age: float | None
    study_date: str | None
    manufacturer: str


def black_outside(frames: NDArray[np.uint8], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Frames (..., H, W) or (..., H, W, 3), with nothing outside the mask (H, W)."""
    return frames * (mask if frames.shape[-2:] == mask.shape else mask[..., None])


def encode_loop(frames: Iterable[NDArray[np.uint8]], mask: NDArray[np.bool_], encoding: Encoding) -> Pixels:
    """Encode frames (H, W) or (H, W, 3), which are 0 outside the mask (H, W), one at a time."""
    checksum, encoded, dimensions = hashlib.sha256(), [], 2
    for frame in frames:
        checksum.update(frame.tobytes())
        encoded.append(encode(frame, encoding))
        dimensions = frame.ndim
    return Pixels(
        colour=dimensions == 3,
        encoding=encoding.value,
        frames=encoded,
        frame_crc32=[zlib.crc32(data) for data in encoded],
        mask=to_png(mask),
        height=mask.shape[0],
        width=mask.shape[1],
        pixel_sha256=checksum.hexdigest(),
    )


PIXEL_MM = ("pixel_height_mm", "pixel_width_mm")
"""Columns that say how large a pixel is."""
READ_COLUMNS = ["times", "encoding", "frames", "frame_crc32", "mask", *PIXEL_MM]
"""What a `Loop` is made of."""


class Loop:
    """The pixels and times of one row, read in one go; frames are decoded when they are asked for."""

    def __init__(self, row: Any) -> None:
        """`row` is a table of one row with READ_COLUMNS; nothing of it is copied."""
        self._row = row
        self.encoding = Encoding(row["encoding"][0].as_py())
        self.times: NDArray[np.float64] = np.array(row["times"][0].values)
        """(T,) seconds since the first frame."""
        self._frames, self._sums = row["frames"][0].values, row["frame_crc32"][0].values

    def __len__(self) -> int:
        return len(self._frames)

    @property
    def pixel_mm(self) -> tuple[float, float] | None:
        """Height and width of a pixel, millimetres; None where the file does not say."""
        height, width = (self._row[name][0].as_py() for name in PIXEL_MM)
        return None if height is None or width is None else (height, width)

    @property
    def mask(self) -> NDArray[np.bool_]:
        """The sector, (H, W)."""
        return from_png(memoryview(self._row["mask"][0].as_buffer())).astype(bool)

    def frames(self, indices: Sequence[int] | None = None) -> NDArray[np.uint8]:
        """Frames (T, H, W) or (T, H, W, 3): all, or those at `indices` (only these are decoded).

        They are 0 outside the sector. Raises DamagedLoop where bytes are not those that were written.
        """
        decoded = self.decoded(indices)
        return decoded if self.encoding == Encoding.PNG else black_outside(decoded, self.mask)

    def decoded(self, indices: Sequence[int] | None = None) -> NDArray[np.uint8]:
        """The same before the mask is put on."""
        chosen = range(len(self)) if indices is None else indices
        decoded = {index: self._decode(index) for index in set(chosen)}
        return np.stack([decoded[index] for index in chosen])

    def _decode(self, index: int) -> NDArray[np.uint8]:
        data = memoryview(self._frames[index].as_buffer())
        if zlib.crc32(data) != self._sums[index].as_py():
            raise DamagedLoop(
                f"frame {index} of a loop differs from what was written: the disk or a copy is damaged. "
                "`echojepa verify --pixels 0` lists the loops; restore them from a backup or ingest again"
            )
        return decode(data, self.encoding)


class Loops(Protocol):
    """Whatever holds loops by the number of their row."""

    def loop(self, row: int) -> Loop:
        """The pixels and times of a row."""
        ...
