"""Which files are videos, told by how they begin, and what an AVI's header says of its rate."""

from __future__ import annotations

import struct

BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot")
"""What an MP4 or QuickTime file begins with, after four bytes of length; classic QuickTime has no ftyp."""
STARTS = (b"\x1aE\xdf\xa3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3")
"""Matroska and WebM (EBML), an MPEG program stream, and a bare MPEG-1 or -2 stream."""
SYNC, PACKETS = b"\x47", ((0, 188), (4, 192))
"""Of an MPEG transport stream: the byte that each packet begins with, where, and how long packets are."""


def is_video(head: bytes) -> bool:
    """Whether a file that begins so, 600 bytes or more, is a video."""
    if head[4:8] in BOXES or (head[:4] == b"RIFF" and head[8:11] == b"AVI") or head.startswith(STARTS):
        return True
    return any(
        len(head) > first + 2 * length
        and all(head[first + n * length : first + n * length + 1] == SYNC for n in range(3))
        for first, length in PACKETS
    )


def states_no_rate(content: bytes) -> bool:
    """Whether an AVI's video stream and its main header both state a rate of 0: FFmpeg then makes up 25 a
    second (libavformat/avidec.c)."""
    if content[:4] != b"RIFF":
        return False
    stream, main = content.find(b"strh", 0, 1 << 16), content.find(b"avih", 0, 1 << 16)
    while stream >= 0 and content[stream + 8 : stream + 12] != b"vids":
        stream = content.find(b"strh", stream + 4, 1 << 16)
    if stream < 0 or main < 0 or len(content) < max(stream + 36, main + 12):
        return False
    scale, rate = struct.unpack("<2L", content[stream + 28 : stream + 36])
    return not (scale and rate) and content[main + 8 : main + 12] == bytes(4)


def indexed_frames(content: bytes) -> int:
    """Frames that the index at the end of an AVI counts, empty ones of lost frames among them; 0 for another
    file, or one whose index was cut off."""
    at = content.rfind(b"idx1") if content[:4] == b"RIFF" else -1
    if at < 0 or len(content) < at + 8:
        return 0
    length = struct.unpack("<L", content[at + 4 : at + 8])[0]
    if at + 8 + length > len(content):
        return 0
    return sum(
        content[entry + 2 : entry + 4] in (b"dc", b"db") for entry in range(at + 8, at + 8 + length, 16)
    )
