"""Claims about videos as recorders and telephones write them: all frames that are shown, at their times."""

from __future__ import annotations

import struct
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from odd_files import fan, refusal, row, whole

from echojepa.data.reading.video import Video
from echojepa.vocabulary import Reason

FRAMES = fan(count=16)


def video(path: Path, codec: str = "mjpeg", pix_fmt: str = "yuvj420p", **options: str) -> Path:
    """The fan as a video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=Fraction(25), options=options)
        stream.height, stream.width, stream.pix_fmt = *FRAMES.shape[1:], pix_fmt
        for picture in FRAMES:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray")))
        container.mux(stream.encode())
    return path


def moved(path: Path, before: bytes | None) -> Path:
    """The first box taken away (None), or another put before it; offsets of the samples follow."""
    raw = video(path).read_bytes()
    by = len(before) if before is not None else -struct.unpack(">L", raw[:4])[0]
    body = bytearray((before or b"") + (raw if before is not None else raw[-by:]))
    at = body.find(b"stco")
    for entry in range(struct.unpack(">L", body[at + 8 : at + 12])[0]):
        place = at + 12 + 4 * entry
        body[place : place + 4] = struct.pack(">L", struct.unpack(">L", body[place : place + 4])[0] + by)
    path.write_bytes(body)
    return path


def trimmed(path: Path, first: int, **options: str) -> Path:
    """Packets from the first key frame on, shown from frame `first` on."""
    source = video(path.with_name("source.mp4"), "libx264", "yuv420p", **options)
    with av.open(str(source)) as given, av.open(str(path), "w") as made:
        stream = given.streams.video[0]
        copy = made.add_stream_from_template(stream)
        shift = int(first / (stream.average_rate or 25) / (stream.time_base or 1))
        for packet in given.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = (packet.pts or 0) - shift, packet.dts - shift, copy
                made.mux(packet)
    source.unlink()
    return path


def dropped(path: Path, lost: set[int]) -> Path:
    """An AVI with frames without data, as many as the header counts."""
    raw = video(path).read_bytes()
    begin = raw.find(b"movi")
    end = begin + struct.unpack("<L", raw[begin - 4 : begin])[0]
    movie, index, at, frame = b"", b"", begin + 4, 0
    while at < end:
        tag, length = raw[at : at + 4], struct.unpack("<L", raw[at + 4 : at + 8])[0]
        data = raw[at + 8 : at + 8 + length]
        if tag == b"00dc":
            data, frame = b"" if frame in lost else data, frame + 1
        index += tag + struct.pack("<LLL", 0x10, len(movie) + 4, len(data))
        movie += tag + struct.pack("<L", len(data)) + data + b"\0" * (len(data) % 2)
        at += 8 + length + length % 2
    body = raw[: begin - 4] + struct.pack("<L", len(movie) + 4) + b"movi" + movie
    body += b"idx1" + struct.pack("<L", len(index)) + index
    path.write_bytes(body[:4] + struct.pack("<L", len(body) - 8) + body[8:])
    return path


@pytest.mark.parametrize(
    ("name", "codec"),
    [("a.mkv", "libx264"), ("a.webm", "libvpx"), ("a.mpg", "mpeg2video"), ("a.ts", "mpeg2video"),
     ("a.mov", "mjpeg"), ("a.m4v", "mpeg4"), ("no-ending", "")],
)  # fmt: skip
def test_a_video_is_told_by_its_content(tmp_path: Path, name: str, codec: str) -> None:
    path = tmp_path / (name if codec else "a.avi")
    video(path, codec or "mjpeg", "yuv420p" if codec not in ("", "mjpeg") else "yuvj420p")
    kept = row(path.rename(tmp_path / "file"))
    assert len(kept.frames) == len(FRAMES) and kept.frame_rate == pytest.approx(25, rel=0.03)


@pytest.mark.parametrize("before", [None, struct.pack(">L", 8) + b"free", struct.pack(">L", 8) + b"wide"])
def test_a_quicktime_file_needs_no_ftyp_first(tmp_path: Path, before: bytes | None) -> None:
    kept = row(moved(tmp_path / ("a.mov" if before is None else "a.mp4"), before))
    assert len(kept.frames) == len(FRAMES)


@pytest.mark.parametrize(
    ("first", "options"), [(5, {"g": "40", "bf": "0"}), (7, {"g": "6", "bf": "2"}), (3, {"g": "3"})]
)
def test_a_video_that_was_cut_without_encoding_holds_what_is_shown(
    tmp_path: Path, first: int, options: dict[str, str]
) -> None:
    path = trimmed(tmp_path / "a.mp4", first, **options)
    with av.open(str(path)) as container:
        shown = np.stack([frame.to_ndarray(format="gray") for frame in container.decode(video=0)])
    found = Video(path.read_bytes())
    np.testing.assert_array_equal(np.stack(list(found.read(range(found.count), grey=True))), shown)
    assert len(row(path).frames) == len(shown) < len(FRAMES)


@pytest.mark.parametrize("lost", [{5, 6, 11}, {0}, {15}, {14, 15}])
def test_frames_that_a_recorder_lost_leave_a_gap_in_the_times(tmp_path: Path, lost: set[int]) -> None:
    sound = Video(dropped(tmp_path / "b.avi", set()).read_bytes())
    found = Video(dropped(tmp_path / "a.avi", lost).read_bytes())
    kept = sorted(set(range(16)) - lost)
    np.testing.assert_allclose(found.times, (np.array(kept) - kept[0]) / 25, atol=1e-6)
    for ours, theirs in zip(found.read(range(found.count)), sound.read(kept), strict=True):
        np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("kind", ["a.mp4", "a.avi", "a.mkv"])
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_video_that_was_cut_short_is_refused(tmp_path: Path, kind: str, share: float) -> None:
    path = video(tmp_path / kind, *(("libx264", "yuv420p") if kind == "a.mp4" else ()))
    raw = path.read_bytes()
    path.write_bytes(raw[: int(len(raw) * share)])
    if kind != "a.mkv":  # Matroska counts nothing: what is whole of it is read
        assert refusal(path).startswith((Reason.TRUNCATED, Reason.UNSUPPORTED))


def test_a_dry_run_and_ingest_say_the_same_of_them(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    video(folder / "one/a.mkv", "libx264", "yuv420p")
    trimmed(folder / "two/a.mp4", 5, g="40", bf="0")
    dropped_path = folder / "three/a.avi"
    dropped_path.parent.mkdir(parents=True)
    dropped(dropped_path, {3})
    found = whole(folder)
    assert len(found.rows) == 3 and not found.rejected and not found.dry.refused
