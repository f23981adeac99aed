"""Video: MP4, MOV, AVI and the MPEG streams inside DICOM, read by FFmpeg (PyAV) from memory; AVI is written.

The frames' order is the decoder's, the times are the container's. A frame is reached from the last key frame
before it where the container says when each is shown, else by decoding on; what is between is decoded once.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.error import FFmpegError
from av.video.stream import VideoStream
from numpy.typing import NDArray

from echojepa.data.reading.containers import indexed_frames, states_no_rate
from echojepa.data.reading.frames import DECODE_ERRORS, MAX_FRAME_BYTES, Frames, check_size
from echojepa.data.reading.rejection import Rejected, refusing
from echojepa.data.reading.times import LONGEST_PAUSE, STEPS, plausible
from echojepa.files.durable import write_file
from echojepa.vocabulary import Reason

FORMATS = "mov,mp4,avi,matroska,webm,mpegts,mpeg,mpegvideo,h264,hevc,m4v"
"""Containers and bare streams that are tried; no playlist, which could name other files."""
TIMELESS = ("mpegvideo", "h264", "hevc", "m4v")
"""Bare streams: they carry no times of their own."""
SEEKABLE = ("mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm")
"""Containers that store when each frame is shown, so that a decoded frame tells which one it is."""
VIDEO_ERRORS = (*DECODE_ERRORS, FFmpegError)
"""What FFmpeg raises on damaged data."""
_OPTIONS = {"format_whitelist": FORMATS, "max_pixels": str(MAX_FRAME_BYTES // 3)}


def write_video(path: Path, frames: NDArray[np.uint8], rate: Fraction) -> None:
    """Write frames (T, H, W) or (T, H, W, 3), both sides even, as motion JPEG, as EchoNet's AVI files are.

    Nothing is left at `path` unless the whole file is.
    """
    write_file(path, lambda file: encode_mjpeg(file, frames, rate))


def encode_mjpeg(path: Path, frames: NDArray[np.uint8], rate: Fraction) -> None:
    """Frames as motion JPEG in an AVI file, whatever its name ends in."""
    grey = frames.ndim == 3
    with av.open(str(path), "w", format="avi", options={"fflags": "+bitexact"}) as container:
        stream: Any = container.add_stream("mjpeg", rate=rate, options={"qscale": "2", "flags": "+bitexact"})
        stream.height, stream.width = frames.shape[1:3]
        stream.pix_fmt = "yuvj420p"
        stream.codec_context.thread_count = 1
        for picture in frames:
            frame = av.VideoFrame.from_ndarray(picture, format="gray" if grey else "rgb24")
            container.mux(stream.encode(frame))
        container.mux(stream.encode())


class Video(Frames):
    """Frames of the video in a file's content, turned upright; pixels that are not square are left so.

    Raises Rejected: UNSUPPORTED (no known container, or no decoder), NO_PIXELS (no video stream),
    TRUNCATED (fewer frames than its header says, or the first does not decode) or TOO_LARGE.
    """

    def __init__(self, content: bytes) -> None:
        self._content = content
        container, stream = self._open()
        check_size(1, stream.height, stream.width)
        with container, refusing(Reason.TRUNCATED, "its stream breaks", VIDEO_ERRORS):
            packets = [packet for packet in container.demux(stream) if packet.size or packet.dts is not None]
            points = [(p.pts, p.is_keyframe) for p in packets if p.size and not p.is_discard]
            self._has_gaps = len(packets) > sum(packet.size > 0 for packet in packets)
            claimed, self._format = stream.frames, container.format.name
            self._unit = float(stream.time_base or 0)
        self.count = len(points)
        check_size(self.count, stream.height, stream.width)
        if len(packets) < claimed and max(self._all_packets(), indexed_frames(self._content)) < claimed:
            raise Rejected(
                Reason.TRUNCATED, f"{self.count} frames in the stream, but its header states {claimed}"
            )
        stamps = sorted(pts for pts, _ in points if pts is not None)
        self._stamps = stamps if len({*stamps}) == self.count else None
        self._index_of: dict[int | None, int] = {pts: index for index, pts in enumerate(self._stamps or ())}
        self._keys = sorted(
            self._index_of[pts] for pts, key in points if key and self._stamps and pts is not None
        )
        self._seekable = self._stamps is not None and self._format in SEEKABLE
        self._restart()
        self._first = first = self._decode_to(0)
        self._turns = round(first.rotation / 90) % 4
        sides = (first.height, first.width)
        self.height, self.width = sides[::-1] if self._turns % 2 else sides
        self.monochrome = first.format.name.startswith("gray")

    @property
    def times(self) -> NDArray[np.float64]:
        """Seconds since the first frame, (T,), from the container's time stamps; a variable rate is kept.

        Raises Rejected(NO_TIME) where it has none (bare streams) or implausible ones.
        """
        if self.count == 1:
            return np.zeros(1)
        if self._stamps is None or self._format in TIMELESS or states_no_rate(self._content):
            raise Rejected(Reason.NO_TIME, f"{self.count} frames, not all with a time stamp")
        times = (np.array(self._stamps, np.float64) - self._stamps[0]) * self._unit
        steps = np.diff(times)
        if not plausible(steps):
            low, high = STEPS
            raise Rejected(
                Reason.NO_TIME, f"frames are {steps.min():.4g} to {steps.max():.4g} s apart; "
                f"{low} to {high} s is plausible, with single pauses up to {LONGEST_PAUSE:.0f} " f"s",
            )  # fmt: skip
        return times

    def read(self, indices: Sequence[int], *, grey: bool = False) -> Iterator[NDArray[np.uint8]]:
        """Yield frames as `Frames.read` says; rising indices decode each frame of the stream at most once."""
        self.check(indices)
        for index in indices:
            frame = self._decode_to(index)
            if (frame.height, frame.width) != (self._first.height, self._first.width):
                raise Rejected(Reason.TRUNCATED, f"frame {index} has another size than the first")
            with refusing(Reason.UNSUPPORTED, f"pixel format {frame.format.name}", VIDEO_ERRORS):
                # FFmpeg's scaler brings limited-range luma (16 to 235) to 0 to 255 in both.
                picture = frame.to_ndarray(format="gray" if grey or self.monochrome else "rgb24")
            yield np.ascontiguousarray(np.rot90(picture, self._turns)) if self._turns else picture

    def _all_packets(self) -> int:
        """How many packets there are, those too that an edit list (a video cut without encoding it again)
        leaves out."""
        container, stream = self._open({"ignore_editlist": "1"})
        with container, refusing(Reason.TRUNCATED, "its stream breaks", VIDEO_ERRORS):
            return sum(packet.size > 0 for packet in container.demux(stream))

    def _open(self, more: dict[str, str] | None = None) -> tuple[InputContainer, VideoStream]:
        with refusing(Reason.UNSUPPORTED, "not a video of a known kind", VIDEO_ERRORS):
            container = av.open(BytesIO(self._content), "r", options=_OPTIONS | (more or {}))
        stream: Any = container.streams.best("video")
        if stream is None:
            container.close()
            raise Rejected(Reason.NO_PIXELS, "no video stream in it")
        if stream.codec_context is None:
            container.close()
            raise Rejected(Reason.UNSUPPORTED, "a video encoding that FFmpeg does not decode")
        stream.codec_context.thread_count = 1  # ingest runs a process a core; threads were slower
        stream.codec_context.options = {"max_pixels": _OPTIONS["max_pixels"]}
        return container, stream

    def _restart(self) -> None:
        """Stand before the first frame."""
        self._container, self._stream = self._open()
        self._begin()

    def _seek(self, key: int) -> None:
        """Stand before a key frame."""
        with refusing(Reason.TRUNCATED, f"frame {key} cannot be reached", VIDEO_ERRORS):
            self._container.seek((self._stamps or [])[key], stream=self._stream)
        self._begin()

    def _begin(self) -> None:
        self._decoded = self._decode() if self._has_gaps else self._container.decode(self._stream)
        self._last: tuple[int, Any] = (-1, None)

    def _decode(self) -> Iterator[Any]:
        """Frames from where the container stands; an empty packet, of a frame that was lost, holds none."""
        for packet in self._container.demux(self._stream):
            if packet.size or packet.dts is None:
                yield from packet.decode()

    def _decode_to(self, target: int) -> Any:
        """Decode up to a frame, from where decoding stands or from the best key frame before it."""
        at, _ = self._last
        before = bisect_right(self._keys, target)
        nearest = self._keys[before - 1] if before else 0
        if self._seekable and (target < at or nearest > at + 1):
            self._seek(nearest)
        elif target < at:
            self._restart()
        at, frame = self._last
        while at != target:
            with refusing(Reason.TRUNCATED, f"a frame up to {target} does not decode", VIDEO_ERRORS):
                frame = next(self._decoded, None)
            if frame is None:
                raise Rejected(Reason.TRUNCATED, f"the stream ends before frame {target}")
            at = self._index_of.get(frame.pts, -1) if self._seekable else at + 1
            if self._seekable and at > target:
                raise Rejected(Reason.TRUNCATED, f"the stream lacks frame {target}")
            self._last = at, frame
        if frame.is_corrupt:
            raise Rejected(Reason.TRUNCATED, f"frame {target} is damaged")
        return frame
