"""One encoded frame to its stored samples: which codec decodes which transfer syntax, and how it is asked.

No codec here is GPL, and pydicom never chooses: with GDCM installed its own order would differ.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from io import BytesIO
from typing import Any, NamedTuple

import imagecodecs
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.encaps import encapsulate
from pydicom.pixels.decoders.base import get_decoder

from echojepa.data.reading.dicom.colour import space_of
from echojepa.data.reading.rejection import Rejected
from echojepa.vocabulary import Reason

JPEG_RGB_IDS = ([82, 71, 66], [114, 103, 98])
"""Component ids that say R, G, B in ASCII: libjpeg takes such a codestream for RGB."""
_WITHOUT_FRAME_HEADER = {0xC4, 0xC8, 0xCC}
"""Markers between SOF0 and SOF15 that do not begin a frame (ITU-T T.81, table B.1)."""


class Layout(NamedTuple):
    """What the header says about every frame's samples."""

    height: int
    width: int
    samples: int
    allocated: int
    stored: int
    signed: int
    photometric: str
    planar: int
    coded: str = ""
    """RGB or YBR_FULL: what JPEG codestreams hold, where their pixels contradict what is said of them."""


class Decoded(NamedTuple):
    """Samples of one frame, (H, W) or (H, W, 3), and the photometric interpretation they now have."""

    samples: NDArray[Any]
    photometric: str


Codec = Callable[[bytes, Layout, uid.UID, bool], Decoded]


def decode(encoded: bytes, layout: Layout, syntax: uid.UID, grey: bool) -> Decoded:
    """Decode one frame; `grey` permits leaving the colour of YBR data undecoded, as (H, W) MONOCHROME2.

    Raises Rejected where the codestream has another size than the header, before it is decoded, and
    DECODE_ERRORS where it is damaged.
    """
    size = codestream_size(encoded, syntax)
    if size is not None and size != (layout.height, layout.width):
        raise Rejected(
            Reason.TRUNCATED,
            f"a frame is encoded as {size[0]} x {size[1]} pixels, but the header states {layout.height} x "
            f"{layout.width}",
        )
    decoded = CODECS[syntax](encoded, layout, syntax, grey)
    flat = layout.samples == 1 or (grey and decoded.samples.ndim == 2)
    shape = (layout.height, layout.width) if flat else (layout.height, layout.width, layout.samples)
    if decoded.samples.shape != shape:
        raise Rejected(Reason.TRUNCATED, "a decoded frame has another shape than the header states")
    return decoded


def codestream_size(encoded: bytes, syntax: uid.UID) -> tuple[int, int] | None:
    """Height and width that the codestream states; None for RLE, which states none.

    JPEG, JPEG lossless and JPEG-LS by their frame header (ITU-T T.81, B.2.2; T.87, C.2.2), JPEG 2000 and
    HTJ2K by SIZ (ITU-T T.800, A.5.1). Raises ValueError where there is none.
    """
    if syntax == uid.RLELossless:
        return None
    if syntax in uid.JPEG2000TransferSyntaxes:
        at = encoded.find(b"\xff\x4f\xff\x51", 0, 4096)  # behind the boxes of a JP2 file, where it is one
        if at < 0:
            raise ValueError("no SIZ marker")
        width, height, left, top = struct.unpack_from(">4I", encoded, at + 8)
        return height - top, width - left
    header = frame_header(encoded)
    return header.height, header.width


class FrameHeader(NamedTuple):
    """A JPEG frame header."""

    precision: int
    height: int
    width: int
    component_ids: list[int]
    marker: int = 0
    """Which process it is coded by: the second byte of its marker."""


def frame_header(encoded: bytes) -> FrameHeader:
    """The first frame header of a JPEG or JPEG-LS codestream. Raises ValueError where there is none."""
    at = 2
    while at + 4 <= len(encoded) and encoded[at] == 0xFF:
        marker = encoded[at + 1]
        if marker == 0xFF:  # a fill byte
            at += 1
            continue
        if (0xC0 <= marker <= 0xCF and marker not in _WITHOUT_FRAME_HEADER) or marker == 0xF7:
            precision, height, width, components = struct.unpack_from(">BHHB", encoded, at + 4)
            ids = [encoded[at + 10 + 3 * number] for number in range(components)]
            return FrameHeader(precision, height, width, ids, marker)
        at += 2 + int.from_bytes(encoded[at + 2 : at + 4], "big")
    raise ValueError("no JPEG frame header")


def _takes_for_rgb(image: Image.Image, header: FrameHeader) -> bool:
    """Whether libjpeg takes a codestream of three components for RGB (JFIF, Adobe APP14, component ids)."""
    if "jfif" in image.info:
        return False
    if "adobe_transform" in image.info:
        return image.info["adobe_transform"] == 0
    return header.component_ids in JPEG_RGB_IDS


def _as_coded(image: Image.Image, for_rgb: bool) -> NDArray[np.uint8]:
    """The three components as the codestream holds them: asked for what it takes them for, libjpeg leaves
    them as they are."""
    if not for_rgb:
        image.draft("YCbCr", image.size)
    return np.asarray(image)


def jpeg_space(encoded: bytes, layout: Layout) -> str:
    """RGB or YBR_FULL where the pixels of a JPEG frame contradict what is said of them, else "".

    Raises DECODE_ERRORS where it is damaged.
    """
    header = frame_header(encoded)
    if header.precision != 8 or len(header.component_ids) != 3:
        return ""
    with Image.open(BytesIO(encoded), formats=("JPEG",)) as image:
        for_rgb = _takes_for_rgb(image, header)
        said = "RGB" if _is_rgb(image, header, layout) else "YBR_FULL"
        found = space_of(_as_coded(image, for_rgb), said)
    return "" if found == said else found


def _is_rgb(image: Image.Image, header: FrameHeader, layout: Layout) -> bool:
    """Whether a codestream holds RGB: as it says itself, as the header says where it is silent."""
    silent = not {"jfif", "adobe_transform"} & set(image.info)
    return _takes_for_rgb(image, header) or (silent and layout.photometric == "RGB")


def _jpeg(encoded: bytes, layout: Layout, syntax: uid.UID, grey: bool) -> Decoded:
    """8-bit JPEG by libjpeg-turbo in Pillow, 12-bit by the one in imagecodecs.

    The codestream decides its colour space (JFIF, Adobe APP14, component ids). Where it is silent and the
    header says RGB, no transform is undone. Pixels that contradict both win.
    """
    header = frame_header(encoded)
    if header.precision != 8:
        return _lossless(encoded, layout, syntax, grey)
    with Image.open(BytesIO(encoded), formats=("JPEG",)) as image:
        if len(header.component_ids) == 1:
            return Decoded(np.asarray(image), layout.photometric)
        for_rgb = _takes_for_rgb(image, header)
        stored_rgb = layout.coded == "RGB" if layout.coded else _is_rgb(image, header, layout)
        if stored_rgb or for_rgb:
            return Decoded(_as_coded(image, for_rgb), "RGB" if stored_rgb else "YBR_FULL")
        if grey:
            image.draft("L", image.size)  # libjpeg then skips the chroma planes
            return Decoded(np.asarray(image.convert("L")), "MONOCHROME2")
        return Decoded(np.asarray(image.convert("RGB")), "RGB")


def _lossless(encoded: bytes, layout: Layout, _syntax: uid.UID, _grey: bool) -> Decoded:
    """JPEG lossless and 12-bit JPEG by libjpeg-turbo 3 in imagecodecs, without any colour transform."""
    space = "RGB" if layout.samples == 3 else "GRAYSCALE"
    samples = imagecodecs.jpeg8_decode(encoded, colorspace=space, outcolorspace=space)
    return Decoded(samples, layout.photometric)


def _rle(encoded: bytes, layout: Layout, _syntax: uid.UID, _grey: bool) -> Decoded:
    """RLE (PS3.5, annex G): a PackBits segment for each byte of each sample, the high byte first.

    Not by pylibjpeg-rle: damaged data makes it panic, which no handler of exceptions may catch.
    """
    count, *offsets = struct.unpack_from("<16I", encoded)
    width = layout.allocated // 8
    if count != layout.samples * width:
        raise ValueError(f"{count} segments")
    pixels = layout.height * layout.width
    planes = np.empty((layout.samples, width, pixels), np.uint8)
    ends = [*offsets[1:count], len(encoded)]
    for plane, begin, end in zip(planes.reshape(count, pixels), offsets, ends, strict=False):
        room = pixels + 128  # for what padding may decode to; a longer segment is damaged
        plane[:] = np.frombuffer(imagecodecs.packbits_decode(encoded[begin:end], out=room), np.uint8)[:pixels]
    samples = np.ascontiguousarray(planes.transpose(2, 0, 1)).view(f">u{width}")
    shape = (layout.height, layout.width, layout.samples)[: 2 + (layout.samples > 1)]
    return Decoded(samples.reshape(shape), layout.photometric)


def _by_pydicom(plugin: str) -> Codec:
    """A codec that pydicom drives: it knows about planes, precision and signs of each codestream."""

    def decode_one(encoded: bytes, layout: Layout, syntax: uid.UID, _grey: bool) -> Decoded:
        description: Any = {
            "number_of_frames": 1,
            "rows": layout.height,
            "columns": layout.width,
            "samples_per_pixel": layout.samples,
            "bits_allocated": layout.allocated,
            "bits_stored": layout.stored,
            "pixel_representation": layout.signed,
            "photometric_interpretation": layout.photometric,
            "planar_configuration": layout.planar,
            "pixel_keyword": "PixelData",
        }
        samples, properties = get_decoder(syntax).as_array(
            encapsulate([encoded], has_bot=False), index=0, raw=True, decoding_plugin=plugin, **description
        )
        return Decoded(samples, str(properties["photometric_interpretation"]))

    return decode_one


CODECS: dict[uid.UID, Codec] = {
    uid.RLELossless: _rle,
    uid.JPEGBaseline8Bit: _jpeg,
    uid.JPEGExtended12Bit: _jpeg,
    uid.JPEGLossless: _lossless,
    uid.JPEGLosslessSV1: _lossless,
    uid.JPEGLSLossless: _by_pydicom("pyjpegls"),
    uid.JPEGLSNearLossless: _by_pydicom("pyjpegls"),
    uid.JPEG2000Lossless: _by_pydicom("pylibjpeg"),
    uid.JPEG2000: _by_pydicom("pylibjpeg"),
    uid.HTJ2KLossless: _by_pydicom("pylibjpeg"),
    uid.HTJ2KLosslessRPCL: _by_pydicom("pylibjpeg"),
    uid.HTJ2K: _by_pydicom("pylibjpeg"),
}
"""The encapsulated transfer syntaxes of still pictures."""
