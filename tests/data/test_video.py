"""Claims about video: files and the streams inside DICOM. Files are encoded here, by FFmpeg's encoders."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from functools import cache
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray
from pydicom import uid
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate

from echojepa.data.reading.dicom.framing import pixels_in
from echojepa.data.reading.dicom.pixels import open_pixels
from echojepa.data.reading.frames import Frames, luma
from echojepa.data.reading.rejection import Rejected
from echojepa.data.reading.video import Video
from echojepa.vocabulary import Reason

COUNT, HEIGHT, WIDTH = 14, 48, 64


def pictures(height: int = HEIGHT, width: int = WIDTH, grey: bool = False) -> NDArray[np.uint8]:
    """(T, H, W, 3): waves that move, each frame marked by a bar of its own length; tinted unless grey."""
    rows, columns = np.mgrid[:height, :width]
    frames = np.empty((COUNT, height, width, 3), np.uint8)
    for index, frame in enumerate(frames):
        wave = 128 + 50 * np.sin((columns + 3 * index) / 9) + 50 * np.cos((rows - index) / 7)
        tint = np.array([0, 0, 0] if grey else [15, 0, -15])
        frame[...] = np.clip(wave[..., None] + tint, 0, 255)
        frame[4:12, : 4 * (index + 1)] = 235
        frame[12:16] = 16
    return frames


@cache
def encode(
    container: str,
    codec: str,
    *,
    stamps: tuple[int, ...] = (),
    b_frames: int = 0,
    pixel_format: str = "yuv420p",
    size: tuple[int, int] = (HEIGHT, WIDTH),
    grey: bool = False,
    key_every: int = 5,
    rotation: int = 0,
) -> bytes:
    """A video of `pictures`; `stamps` are milliseconds, else 25 frames a second."""
    buffer = BytesIO()
    with av.open(buffer, "w", format=container) as out:
        options = {"x265-params": "log-level=none"} if codec == "libx265" else {}
        stream: Any = out.add_stream(codec, rate=25, options=options)
        stream.height, stream.width, stream.pix_fmt = *size, pixel_format
        stream.bit_rate = 20_000_000
        context = stream.codec_context
        context.thread_count = 1  # the same pictures are the same bytes, however busy the machine is
        context.gop_size, context.max_b_frames = key_every, b_frames
        context.time_base = Fraction(1, 1000) if stamps else Fraction(1, 25)
        if rotation:
            stream.set_display_rotation(rotation)
        for index, picture in enumerate(pictures(*size, grey=grey)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = (stamps[index] if stamps else index), context.time_base
            out.mux(stream.encode(frame))
        out.mux(stream.encode())
    return buffer.getvalue()


def everything(content: bytes, **options: Any) -> NDArray[np.uint8]:
    video = Video(content)
    return np.stack(list(video.read(range(video.count), **options)))


KINDS: dict[str, dict[str, Any]] = {
    "MP4 of H.264 with B frames": {"container": "mp4", "codec": "libx264", "b_frames": 2},
    "MP4 of HEVC": {"container": "mp4", "codec": "libx265"},
    "MP4 of MPEG-4": {"container": "mp4", "codec": "mpeg4", "b_frames": 2},
    "MOV of motion JPEG": {"container": "mov", "codec": "mjpeg", "pixel_format": "yuvj420p"},
    "AVI of motion JPEG": {"container": "avi", "codec": "mjpeg", "pixel_format": "yuvj420p"},
    "AVI of MPEG-4 with B frames": {"container": "avi", "codec": "mpeg4", "b_frames": 2},
    "AVI of H.264 with B frames": {"container": "avi", "codec": "libx264", "b_frames": 2},
    "AVI of raw RGB": {"container": "avi", "codec": "rawvideo", "pixel_format": "bgr24"},
    "Matroska of H.264": {"container": "matroska", "codec": "libx264", "b_frames": 2},
    "transport stream of MPEG-2": {"container": "mpegts", "codec": "mpeg2video", "b_frames": 2},
    "transport stream of H.264": {"container": "mpegts", "codec": "libx264", "b_frames": 2},
    "program stream of MPEG-2": {"container": "mpeg", "codec": "mpeg2video", "b_frames": 2},
    "bare MPEG-2": {"container": "mpeg2video", "codec": "mpeg2video", "b_frames": 2},
    "bare H.264": {"container": "h264", "codec": "libx264", "b_frames": 2},
    "bare HEVC": {"container": "hevc", "codec": "libx265"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_frames_of_every_kind_are_those_encoded_in_their_order(kind: str) -> None:
    found, expected = everything(encode(**KINDS[kind])), pictures()
    assert found.shape == expected.shape
    for index in range(COUNT):
        distances = np.abs(found[index].astype(int) - expected).mean((1, 2, 3))
        assert distances.argmin() == index and distances[index] < 3


@pytest.mark.parametrize("kind", KINDS)
def test_grey_is_full_range_and_the_luma_of_the_colour(kind: str) -> None:
    content = encode(**KINDS[kind], grey=True)
    colour, grey = everything(content), everything(content, grey=True)
    assert grey.shape == (COUNT, HEIGHT, WIDTH)
    assert np.abs(luma(colour).astype(int) - grey).max() <= 2
    assert np.abs(np.median(grey[:, 13:15]) - 16) <= 3 and np.abs(np.median(grey[:, 6:10, :3]) - 235) <= 3


@pytest.mark.parametrize("kind", KINDS)
def test_any_order_of_indices_gives_the_frames_of_one_pass(kind: str) -> None:
    content = encode(**KINDS[kind])
    one_pass = everything(content)
    video = Video(content)
    indices = [9, 2, 2, 13, 0, 6, 7, 12, 1]
    for index, frame in zip(indices, video.read(indices), strict=True):
        np.testing.assert_array_equal(frame, one_pass[index])
    with pytest.raises(IndexError):
        next(video.read([COUNT]))


class Counted:
    """Counts the frames that an iterator of decoded frames gives."""

    def __init__(self, video: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        original = video._container.decode

        def decode(stream: Any) -> Iterator[Any]:
            for frame in original(stream):
                self.count += 1
                yield frame

        class Container:
            seek = staticmethod(video._container.seek)

        Container.decode = staticmethod(decode)  # pyright: ignore
        monkeypatch.setattr(video, "_container", Container)
        video._container.seek(video._stamps[0], stream=video._stream)
        video._decoded, video._last = decode(video._stream), (-1, None)


@pytest.mark.parametrize(("indices", "most"), [([1, 4, 9], 10), ([0, 1, 2, 3], 4), ([11], 2), ([0, 13], 5)])
def test_rising_indices_decode_a_frame_once_and_far_ones_are_sought(
    indices: list[int], most: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    video = Video(encode("mp4", "libx264"))
    counted = Counted(video, monkeypatch)
    assert len(list(video.read(indices))) == len(indices)
    assert counted.count <= most


def test_a_variable_rate_keeps_its_times() -> None:
    stamps = tuple(np.cumsum([0, 40, 40, 55, 30, 40, 80, 40, 33, 40, 40, 120, 40, 40]).tolist())
    for container in ("mp4", "matroska"):
        video = Video(encode(container, "libx264", stamps=stamps, b_frames=2))
        np.testing.assert_allclose(video.times, np.array(stamps) / 1000, atol=1e-4)
        assert video.times.dtype == np.float64


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("bare")])
def test_a_container_of_25_frames_a_second_says_so(kind: str) -> None:
    np.testing.assert_allclose(Video(encode(**KINDS[kind])).times, np.arange(COUNT) / 25, atol=2e-3)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.startswith("bare")])
def test_a_bare_stream_has_frames_but_no_time(kind: str) -> None:
    with pytest.raises(Rejected) as caught:
        _ = Video(encode(**KINDS[kind])).times
    assert caught.value.reason == Reason.NO_TIME


def test_times_that_no_scanner_has_are_refused() -> None:
    with pytest.raises(Rejected) as caught:
        _ = Video(encode("mp4", "libx264", stamps=tuple(range(0, 5000 * COUNT, 5000)))).times
    assert caught.value.reason == Reason.NO_TIME


@pytest.mark.parametrize("size", [(47, 63), (33, 64), (48, 1)])
def test_odd_sizes_are_kept(size: tuple[int, int]) -> None:
    content = encode("mov", "mjpeg", pixel_format="yuvj444p", size=size)
    video = Video(content)
    assert (video.height, video.width) == size
    assert everything(content).shape == (COUNT, *size, 3)


@pytest.mark.parametrize(("rotation", "turns"), [(90, 1), (180, 2), (-90, 3)])
def test_a_stored_rotation_is_applied(rotation: int, turns: int) -> None:
    upright = everything(encode("mp4", "libx264"))
    video = Video(encode("mp4", "libx264", rotation=rotation))
    found = np.stack(list(video.read(range(COUNT))))
    np.testing.assert_array_equal(found, np.rot90(upright, turns, axes=(1, 2)))
    assert (video.height, video.width) == found.shape[1:3]


def test_a_grey_video_is_monochrome() -> None:
    video = Video(encode("avi", "rawvideo", pixel_format="gray", grey=True))
    assert video.monochrome and next(video.read([0])).shape == (HEIGHT, WIDTH)
    assert not Video(encode("mp4", "libx264")).monochrome


@pytest.mark.parametrize("limit", ["MAX_FRAME_BYTES", "MAX_LOOP_BYTES"])
def test_a_video_over_the_limits_is_refused_before_decoding(
    limit: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encode("mp4", "libx264")
    monkeypatch.setattr(
        f"echojepa.data.reading.frames.{limit}", HEIGHT * WIDTH * 3 * (1 if "FRAME" in limit else COUNT)
    )
    assert Video(content).count == COUNT
    monkeypatch.setattr(
        f"echojepa.data.reading.frames.{limit}", HEIGHT * WIDTH * 3 * (1 if "FRAME" in limit else COUNT) - 1
    )
    monkeypatch.setattr("echojepa.data.reading.video.Video._restart", lambda self: pytest.fail("decoded"))
    with pytest.raises(Rejected) as caught:
        Video(content)
    assert caught.value.reason == Reason.TOO_LARGE


@pytest.mark.parametrize("content", [b"", b"no video at all" * 99], ids=["empty", "text"])
def test_what_is_no_video_is_refused(content: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        Video(content)
    assert caught.value.reason == Reason.UNSUPPORTED


def test_a_list_of_files_is_not_followed_to_another_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("other.mp4").write_bytes(encode("mp4", "libx264"))
    listing = b"ffconcat version 1.0\nfile other.mp4\n"
    with av.open(BytesIO(listing)) as followed:  # FFmpeg by itself would
        assert next(followed.decode(video=0)).height == HEIGHT
    with pytest.raises(Rejected) as caught:
        Video(listing)
    assert caught.value.reason == Reason.UNSUPPORTED


def test_a_file_with_sound_alone_has_no_pixels() -> None:
    buffer = BytesIO()
    with av.open(buffer, "w", format="mp4") as out:
        stream: Any = out.add_stream("aac", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 8000
        out.mux(stream.encode(frame))
        out.mux(stream.encode())
    with pytest.raises(Rejected) as caught:
        Video(buffer.getvalue())
    assert caught.value.reason == Reason.NO_PIXELS


@pytest.mark.parametrize("kind", ["MP4 of H.264 with B frames", "AVI of motion JPEG"])
def test_a_file_cut_off_is_refused(kind: str) -> None:
    content = encode(**KINDS[kind])
    for share in (0.05, 0.3, 0.6, 0.9):
        with pytest.raises(Rejected):
            everything(content[: int(share * len(content))])


@pytest.mark.parametrize("kind", KINDS)
def test_damage_is_a_refusal_or_a_concealed_frame_and_never_another_error(kind: str) -> None:
    random, content = np.random.default_rng(3), encode(**KINDS[kind])
    for _ in range(6):
        broken = bytearray(content)
        for at in random.integers(0, len(broken), 30):
            broken[at] = random.integers(0, 256)
        try:
            found = everything(bytes(broken))
        except Rejected:
            continue
        assert found.dtype == np.uint8


def opened_pixels(data: Dataset) -> Frames:
    return open_pixels(data, pixels_in(data))


def in_dicom(content: bytes, syntax: uid.UID, **changes: Any) -> Dataset:
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.Rows, data.Columns, data.NumberOfFrames = HEIGHT, WIDTH, COUNT
    data.SamplesPerPixel, data.BitsAllocated, data.BitsStored, data.PixelRepresentation = 3, 8, 8, 0
    data.PhotometricInterpretation = "YBR_PARTIAL_420"
    data.update(changes)
    data.PixelData = encapsulate([content], fragments_per_frame=3)
    return data


STREAMS = {
    uid.MPEG2MPML: "program stream of MPEG-2", uid.MPEG2MPMLF: "transport stream of MPEG-2",
    uid.MPEG2MPHL: "bare MPEG-2", uid.MPEG2MPHLF: "transport stream of MPEG-2",
    uid.MPEG4HP41: "MP4 of H.264 with B frames", uid.MPEG4HP41F: "bare H.264",
    uid.MPEG4HP41BD: "MP4 of H.264 with B frames", uid.MPEG4HP422D: "MP4 of H.264 with B frames",
    uid.MPEG4HP41BDF: "transport stream of H.264", uid.MPEG4HP422DF: "transport stream of H.264",
    uid.MPEG4HP423D: "transport stream of H.264", uid.MPEG4HP423DF: "transport stream of H.264",
    uid.HEVCMP51: "MP4 of HEVC",
}  # fmt: skip


@pytest.mark.parametrize("syntax", STREAMS, ids=lambda syntax: syntax.name)
def test_a_stream_inside_dicom_reads_as_the_file_it_is(syntax: uid.UID) -> None:
    content = encode(**KINDS[STREAMS[syntax]])
    loop = opened_pixels(in_dicom(content, syntax))
    assert loop.count == COUNT and not loop.monochrome
    np.testing.assert_array_equal(np.stack(list(loop.read(range(COUNT)))), everything(content))


def test_ten_bit_hevc_reads_as_eight() -> None:
    content = encode("mp4", "libx265", pixel_format="yuv420p10le")
    found = np.stack(list(opened_pixels(in_dicom(content, uid.HEVCM10P51)).read(range(COUNT))))
    assert found.dtype == np.uint8 and np.abs(found.astype(int) - pictures()).mean() < 3


def test_the_document_says_which_streams_are_untested() -> None:
    text = (Path(__file__).parents[2] / "docs" / "reference" / "dicom.md").read_text(encoding="utf-8")
    rows = [line.split("|") for line in text.splitlines() if line.startswith("| `1.2.840")]
    untested = {row[1].strip(" `") for row in rows if row[4].strip().startswith("untested")}
    assert untested == {str(s) for s in uid.MPEGTransferSyntaxes} - {*map(str, STREAMS), str(uid.HEVCM10P51)}


@pytest.mark.parametrize("changes", [{"NumberOfFrames": COUNT + 1}, {"Rows": HEIGHT + 2}])
def test_a_stream_with_less_than_the_header_claims_is_refused(changes: dict[str, int]) -> None:
    with pytest.raises(Rejected) as caught:
        opened_pixels(in_dicom(encode("mp4", "libx264"), uid.MPEG4HP41, **changes))
    assert caught.value.reason == Reason.TRUNCATED
