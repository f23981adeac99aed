"""Pixel data of one DICOM file, frame by frame: `open_pixels` checks the header, `read` decodes on demand.

Nothing is allocated by what a header claims before that is checked against the limits and the data's length.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset
from pydicom.encaps import generate_frames

from echojepa.data.identity.deidentify import discreetly
from echojepa.data.reading.dicom.attributes import VALUE_ERRORS
from echojepa.data.reading.dicom.codecs import CODECS, Decoded, Layout, decode, frame_header, jpeg_space
from echojepa.data.reading.dicom.colour import by_pixel, space_of
from echojepa.data.reading.dicom.fragments import encoded_frames, shown_syntax
from echojepa.data.reading.dicom.framing import Stored
from echojepa.data.reading.dicom.native import HALVED, bytes_a_pixel, settle
from echojepa.data.reading.dicom.photometric import COLOUR, GREY, to_picture, value_table
from echojepa.data.reading.frames import DECODE_ERRORS, Frames, check_size
from echojepa.data.reading.rejection import Rejected, refusing
from echojepa.data.reading.video import Video
from echojepa.vocabulary import Reason

NATIVE = (
    uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.ExplicitVRBigEndian,
    uid.DeflatedExplicitVRLittleEndian,
)  # fmt: skip
"""Transfer syntaxes whose samples stand in the file as they are."""
SYNTAXES = (*NATIVE, *CODECS, *uid.MPEGTransferSyntaxes)
"""All transfer syntaxes that are read."""
Decoder = Callable[[int, bool], Decoded]
"""The stored samples of the frame of a number; whether only its luma is wanted."""


@discreetly()
def open_pixels(data: Dataset, stored: Stored) -> Frames:
    """The frames of a file whose header pydicom has read, and whose pixel data are these.

    Raises Rejected: NO_PIXELS, TRUNCATED (shorter than the header claims, or another number of frames),
    COLOUR_SPACE, UNSUPPORTED (naming the encoding) or TOO_LARGE. No message carries a value of the file but
    sizes.
    """
    content, is_words = stored
    if not len(content):
        raise Rejected(Reason.NO_PIXELS, "no PixelData in it")
    layout, count, syntax = _header(data)
    syntax = shown_syntax(content, syntax)
    check_size(max(1, count), layout.height, layout.width)
    if syntax in uid.MPEGTransferSyntaxes:
        return _open_stream(bytes(content), layout, count)
    if syntax in NATIVE:
        _check_bits(layout)
        layout, count = settle(np.frombuffer(content, np.uint8), layout, count)
    encoded: list[bytes] = []
    if syntax in CODECS:
        encoded = encoded_frames(memoryview(content), syntax, count, _extended_offsets(data))
        layout, count = by_codestream(encoded, layout, syntax), len(encoded)
    count = max(1, count)
    check_size(count, layout.height, layout.width)
    _check_supported(layout, syntax)
    plain = layout.allocated == layout.stored == 8 and not layout.signed
    plain &= layout.photometric not in ("MONOCHROME1", "PALETTE COLOR")
    with refusing(Reason.TRUNCATED, "its palette or window cannot be read", DECODE_ERRORS):
        table = None if plain else value_table(data, layout)
    if syntax in NATIVE:
        return DicomFrames(layout, count, table, native_decoder(content, layout, syntax, is_words))
    coded = DicomFrames(
        layout, count, table, lambda index, grey: decode(encoded[index], layout, syntax, grey)
    )
    coded.stored_luma |= syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit)  # whatever the header says
    return coded


def _extended_offsets(data: Dataset) -> Any:
    """The extended offset table, where there is one."""
    try:
        if "ExtendedOffsetTable" in data and "ExtendedOffsetTableLengths" in data:
            return data.ExtendedOffsetTable, data.ExtendedOffsetTableLengths
    except DECODE_ERRORS:
        raise Rejected(Reason.TRUNCATED, "its offset table cannot be read") from None
    return None


def by_codestream(encoded: Sequence[bytes], layout: Layout, syntax: uid.UID) -> Layout:
    """The layout with the components and the colour space that the first encoded frame shows."""
    if layout.allocated != 8 or syntax not in CODECS:
        return layout
    with contextlib.suppress(Rejected, *DECODE_ERRORS):  # a damaged frame is refused when it is read
        if syntax in (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit):
            components = len(frame_header(encoded[0]).component_ids)
            if components == 1 and layout.samples == 3:
                return layout._replace(samples=1, photometric="MONOCHROME2")
            if components == 3 and layout.samples == 1:
                layout = layout._replace(samples=3, photometric="YBR_FULL_422")
            return layout._replace(coded=jpeg_space(encoded[0], layout))
        if layout.samples == 3 and layout.photometric in ("RGB", "YBR_FULL", "YBR_FULL_422"):
            decoded = decode(encoded[0], layout, syntax, grey=False)
            if decoded.photometric == layout.photometric and decoded.samples.ndim == 3:
                return layout._replace(photometric=space_of(decoded.samples, layout.photometric))
    return layout


def _header(data: Dataset) -> tuple[Layout, int, uid.UID]:
    try:
        syntax = uid.UID(data.file_meta.TransferSyntaxUID)
        count = int(data.get("NumberOfFrames") or 0)
        if not count and data.get("SOPClassUID") == uid.UltrasoundImageStorage and syntax in NATIVE:
            count = 1  # a class of single pictures
        allocated = int(data.BitsAllocated)
        layout = Layout(
            height=int(data.Rows),
            width=int(data.Columns),
            samples=int(data.get("SamplesPerPixel", 1)),
            allocated=allocated,
            stored=int(data.get("BitsStored") or allocated),
            signed=int(data.get("PixelRepresentation") or 0),
            photometric=str(data.PhotometricInterpretation).strip().upper(),
            planar=int(data.get("PlanarConfiguration") or 0),
        )
    except (*DECODE_ERRORS, *VALUE_ERRORS):
        raise Rejected(
            Reason.TRUNCATED, "the header's sizes, bits, colour space or transfer syntax cannot be read"
        ) from None
    return layout, count, syntax


def _check_supported(layout: Layout, syntax: uid.UID) -> None:
    known = (*GREY, "PALETTE COLOR") if layout.samples == 1 else COLOUR if layout.samples == 3 else ()
    if syntax not in NATIVE and syntax not in CODECS:
        name = (
            syntax.name if not syntax.is_private and syntax.name != syntax else "an unknown transfer syntax"
        )
        raise Rejected(Reason.UNSUPPORTED, f"{name} cannot be decoded")
    _check_bits(layout)
    if layout.photometric not in known:
        name = layout.photometric if layout.photometric in GREY + COLOUR else "an unknown colour space"
        raise Rejected(Reason.UNSUPPORTED, f"{layout.samples} samples a pixel as {name}")


def _check_bits(layout: Layout) -> None:
    if (
        layout.allocated not in (8, 16)
        or not 1 < layout.stored <= layout.allocated
        or layout.signed not in (0, 1)
    ):
        raise Rejected(Reason.UNSUPPORTED, f"{layout.stored} of {layout.allocated} bits a sample")


def _open_stream(fragments: bytes, layout: Layout, count: int) -> Video:
    """MPEG-2, H.264 or HEVC: the fragments together are one stream. Its own times are not DICOM's."""
    with refusing(Reason.TRUNCATED, "its fragments break", DECODE_ERRORS):
        content = b"".join(generate_frames(fragments, number_of_frames=1))
    video = Video(content)
    if (video.height, video.width) != (layout.height, layout.width) or video.count < count:
        raise Rejected(
            Reason.TRUNCATED,
            f"the stream has {video.count} frames of {video.height} x {video.width} pixels, the header "
            f"states {count} of {layout.height} x {layout.width}",
        )
    return video


class DicomFrames(Frames):
    """Frames made of stored samples, one by one."""

    def __init__(self, layout: Layout, count: int, table: NDArray[np.uint8] | None, decoder: Decoder) -> None:
        self.layout, self.count, self.table, self.decode = layout, count, table, decoder
        self.height, self.width = layout.height, layout.width
        self.monochrome = layout.samples == 1 and (table is None or table.ndim == 1)
        self.stored_luma = layout.photometric in ("YBR_FULL", HALVED)

    def read(self, indices: Sequence[int], *, grey: bool = False) -> Iterator[NDArray[np.uint8]]:
        """Yield frames as `Frames.read` says."""
        self.check(indices)
        for index in indices:
            with refusing(Reason.TRUNCATED, f"frame {index} does not decode", DECODE_ERRORS), discreetly():
                picture = to_picture(self.decode(index, grey), self.layout, self.table, grey)
            yield picture


def native_decoder(content: memoryview | bytes, layout: Layout, syntax: uid.UID, is_words: bool) -> Decoder:
    """Samples as they stand in the file; a frame is a slice of it."""
    whole = np.frombuffer(content, np.uint8)  # a file's own pages where it is mapped
    kind = np.dtype(f"{'<' if syntax.is_little_endian else '>'}u{layout.allocated // 8}")
    swapped = syntax == uid.ExplicitVRBigEndian and is_words and layout.allocated == 8
    shape, frame_bytes = (layout.height, layout.width), layout.height * layout.width * bytes_a_pixel(layout)
    if layout.photometric == HALVED and layout.width % 2:
        raise Rejected(Reason.UNSUPPORTED, "YBR_FULL_422 of odd width")

    def decode_one(index: int, _grey: bool) -> Decoded:
        begin, end = index * frame_bytes, (index + 1) * frame_bytes
        if swapped:  # 8-bit samples that big endian files hold in 16-bit words are put in order
            stored = whole[np.minimum(np.arange(begin, end) ^ 1, len(whole) - 1)]
        else:
            stored = whole[begin:end].view(kind)
        if layout.photometric == HALVED:
            pairs = stored.reshape(layout.height, layout.width // 2, 4)  # Y1 Y2 Cb Cr: PS3.3 C.7.6.3.1.2
            full = np.empty((*shape, 3), stored.dtype)
            full[..., 0] = pairs[..., :2].reshape(shape)
            full[..., 1:] = np.repeat(pairs[..., 2:], 2, axis=1)
            return Decoded(full, "YBR_FULL")
        if layout.samples == 1:
            return Decoded(stored.reshape(shape), layout.photometric)
        return Decoded(by_pixel(stored, shape, layout.planar), layout.photometric)

    return decode_one
