"""A DICOM file's header and the place of its pixel data, also in files with unusual framing.

Files that other readers accept are read: without a preamble, with only its "DICM", or with a sequence or item
whose end is not marked as the standard requires. Pixel data are not copied: the result is a view of the
content.
"""

from __future__ import annotations

import contextlib
import re
import struct
import zlib
from io import BytesIO
from mmap import mmap
from typing import Any, NamedTuple

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from echojepa.data.reading.dicom.attributes import VALUE_ERRORS
from echojepa.data.reading.rejection import Rejected, refusing
from echojepa.vocabulary import Reason

PREAMBLE, MAGIC = 128, b"DICM"
META = re.compile(rb"\x02\x00[\x00-\x10]\x00(UL|OB|UI)")
"""The first element of the file meta information, explicit as it always is."""
BARE = b"\x08\x00"
"""Group 0008, which comes first in files without file meta information, as old archives hold them."""
ITEM, ITEM_END, SEQUENCE_END = (bytes.fromhex(tag) for tag in ("feff00e0", "feff0de0", "feffdde0"))
UNDEFINED = 0xFFFFFFFF
MAX_INFLATED = 1 << 30
"""Bytes of a deflated file after inflation; it must be held in memory whole."""


class Stored(NamedTuple):
    """The value of PixelData as it stands in the file."""

    content: memoryview | bytes
    """Samples, or items of encoded frames without the delimiter of their sequence."""
    is_words: bool
    """Whether its value representation is OW."""


class Opened(NamedTuple):
    """A file whose header has been read."""

    data: Dataset
    """Without its pixel data, but for a deflated file, which is read whole."""
    content: mmap | bytes
    at: int
    """Where the element after the header begins; -1 in a deflated file."""


def read_header(content: mmap | bytes) -> Opened:
    """All before the pixel data; Rejected(NOT_DICOM, TRUNCATED or TOO_LARGE) where it does not read."""
    begun, bare = with_preamble(content)
    try:
        return _parse(begun, bare)
    except Rejected:
        raise
    except InvalidDicomError:
        raise Rejected(
            Reason.NOT_DICOM, "it has no DICOM preamble and is not a known kind of video"
        ) from None
    except (*VALUE_ERRORS, OSError, zlib.error) as error:
        mended = with_ended_items(begun)
        if mended is not None:
            with contextlib.suppress(*VALUE_ERRORS, OSError, zlib.error, InvalidDicomError):
                return _parse(mended, bare)
        raise Rejected(
            Reason.TRUNCATED, f"the header ends or breaks early ({type(error).__name__})"
        ) from None


def with_preamble(content: mmap | bytes) -> tuple[mmap | bytes, bool]:
    """The content with what must stand before the file meta information, and whether it has none of that."""
    if content[PREAMBLE : PREAMBLE + 4] == MAGIC:
        return content, False
    if content[:4] == MAGIC:
        return bytes(PREAMBLE) + content[:], False
    if META.match(content[:6]):
        return bytes(PREAMBLE) + MAGIC + content[:], False
    return content, content[:2] == BARE


def _parse(content: mmap | bytes, bare: bool) -> Opened:
    if is_deflated(content):
        check_inflation(content)
        return Opened(pydicom.dcmread(_stream(content)), content, -1)
    stream = _stream(content)
    data = pydicom.dcmread(stream, force=bare, stop_before_pixels=True)
    return Opened(data, content, stream.tell())


def _stream(content: mmap | bytes) -> Any:
    """A file to read from its beginning, without a name: pydicom writes one that it knows into warnings."""
    if isinstance(content, bytes):
        return BytesIO(content)
    content.seek(0)
    return content


def is_deflated(content: mmap | bytes) -> bool:
    """Whether the file meta information names the deflated transfer syntax."""
    name = content.find(str(DeflatedExplicitVRLittleEndian).encode(), 0, 4096)
    return content[PREAMBLE : PREAMBLE + 4] == MAGIC and name >= 0


def check_inflation(content: mmap | bytes) -> None:
    """Rejected(TOO_LARGE) where a deflated file inflates to more than may be held, TRUNCATED where it breaks;
    it is inflated a piece at a time for that."""
    length = struct.unpack("<L", content[PREAMBLE + 12 : PREAMBLE + 16])[0]  # (0002,0000), which comes first
    inflate, at, made = zlib.decompressobj(-zlib.MAX_WBITS), PREAMBLE + 16 + length, 0
    while not inflate.eof and at < len(content):
        piece = content[at : at + (1 << 16)]
        at += len(piece)
        while piece:
            made += len(inflate.decompress(piece, 1 << 20))
            piece = inflate.unconsumed_tail
            if made > MAX_INFLATED:
                raise Rejected(
                    Reason.TOO_LARGE, f"deflated, and larger than {MAX_INFLATED >> 30} GiB when inflated"
                )
    if not inflate.eof:
        raise Rejected(Reason.TRUNCATED, "its deflated data set ends early")


def with_ended_items(content: mmap | bytes) -> bytes | None:
    """The content with the end of an item put before each end of a sequence that lacks it; None where none
    does. Some scanners end the item and the sequence with the latter alone."""
    whole, parts, begun = bytes(content[:]), [], 0
    pixels = whole.rfind(b"\xe0\x7f\x10\x00")
    for found in re.finditer(re.escape(SEQUENCE_END + bytes(4)), whole[: pixels if pixels > 0 else None]):
        if not whole[: found.start()].endswith(ITEM_END + bytes(4)):
            parts += [whole[begun : found.start()], ITEM_END + bytes(4)]
            begun = found.start()
    return b"".join([*parts, whole[begun:]]) if parts else None


def stored_pixels(opened: Opened) -> Stored:
    """The value of PixelData; Rejected(NO_PIXELS) where another element or none is there, TRUNCATED where its
    items end early."""
    data, content, at = opened
    if at < 0:
        return pixels_in(data)
    syntax = data.file_meta.get("TransferSyntaxUID")
    implicit = data.original_encoding[0]
    order = ">" if syntax == ExplicitVRBigEndian else "<"
    view = memoryview(content)
    head = bytes(view[at : at + 12])
    if len(head) < 8 or struct.unpack(f"{order}2H", head[:4]) != (0x7FE0, 0x0010):
        raise Rejected(Reason.NO_PIXELS, "no PixelData in it")
    if implicit:
        is_words, length, begin = True, struct.unpack("<L", head[4:8])[0], at + 8
    elif len(head) < 12:
        raise Rejected(Reason.TRUNCATED, "it ends at the start of its pixel data")
    else:
        is_words, length, begin = head[4:6] == b"OW", struct.unpack(f"{order}L", head[8:12])[0], at + 12
    if length != UNDEFINED:
        return Stored(view[begin : begin + length], is_words)
    return Stored(view[begin : end_of_items(view, begin)], is_words)


def pixels_in(data: Dataset) -> Stored:
    """The value of PixelData of a data set that was read whole; Rejected as `stored_pixels`."""
    with refusing(Reason.TRUNCATED, "its PixelData cannot be read", VALUE_ERRORS):
        value = data.get("PixelData")
    if not isinstance(value, bytes):
        raise Rejected(Reason.NO_PIXELS, "no PixelData in it")
    return Stored(value, data["PixelData"].VR == "OW")


def end_of_items(view: memoryview, begin: int) -> int:
    """Where the items from `begin` on end: at their delimiter, at zeros in its place, or at the end of the
    file; Rejected(TRUNCATED) where an item is longer than what is left, or something else follows."""
    at = begin
    while at + 8 <= len(view):
        tag, length = bytes(view[at : at + 4]), struct.unpack("<L", view[at + 4 : at + 8])[0]
        if tag != ITEM:
            if tag == SEQUENCE_END or tag == bytes(4):
                return at
            raise Rejected(Reason.TRUNCATED, "unknown data follow its encoded frames")
        if at + 8 + length > len(view):
            raise Rejected(Reason.TRUNCATED, "its encoded frames end early")
        at += 8 + length
    left = bytes(view[at:])
    if any(left) and not SEQUENCE_END.startswith(left[:4]):
        raise Rejected(Reason.TRUNCATED, "its encoded frames end early")
    return at


def state_syntax(data: Dataset) -> None:
    """A transfer syntax for a file that states none: the one that it was read by."""
    if "TransferSyntaxUID" not in data.file_meta:
        implicit = data.original_encoding[0]
        data.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
