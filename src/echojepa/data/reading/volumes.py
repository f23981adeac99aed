"""Pictures stacked in time in a file made for volumes: NIfTI (`.nii`, `.nii.gz`) and MetaImage (`.mhd`).

Both store columns fastest, then rows, then time: frame t, row y, column x. They state how far apart pixels
are but not frames, so times come from elsewhere. Where pixels are not square the finer direction is reduced,
so that a heart is not stretched.
"""

from __future__ import annotations

import gzip
import math
import zlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from nibabel.nifti1 import Nifti1Header
from nibabel.spatialimages import HeaderDataError
from numpy.typing import DTypeLike, NDArray
from PIL import Image

from echojepa.data.reading.frames import Frames, check_size
from echojepa.data.reading.rejection import Rejected, refusing
from echojepa.vocabulary import Reason

GZIP, NIFTI, META = b"\x1f\x8b", b"n+1\x00", b"ObjectType"
"""What the files begin with; NIfTI says its name at the end of its header of 348 bytes."""
HEADER = 348
MILLIMETRES = {"mm": 1.0, "unknown": 1.0, "meter": 1000.0, "micron": 0.001}
"""Units of length in NIfTI; where none is stated, millimetres are meant."""
ELEMENTS: dict[str, DTypeLike] = {
    "MET_UCHAR": "u1", "MET_CHAR": "i1", "MET_USHORT": "u2", "MET_SHORT": "i2", "MET_UINT": "u4",
    "MET_INT": "i4", "MET_FLOAT": "f4", "MET_DOUBLE": "f8",
}  # fmt: skip
"""MetaImage's types of a value (insight toolkit, metaTypes.h)."""
NIFTI_ERRORS = (HeaderDataError, KeyError, ValueError, OverflowError)
GZIP_ERRORS = (OSError, EOFError, zlib.error)
"""What damaged headers, and damaged data of gzip, raise."""
SQUARE = 0.01
"""Sides of a pixel that differ by no more than this share are equal."""


class Volume(Frames):
    """Frames of one stack, all in memory, pixels made square."""

    monochrome = True

    def __init__(self, stored: NDArray[np.uint8], spacing: tuple[float, float]) -> None:
        self._stored = stored
        self.count, height, width = stored.shape
        known = min(spacing) > 0 and all(map(math.isfinite, spacing))
        coarse = max(spacing)
        shares = [side / coarse if known and side < coarse * (1 - SQUARE) else 1.0 for side in spacing]
        self.height, self.width = (max(1, round(n * s)) for n, s in zip((height, width), shares, strict=True))
        self.mm_per_pixel = (
            (spacing[0] * height / self.height, spacing[1] * width / self.width) if known else None
        )
        """Size of a pixel of the frames, (row, column); None where the file states none."""

    def read(self, indices: Sequence[int], *, grey: bool = False) -> Iterator[NDArray[np.uint8]]:
        """Yield frames as `Frames.read` says; where pixels were not square, a new one is a mean of old."""
        self.check(indices)
        for index in indices:
            frame = self._stored[index]
            if frame.shape != (self.height, self.width):
                picture = Image.fromarray(frame).resize((self.width, self.height), Image.Resampling.BOX)
                frame = np.asarray(picture)
            yield frame


def is_volume(head: bytes) -> bool:
    """Whether a file that begins so, 348 bytes or more, is one of these."""
    return head.startswith((GZIP, META)) or head[HEADER - len(NIFTI) : HEADER] == NIFTI


def open_volume(content: bytes, path: Path) -> tuple[Volume, bytes]:
    """The stack in a file, and all bytes that make it up (a MetaImage's values stand in a second file).

    Raises Rejected: UNSUPPORTED (another kind of file or value), NO_PIXELS, TOO_LARGE, TRUNCATED.
    """
    if content.startswith(META):
        return open_meta(content, path)
    return open_nifti(content), content


def open_nifti(content: bytes) -> Volume:
    """The stack in a NIfTI file, gzipped or not; no more is unpacked than its header says there is."""
    stream = gzip.GzipFile(fileobj=BytesIO(content)) if content.startswith(GZIP) else BytesIO(content)
    with (
        refusing(Reason.UNSUPPORTED, "a NIfTI header that breaks", NIFTI_ERRORS),
        refusing(Reason.TRUNCATED, "gzip breaks", GZIP_ERRORS),
    ):
        head = stream.read(HEADER)
        if head[HEADER - len(NIFTI) :] != NIFTI:
            raise Rejected(Reason.UNSUPPORTED, "not a NIfTI file with its data inside")
        header = Nifti1Header(head, check=False)
        shape, kind = header.get_data_shape(), header.get_data_dtype()
        slope, shift = header.get_slope_inter()
        offset = max(HEADER, header.get_data_offset())
        across, down = (float(side) for side in tuple(header.get_zooms())[:2])
        millimetres = MILLIMETRES.get(str(header.get_xyzt_units()[0]), math.nan)
    sides = stack_shape(shape)
    with refusing(Reason.TRUNCATED, "gzip breaks", GZIP_ERRORS):
        stream.read(offset - HEADER)
        raw = stream.read(math.prod(sides) * kind.itemsize)
    scale = 1.0 if slope is None else slope, 0.0 if shift is None else shift
    return Volume(as_bytes(raw, kind, sides, scale), (down * millimetres, across * millimetres))


def open_meta(content: bytes, path: Path) -> tuple[Volume, bytes]:
    """The stack of a MetaImage header and the file beside it that it names, deflated or not."""
    lines = (line.partition("=") for line in content.decode("latin-1").splitlines())
    facts = {name.strip(): value.strip() for name, _, value in lines}
    with refusing(Reason.UNSUPPORTED, "a MetaImage header that breaks", (KeyError, ValueError)):
        sides = stack_shape([int(side) for side in facts["DimSize"].split()])
        element, name = facts["ElementType"], facts["ElementDataFile"]
        spacing = [float(side) for side in facts.get("ElementSpacing", "0 0").split()]
        across, down = spacing[:2]
    if element not in ELEMENTS or facts.get("ElementNumberOfChannels", "1") != "1":
        raise Rejected(Reason.UNSUPPORTED, "a MetaImage whose values are not single numbers")
    if Path(name).name != name or not (path.parent / name).is_file():
        raise Rejected(Reason.TRUNCATED, "the data file that its header names is not beside it")
    swapped = "True" in (facts.get("BinaryDataByteOrderMSB"), facts.get("ElementByteOrderMSB"))
    kind = np.dtype(ELEMENTS[element]).newbyteorder(">" if swapped else "<")
    size = math.prod(sides) * kind.itemsize
    stored = (path.parent / name).read_bytes()
    raw = stored
    if facts.get("CompressedData", "False") == "True":
        try:
            raw = zlib.decompressobj().decompress(stored, size)
        except zlib.error:
            raise Rejected(Reason.TRUNCATED, "its deflated values break") from None
    return Volume(as_bytes(raw[:size], kind, sides, (1.0, 0.0)), (down, across)), content + stored


def stack_shape(sides: Sequence[int]) -> tuple[int, int, int]:
    """(T, H, W) of a stack written (W, H), (W, H, T) or (W, H, 1, T); Rejected for any other, and by size."""
    width, height, *more = (int(side) for side in sides) if len(sides) > 1 else (0, 0)
    long = [side for side in more if side != 1]
    if len(long) > 1:
        raise Rejected(
            Reason.UNSUPPORTED, "a volume with depth and time; only images stacked in time are read"
        )
    count = long[0] if long else 1
    check_size(count, height, width)
    return count, height, width


def as_bytes(
    raw: bytes, kind: np.dtype, shape: tuple[int, int, int], scale: tuple[float, float]
) -> NDArray[np.uint8]:
    """Values (T, H, W) of 0 to 255 as bytes, none of them rounded; Rejected where that cannot be."""
    if len(raw) < math.prod(shape) * kind.itemsize:
        raise Rejected(
            Reason.TRUNCATED, f"{len(raw)} bytes, but its header states {math.prod(shape) * kind.itemsize}"
        )
    if kind.kind not in "iuf":
        raise Rejected(Reason.UNSUPPORTED, "a stack whose values are not single numbers")
    values: NDArray[Any] = np.frombuffer(raw, kind).reshape(shape)
    if scale != (1.0, 0.0):
        values = values * scale[0] + scale[1]
    if values.dtype == np.uint8:
        return values
    small = values.astype(np.uint8) if values.min() >= 0 and values.max() <= 255 else None
    if small is None or not np.array_equal(small, values):
        raise Rejected(Reason.UNSUPPORTED, "grey levels that are not whole numbers from 0 to 255")
    return small
