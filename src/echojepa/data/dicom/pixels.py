"""Pixel data of one DICOM file, frame by frame: `open_pixels` checks the header, `read` decodes on demand.

Nothing is allocated by what a header claims before that is checked against the limits and the data's length.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from echojepa.data.deidentify import discreetly
from echojepa.data.dicom.codecs import CODECS, Decoded, Layout, decode
from echojepa.data.dicom.photometric import COLOUR, GREY, to_picture, value_table
from echojepa.data.frames import DECODE_ERRORS, Frames, check_size
from echojepa.data.rejection import Rejected
from echojepa.data.video import Video, open_video
from echojepa.vocabulary import Reason

NATIVE = (
    uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)  # fmt: skip
"""Transfer syntaxes whose samples stand in the file as they are."""


@discreetly()
def open_pixels(data: Dataset) -> Frames:
    """The frames of a file that pydicom has read (for a deflated file: inflated).

    Raises Rejected: NO_PIXELS, TRUNCATED (shorter than the header claims, or another number of frames),
    UNSUPPORTED (naming the encoding) or TOO_LARGE. No message carries a value of the file but sizes.
    """
    content = _content(data)
    layout, count, syntax = _header(data)
    check_size(count, layout.height, layout.width)
    if syntax in uid.MPEGTransferSyntaxes:
        return _open_stream(content, layout, count)
    _check_supported(layout, syntax)
    try:
        plain = layout.allocated == layout.stored == 8 and not layout.signed
        plain &= layout.photometric not in ("MONOCHROME1", "PALETTE COLOR")
        table = None if plain else value_table(data, layout)
    except DECODE_ERRORS as error:
        raise Rejected(
            Reason.TRUNCATED, f"its palette or window does not read ({type(error).__name__})"
        ) from None
    if syntax in NATIVE:
        swapped = syntax == uid.ExplicitVRBigEndian and data["PixelData"].VR == "OW"
        return NativePixels(content, layout, count, table, syntax.is_little_endian, swapped)
    return EncodedPixels(_split(data, content, count), layout, count, table, syntax)


def _content(data: Dataset) -> bytes:
    try:
        content = data.get("PixelData")
    except DECODE_ERRORS:
        raise Rejected(Reason.TRUNCATED, "its PixelData does not read") from None
    if not content:
        raise Rejected(Reason.NO_PIXELS, "no PixelData in it")
    if not isinstance(content, bytes):
        raise Rejected(Reason.TRUNCATED, "its PixelData is no string of bytes")
    return content


def _header(data: Dataset) -> tuple[Layout, int, uid.UID]:
    try:
        syntax = uid.UID(data.file_meta.TransferSyntaxUID)
        count = int(data.get("NumberOfFrames", 1) or 0)
        allocated = int(data.BitsAllocated)
        layout = Layout(
            height=int(data.Rows),
            width=int(data.Columns),
            samples=int(data.get("SamplesPerPixel", 1)),
            allocated=allocated,
            stored=int(data.get("BitsStored") or allocated),
            signed=int(data.get("PixelRepresentation") or 0),
            photometric=str(data.PhotometricInterpretation),
            planar=int(data.get("PlanarConfiguration") or 0),
        )
    except DECODE_ERRORS:
        raise Rejected(
            Reason.TRUNCATED, "the header's sizes, bits, colour space or transfer syntax do not read"
        ) from None
    return layout, count, syntax


def _check_supported(layout: Layout, syntax: uid.UID) -> None:
    known = (*GREY, "PALETTE COLOR") if layout.samples == 1 else COLOUR if layout.samples == 3 else ()
    if syntax not in NATIVE and syntax not in CODECS:
        name = (
            syntax.name if not syntax.is_private and syntax.name != syntax else "an unknown transfer syntax"
        )
        raise Rejected(Reason.UNSUPPORTED, f"{name} cannot be decoded")
    if (
        layout.allocated not in (8, 16)
        or not 1 < layout.stored <= layout.allocated
        or layout.signed not in (0, 1)
    ):
        raise Rejected(Reason.UNSUPPORTED, f"{layout.stored} of {layout.allocated} bits a sample")
    if layout.photometric not in known:
        name = layout.photometric if layout.photometric in GREY + COLOUR else "an unknown colour space"
        raise Rejected(Reason.UNSUPPORTED, f"{layout.samples} samples a pixel as {name}")


def _open_stream(fragments: bytes, layout: Layout, count: int) -> Video:
    """MPEG-2, H.264 or HEVC: the fragments together are one stream. Its own times are not DICOM's."""
    try:
        content = b"".join(generate_frames(fragments, number_of_frames=1))
    except DECODE_ERRORS as error:
        raise Rejected(Reason.TRUNCATED, f"its fragments break ({type(error).__name__})") from None
    video = open_video(content)
    if (video.height, video.width) != (layout.height, layout.width) or video.count < count:
        raise Rejected(
            Reason.TRUNCATED,
            f"the stream has {video.count} frames of {video.height} x {video.width} pixels, the header says "
            f"{count} of {layout.height} x {layout.width}",
        )
    return video


class _Pixels(Frames):
    """What native and encoded pixel data share."""

    def __init__(self, layout: Layout, count: int, table: NDArray[np.uint8] | None) -> None:
        self.layout, self.count, self.table = layout, count, table
        self.height, self.width = layout.height, layout.width
        self.monochrome = layout.samples == 1 and (table is None or table.ndim == 1)
        self.stored_luma = layout.photometric in ("YBR_FULL", "YBR_FULL_422")

    def read(self, indices: Sequence[int], *, grey: bool = False) -> Iterator[NDArray[np.uint8]]:
        self.check(indices)
        for index in indices:
            try:
                with discreetly():
                    picture = to_picture(self.decode(index, grey), self.layout, self.table, grey)
            except Rejected:
                raise
            except DECODE_ERRORS as error:
                raise Rejected(
                    Reason.TRUNCATED, f"frame {index} does not decode ({type(error).__name__})"
                ) from None
            yield picture

    @abstractmethod
    def decode(self, index: int, grey: bool) -> Decoded:
        """The stored samples of one frame."""


class NativePixels(_Pixels):
    """Samples as they stand in the file; a frame is a slice of it."""

    def __init__(
        self,
        content: bytes,
        layout: Layout,
        count: int,
        table: NDArray[np.uint8] | None,
        little_endian: bool,
        swapped: bool,
    ) -> None:
        super().__init__(layout, count, table)
        self.content = np.frombuffer(content, np.uint8)
        self.dtype = np.dtype(f"{'<' if little_endian else '>'}u{layout.allocated // 8}")
        self.swapped = swapped and layout.allocated == 8
        pixels = layout.height * layout.width
        self.halved = layout.photometric == "YBR_FULL_422"
        if self.halved and layout.width % 2:
            raise Rejected(Reason.UNSUPPORTED, "YBR_FULL_422 of odd width")
        per_pixel = 2 if self.halved else layout.samples
        self.frame_bytes = pixels * per_pixel * self.dtype.itemsize
        claimed, there = count * self.frame_bytes, len(self.content)
        if not claimed <= there < claimed + max(self.frame_bytes, 2):
            raise Rejected(
                Reason.TRUNCATED, f"{there} bytes of pixel data where the header's sizes make {claimed}"
            )

    def decode(self, index: int, grey: bool) -> Decoded:
        """The stored samples of one frame."""
        layout, begin = self.layout, index * self.frame_bytes
        stored = self._bytes(begin, begin + self.frame_bytes).view(self.dtype)
        shape = layout.height, layout.width
        if self.halved:
            pairs = stored.reshape(layout.height, layout.width // 2, 4)  # Y1 Y2 Cb Cr: PS3.3 C.7.6.3.1.2
            full = np.empty((*shape, 3), stored.dtype)
            full[..., 0] = pairs[..., :2].reshape(shape)
            full[..., 1:] = np.repeat(pairs[..., 2:], 2, axis=1)
            return Decoded(full, "YBR_FULL")
        if layout.samples == 1:
            return Decoded(stored.reshape(shape), layout.photometric)
        if layout.planar:
            return Decoded(np.moveaxis(stored.reshape(3, *shape), 0, -1), layout.photometric)
        return Decoded(stored.reshape(*shape, 3), layout.photometric)

    def _bytes(self, begin: int, end: int) -> NDArray[np.uint8]:
        """Bytes of the content; 8-bit samples that big endian files hold in 16-bit words are put in order."""
        if not self.swapped:
            return self.content[begin:end]
        at = np.arange(begin, end) ^ 1
        return self.content[np.minimum(at, len(self.content) - 1)]


class EncodedPixels(_Pixels):
    """Frames each encoded on its own."""

    def __init__(
        self,
        encoded: list[bytes],
        layout: Layout,
        count: int,
        table: NDArray[np.uint8] | None,
        syntax: uid.UID,
    ) -> None:
        super().__init__(layout, count, table)
        self.encoded, self.syntax = encoded, syntax
        self.stored_luma |= syntax in (
            uid.JPEGBaseline8Bit,
            uid.JPEGExtended12Bit,
        )  # whatever the header says

    def decode(self, index: int, grey: bool) -> Decoded:
        """The stored samples of one frame."""
        return decode(self.encoded[index], self.layout, self.syntax, grey)


def _split(data: Dataset, content: bytes, count: int) -> list[bytes]:
    """The encoded frames, by the offset tables or the fragments."""
    table: Any = None
    try:
        if "ExtendedOffsetTable" in data and "ExtendedOffsetTableLengths" in data:
            table = data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths
        encoded = list(generate_frames(content, number_of_frames=count, extended_offsets=table))
    except DECODE_ERRORS as error:
        raise Rejected(
            Reason.TRUNCATED, f"its fragments do not make {count} frames ({type(error).__name__})"
        ) from None
    if len(encoded) != count:
        raise Rejected(Reason.TRUNCATED, f"{len(encoded)} encoded frames where the header says {count}")
    return encoded
