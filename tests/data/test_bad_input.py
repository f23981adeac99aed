"""Claims about damaged files: each comes in or has its row, none takes the ingest, its time or its memory."""

from __future__ import annotations

import csv
import operator
import re
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from pathlib import Path

import av
import numpy as np
import pydicom
import pytest
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from echojepa.config import IngestConfig
from echojepa.data.identity.private import IngestError
from echojepa.data.ingest import ingest as ingest_module
from echojepa.data.ingest.convert import Job, convert
from echojepa.data.reading.dicom.writer import write_cine
from echojepa.data.store.loop_store import LoopStore
from echojepa.phantom.cohort.loops import one_loop
from echojepa.processes.workers import Died, Limits, run_in_order
from echojepa.vocabulary import Reason, View

Bytes = np.ndarray
MAX_MEMORY = 2 << 30
"""Bytes that the worst process of an ingest may hold."""


def flip(content: Bytes, rng: np.random.Generator) -> Bytes:
    """Some bytes anywhere."""
    content[rng.integers(0, len(content), rng.integers(1, 60))] = rng.integers(0, 256)
    return content


def flip_early(content: Bytes, rng: np.random.Generator) -> Bytes:
    """Some bytes among the first ones, where the attributes stand."""
    places = rng.integers(0, min(len(content), 2500), rng.integers(1, 12))
    content[places] = rng.integers(0, 256, len(places))
    return content


def cut(content: Bytes, rng: np.random.Generator) -> Bytes:
    """Only the beginning."""
    return content[: rng.integers(0, len(content))]


def drop(content: Bytes, rng: np.random.Generator) -> Bytes:
    """A piece missing in the middle."""
    start = rng.integers(0, len(content))
    return np.delete(content, slice(start, start + rng.integers(1, 4000)))


def repeat(content: Bytes, rng: np.random.Generator) -> Bytes:
    """A piece twice."""
    start = rng.integers(0, len(content))
    return np.insert(content, start, content[start : start + rng.integers(1, 4000)])


def blank(content: Bytes, rng: np.random.Generator) -> Bytes:
    """A piece of zeros or ones, as a bad disk gives."""
    start = rng.integers(0, len(content))
    content[start : start + rng.integers(1, 4000)] = rng.choice([0, 255])
    return content


def swell(content: Bytes, rng: np.random.Generator) -> Bytes:
    """A size or a count in the header as large as it can be."""
    names = (
        b"\x28\x00\x10\x00",
        b"\x28\x00\x11\x00",
        b"\x28\x00\x08\x00",
        b"\x28\x00\x00\x01",
        b"\x28\x00\x02\x00",
    )
    place = content.tobytes().find(names[rng.integers(len(names))])
    if place >= 0:
        content[place + 4 + rng.integers(0, 6) : place + 10] = rng.choice([0, 0x39, 0x7F, 0xFF])
    return content


MUTATIONS: tuple[Callable[[Bytes, np.random.Generator], Bytes], ...] = (
    flip, flip_early, cut, drop, repeat, blank, swell,
)  # fmt: skip


@pytest.fixture(scope="module")
def whole_files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Small loops as explicit, RLE, JPEG and JPEG 2000 DICOM, as MP4 and as AVI."""
    folder = tmp_path_factory.mktemp("whole")
    loop = one_loop(View.A4C, 0.2).loop
    for syntax in ("explicit", "jpeg"):
        path = folder / f"{syntax}.dcm"
        write_cine(path, loop, patient_name="x", study_date="20200101", transfer_syntax=syntax)  # pyright: ignore
    for name, syntax in (("rle", RLELossless), ("j2k", JPEG2000Lossless)):
        data = pydicom.dcmread(folder / "explicit.dcm")
        data.compress(syntax, generate_instance_uid=False)
        data.save_as(folder / f"{name}.dcm")
    for name, codec in (("mp4", "mpeg4"), ("avi", "mjpeg")):
        with av.open(str(folder / f"a.{name}"), "w") as container:
            stream = container.add_stream(codec, rate=Fraction(25))
            stream.height, stream.width = (side // 2 * 2 for side in loop.frames.shape[1:])
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for picture in loop.frames:
                frame = av.VideoFrame.from_ndarray(
                    picture[: stream.height, : stream.width].copy(), format="gray"
                )
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
    return sorted(folder.iterdir())


def mutate(whole: list[Path], folder: Path, number: int, seed: int) -> None:
    """Write damaged files in folders of 500."""
    rng = np.random.default_rng(seed)
    contents = [np.frombuffer(path.read_bytes(), np.uint8) for path in whole]
    for n in range(number):
        content = contents[n % len(whole)].copy()
        for _ in range(rng.integers(1, 4)):
            if len(content):
                content = MUTATIONS[rng.integers(len(MUTATIONS))](content.copy(), rng)
        path = folder / f"{n // 500}" / f"{n}{whole[n % len(whole)].suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.tobytes())


@pytest.mark.parametrize("number", [300, pytest.param(10_000, marks=pytest.mark.slow)])
def test_every_damaged_file_comes_in_or_has_its_row_within_bounds(
    whole_files: list[Path], tmp_path: Path, number: int
) -> None:
    mutate(whole_files, tmp_path / "in", number, seed=number)
    command = ["ingest", "--sources", str(tmp_path / "in"), "--out", str(tmp_path / "data")]
    done = subprocess.run(
        [sys.executable, "-m", "echojepa", *command, "--key", str(tmp_path / "key")],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0 and not done.stderr, done.stderr[-2000:]
    store = LoopStore.open(tmp_path / "data")
    inside = store.metadata(["file_id"])["file_id"].to_pylist()
    refused = store.rejected().to_pylist()
    with (tmp_path / "key.files.csv").open(newline="") as file:
        known = [row["file_id"] for row in csv.DictReader(file)]
    assert sorted([*inside, *(row["file_id"] for row in refused)]) == sorted(known)
    assert len(known) == number
    assert {row["reason"] for row in refused} <= {reason.value for reason in Reason}
    assert 0.05 * number < len(inside) < 0.8 * number, "the damage should neither spare nor spoil all"
    for row in range(len(inside)):
        assert store.frames(row, [0]).size


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("number", [100, pytest.param(10_000, marks=pytest.mark.slow)])
def test_no_damaged_file_makes_its_worker_hold_more_than_two_gigabytes(
    whole_files: list[Path], tmp_path: Path, number: int
) -> None:
    mutate(whole_files, tmp_path, number, seed=number + 1)
    jobs = [
        Job(path, "0" * 20, b"a key of sufficient length", "site", 256, cleared=False)
        for path in sorted(tmp_path.rglob("*.*"))
    ]
    peak = partial(Path("/proc/self/status").read_text)
    work = [peak if n % 50 == 0 else partial(convert, jobs[n]) for n in range(number)]
    limits = Limits(ingest_module.CPU_SECONDS, ingest_module.MEMORY)
    answers = list(run_in_order(operator.call, [*work, peak], 1, lambda job: limits, convert.__module__))
    peaks = [re.search(r"VmHWM:\s+(\d+)", answer) for answer in answers if isinstance(answer, str)]
    assert len(peaks) == number // 50 + 1
    assert max(int(found[1]) * 1024 for found in peaks if found) < MAX_MEMORY
    died = [answer for answer in answers if isinstance(answer, Died)]
    assert not any(answer.over_time for answer in died) and len(died) <= number / 100


def test_a_small_file_that_inflates_beyond_the_limit_is_refused(
    whole_files: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = pydicom.dcmread(next(path for path in whole_files if path.name == "explicit.dcm"))
    data.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    data.NumberOfFrames, data.PixelData = 1, bytes(200 << 20)
    (tmp_path / "in").mkdir()
    data.save_as(tmp_path / "in/bomb.dcm")
    assert (tmp_path / "in/bomb.dcm").stat().st_size < 1 << 20
    monkeypatch.setattr(ingest_module, "MEMORY", 150 << 20)
    config = IngestConfig((tmp_path / "in",), tmp_path / "data", tmp_path / "key", workers=1)
    with pytest.raises(IngestError, match="nothing came in"):
        ingest_module.ingest(config, lambda done, total: None)
    assert LoopStore.open(tmp_path / "data").rejected()["reason"].to_pylist() == [Reason.LIMITS.value]
