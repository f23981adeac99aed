"""Encapsulated pixel data to encoded frames: by where codestreams begin, the offset table, or the fragments.

A frame may be spread over several fragments, and offset tables are often empty or wrong (all zero, shifted).
A JPEG or JPEG 2000 codestream says itself where it begins, so that counts; PS3.5, A.4.
"""

from __future__ import annotations

import contextlib
import struct
from itertools import pairwise
from typing import Any

from pydicom import uid
from pydicom.encaps import generate_frames

from echojepa.data.reading.dicom.codecs import frame_header
from echojepa.data.reading.frames import DECODE_ERRORS
from echojepa.data.reading.rejection import Rejected, refusing
from echojepa.vocabulary import Reason

SOI, SOC, JP2 = b"\xff\xd8", b"\xff\x4f\xff\x51", b"\x00\x00\x00\x0cjP  "
"""What a JPEG or JPEG-LS codestream begins with, what a JPEG 2000 one does, and what a JP2 file does."""
RLE_HEADER = 64
"""Bytes of the header that a frame in RLE begins with, which is where its first segment begins."""


def fragments(content: memoryview) -> tuple[list[int], list[bytes], list[int]]:
    """The offset table, the fragments, and where each one's item begins, counted as offsets are.

    Raises ValueError or struct.error where the items break.
    """
    table, pieces, places, at, first = [], [], [], 0, None
    while at + 8 <= len(content):
        group, element, length = struct.unpack("<HHL", content[at : at + 8])
        if (group, element) != (0xFFFE, 0xE000) or at + 8 + length > len(content):
            raise ValueError("an item breaks")
        value = bytes(content[at + 8 : at + 8 + length])
        if first is None:
            first = at + 8 + length
            table = list(struct.unpack(f"<{length // 4}L", value[: length // 4 * 4]))
        else:
            pieces.append(value)
            places.append(at - first)
        at += 8 + length
    return table, pieces, places


JPEG_KINDS: dict[int, tuple[uid.UID, ...]] = {
    0xC0: (uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit), 0xC1: (uid.JPEGExtended12Bit, uid.JPEGBaseline8Bit),
    0xC3: (uid.JPEGLosslessSV1, uid.JPEGLossless), 0xF7: (uid.JPEGLSLossless, uid.JPEGLSNearLossless),
}  # fmt: skip
"""Transfer syntaxes of a codestream by the marker of its frame header."""
ITEM, BEGINNING = b"\xfe\xff\x00\xe0", 1 << 16
"""The tag of an item, and the bytes of a frame that its kind is looked for in."""


def shown_syntax(content: memoryview | bytes, stated: uid.UID) -> uid.UID:
    """The transfer syntax of pixel data: the stated one, unless their first encoded frame is of another kind.

    Gateways relabel files and leave the pixels (fo-dicom#645, Weasis#350): JPEG said to be uncompressed.
    """
    view = memoryview(content)
    if bytes(view[:4]) != ITEM or len(view) < 16:
        return stated
    at = 8 + struct.unpack("<L", view[4:8])[0]
    if bytes(view[at : at + 4]) != ITEM:
        return stated
    piece = bytes(view[at + 8 : at + 8 + BEGINNING])
    kinds: tuple[uid.UID, ...] = ()
    if piece.startswith((SOC, JP2)):
        kinds = tuple(uid.JPEG2000TransferSyntaxes)
    elif piece[4:8] == b"ftyp":
        kinds = (uid.MPEG4HP41, *uid.MPEGTransferSyntaxes)
    elif piece.startswith(SOI):
        with contextlib.suppress(*DECODE_ERRORS):
            kinds = JPEG_KINDS.get(frame_header(piece).marker, ())
    return kinds[0] if kinds and stated not in kinds else stated


def begins_frame(piece: bytes, syntax: uid.UID) -> bool:
    """Whether a fragment begins a frame."""
    if syntax == uid.RLELossless:
        return len(piece) > RLE_HEADER and struct.unpack_from("<L", piece, 4)[0] == RLE_HEADER
    return piece.startswith((SOC, JP2) if syntax in uid.JPEG2000TransferSyntaxes else SOI)


def joined(pieces: list[bytes], starts: list[int]) -> list[bytes]:
    """Fragments taken together from each start to the next."""
    return [b"".join(pieces[a:b]) for a, b in pairwise([*starts, len(pieces)])]


def encoded_frames(content: memoryview, syntax: uid.UID, stated: int, extended: Any = None) -> list[bytes]:
    """The encoded frames of a file that states so many; 0 or 1 says nothing, then they are counted.

    Raises Rejected(TRUNCATED) where there are others than stated, or the items break.
    """
    with refusing(Reason.TRUNCATED, "its fragments cannot be read", DECODE_ERRORS):
        table, pieces, places = fragments(content)
        if extended is not None:
            return list(generate_frames(bytes(content), number_of_frames=stated, extended_offsets=extended))
    if not pieces:
        raise Rejected(Reason.TRUNCATED, "no encoded frame in it")
    starts = [number for number, piece in enumerate(pieces) if begins_frame(piece, syntax)]
    item_of = {place: number for number, place in enumerate(places)}
    tabled = [item_of.get(offset, -1) for offset in table]
    ways = [way for way in (starts, tabled) if way[:1] == [0] and way == sorted(set(way))]
    if stated > 1:
        ways = [way for way in (*ways, list(range(len(pieces)))) if len(way) == stated]
        if not ways:
            there = len(starts) or len(pieces)
            raise Rejected(Reason.TRUNCATED, f"{there} encoded frames, but the header states {stated}")
        return joined(pieces, ways[0])
    return joined(pieces, max(ways, key=len, default=[0]))
