"""Claims about times: none is made up, what is odd is said, and a pause does not cost a recording."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from odd_files import fan, native, refusal, row, whole

from echojepa.data.importers.listing import Stated
from echojepa.vocabulary import Reason

FRAMES = fan()
COUNT = len(FRAMES)
STEP = 33.3


def vector(path: Path, values: list[float], **more: object) -> Path:
    """A file with a FrameTimeVector alone."""
    stated = [f"{value:.1f}" for value in values]
    pointer = {"FrameTime": None, "FrameIncrementPointer": 0x00181065}
    return native(path, FRAMES, FrameTimeVector=stated, **pointer, **more)


def video(path: Path, stamps: list[int] | None = None, rate: int = 30) -> Path:
    """A video whose frames are shown at these milliseconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("mjpeg", rate=Fraction(rate))
        stream.height, stream.width, stream.pix_fmt = *FRAMES.shape[1:], "yuvj420p"
        if stamps:
            stream.codec_context.time_base = Fraction(1, 1000)
        for number, picture in enumerate(FRAMES):
            frame = av.VideoFrame.from_ndarray(picture, format="gray")
            if stamps:
                frame.pts, frame.time_base = stamps[number], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def with_rate(path: Path, scale: int, rate: int, microseconds: int) -> Path:
    """An AVI whose headers state another rate."""
    content = bytearray(video(path).read_bytes())
    stream, main = content.find(b"strh"), content.find(b"avih")
    content[stream + 28 : stream + 36] = scale.to_bytes(4, "little") + rate.to_bytes(4, "little")
    content[main + 8 : main + 12] = microseconds.to_bytes(4, "little")
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("scale", "rate"), [(1, 0), (0, 30), (0, 0)])
def test_an_avi_that_states_no_rate_has_none(tmp_path: Path, scale: int, rate: int) -> None:
    path = with_rate(tmp_path / "a.avi", scale, rate, 0)
    assert refusal(path).startswith(Reason.NO_TIME)
    kept = row(path, stated=Stated(frame_rate=30.0))
    assert kept.frame_rate == pytest.approx(30) and kept.time_source == "table"


def test_an_avi_whose_main_header_alone_states_a_rate_has_that(tmp_path: Path) -> None:
    kept = row(with_rate(tmp_path / "a.avi", 1, 0, 20_000))
    assert kept.frame_rate == pytest.approx(50)


@pytest.mark.parametrize(
    "sums",
    [
        [STEP * n for n in range(COUNT)],
        [STEP * (n + 1) for n in range(COUNT)],
        np.cumsum([0, 20, 45, 33, 33, 60, 20, 33, 33, 45, 33, 21]).tolist(),
    ],
)
def test_a_vector_of_running_sums_is_read_as_such_and_said(tmp_path: Path, sums: list[float]) -> None:
    kept = row(vector(tmp_path / "a.dcm", sums))
    np.testing.assert_allclose(kept.times, (np.array(sums) - sums[0]) / 1000, atol=2e-3)
    assert "running sums" in kept.time_warning and kept.time_source == "FrameTimeVector"


@pytest.mark.parametrize(
    "steps",
    [
        [0, *[STEP] * 11],
        [0, 30, 31, 32, 33, 34, 35, 34, 33, 32, 31, 30],
        [0, *np.linspace(30, 33, 11)],
        [33, 33, 66, 33, 33, 33, 33, 33, 33, 33, 33, 33],
    ],
)
def test_a_vector_of_steps_is_read_as_it_is(tmp_path: Path, steps: list[float]) -> None:
    kept = row(vector(tmp_path / "a.dcm", steps))
    np.testing.assert_allclose(np.diff(kept.times), np.round(steps[1:], 1) / 1000, atol=1e-9)
    assert kept.time_warning == ""


@pytest.mark.parametrize("length", [COUNT - 1, COUNT - 2, COUNT + 1, 1])
def test_a_vector_of_another_length_is_said(tmp_path: Path, length: int) -> None:
    path = vector(tmp_path / "a.dcm", [STEP] * length)
    if length == COUNT - 1:
        kept = row(path)
        assert kept.frame_rate == pytest.approx(1000 / STEP) and "one value too few" in kept.time_warning
        return
    assert refusal(path).startswith(Reason.NO_TIME)
    kept = row(vector(tmp_path / "a.dcm", [STEP] * length, CineRate=30))
    assert kept.time_source == "CineRate" and ("another length" in kept.time_warning) == (length > 1)


@pytest.mark.parametrize("pause", [1600, 2500, 30_000])
@pytest.mark.parametrize("kind", ["mp4", "mkv", "vector"])
def test_a_pause_is_kept_and_said(tmp_path: Path, pause: int, kind: str) -> None:
    steps = [0, 40, 40, 40, 40, pause, 40, 40, 40, 40, 40, 40]
    if kind == "vector":
        kept = row(vector(tmp_path / "a.dcm", [float(step) for step in steps]))
    else:
        kept = row(video(tmp_path / f"a.{kind}", np.cumsum(steps).tolist()))
    np.testing.assert_allclose(np.diff(kept.times), np.array(steps[1:]) / 1000, atol=2e-3)
    assert "1 pauses of up to" in kept.time_warning and kept.frame_rate == pytest.approx(25, rel=0.05)


@pytest.mark.parametrize("step", [1500, 120_000])
def test_a_slow_rate_is_no_cine(tmp_path: Path, step: int) -> None:
    path = vector(tmp_path / "a.dcm", [0.0, *[float(step)] * 11])
    assert refusal(path).startswith(Reason.NO_TIME)


@pytest.mark.parametrize(
    "changes",
    [
        {"FrameTime": "0.0333"},
        {"FrameTime": None},
        {"FrameTime": "-33"},
        {"FrameTime": "0", "CineRate": "0"},
        {"FrameTime": "1e9"},
    ],
)
def test_no_rate_is_made_up(tmp_path: Path, changes: dict[str, object]) -> None:
    assert refusal(native(tmp_path / "a.dcm", FRAMES, **changes)).startswith(Reason.NO_TIME)


def test_ingest_a_dry_run_and_verify_say_the_same_of_odd_times(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    with_rate(folder / "none/a.avi", 1, 0, 0)
    vector(folder / "sums/b.dcm", [STEP * n for n in range(COUNT)])
    video(folder / "pause/c.mp4", np.cumsum([0, 40, 40, 40, 40, 1600, 40, 40, 40, 40, 40, 40]).tolist())
    found = whole(folder)
    assert found.rejected == {Reason.NO_TIME: 1} == found.dry.refused
    assert len(found.rows) == 1 or all(row["time_warning"] for row in found.rows)
    assert found.checks["doubtful frame times"] == "warning"
