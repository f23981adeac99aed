"""Claims about what is kept of a file: the sector alone, colour where there is some; text is held."""

from __future__ import annotations

import csv
import subprocess
import sys
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray

from echojepa.config import IngestConfig
from echojepa.data.cine import CineLoop, Region
from echojepa.data.dicom.writer import write_cine
from echojepa.data.dry_run import dry_run
from echojepa.data.ingest import IngestError, ingest
from echojepa.data.store import LoopStore
from echojepa.phantom.layouts import LAYOUTS
from echojepa.phantom.loops import PhantomLoop, one_loop
from echojepa.phantom.screens import PlantedText
from echojepa.vocabulary import Kind, Reason, View


def quiet(done: int, total: int) -> None:
    """Nobody watches."""


def record(*planted: PlantedText, frames: int = 20) -> PhantomLoop:
    return one_loop(View.A4C, frames / 45, LAYOUTS[0], planted)


def write(folder: Path, name: str, loop: CineLoop) -> Path:
    folder.mkdir(exist_ok=True)
    write_cine(folder / name, loop, patient_name="x", study_date="20200101", transfer_syntax="explicit")
    return folder / name


def bring_in(tmp_path: Path, **changes: object) -> LoopStore:
    """Lossless, so that what is kept can be told pixel by pixel."""
    config = IngestConfig((tmp_path / "in",), tmp_path / "data", tmp_path / "key", lossless=True, workers=1)
    ingest(replace(config, **changes), quiet)  # pyright: ignore[reportArgumentType]
    return LoopStore.open(tmp_path / "data")


def middle_of(mask: NDArray[np.bool_]) -> tuple[int, int]:
    rows, columns = np.nonzero(mask)
    return int(columns.mean()), int(rows.mean())


def test_nothing_outside_the_mask_is_kept_also_where_the_picture_is_reduced(tmp_path: Path) -> None:
    recorded = record(frames=4)
    write(tmp_path / "in", "a.dcm", recorded.loop)
    store = bring_in(tmp_path, max_side=150)
    frames, mask = store.frames(0), store.mask(0)
    assert max(frames.shape[1:]) == 150
    assert not frames[:, ~mask].any() and frames[:, mask].any()
    entry, size = store.metadata().to_pylist()[0], recorded.loop.regions[0].mm_per_pixel
    whole = np.flatnonzero(recorded.sector.any(0))
    factor = 150 / (whole[-1] - whole[0] + 1)
    assert size and entry["pixel_width_mm"] == pytest.approx(size[1] / factor, rel=0.02)
    assert entry["pixel_height_mm"] == pytest.approx(entry["pixel_width_mm"])


def test_a_name_inside_the_picture_is_held_and_comes_in_only_when_a_person_has_cleared_it(
    tmp_path: Path,
) -> None:
    x, y = middle_of(record(frames=2).sector)
    write(tmp_path / "in", "a.dcm", record(PlantedText("DOE JANE", x - 60, y)).loop)
    with pytest.raises(IngestError, match="nothing came in"):
        bring_in(tmp_path)
    store = LoopStore.open(tmp_path / "data")
    (held,) = store.rejected().to_pylist()
    assert held["reason"] == Reason.HELD_TEXT.value
    picture = tmp_path / "key.review" / f"{held['file_id']}.png"
    assert picture.is_file() and picture.parent.stat().st_mode & 0o77 == 0
    with pytest.raises(IngestError, match="nothing came in"):
        bring_in(tmp_path)  # held it stays
    table = tmp_path / "cleared.csv"
    table.write_text("id\nx\n")
    with pytest.raises(IngestError, match="lacks the columns"):
        bring_in(tmp_path, cleared=table)
    table.write_text(f"file_id\n{held['file_id']}\n")
    store = bring_in(tmp_path, cleared=table)
    assert store.metadata().num_rows == 1 and store.rejected().num_rows == 0


def with_colour(recorded: PhantomLoop, inside: bool) -> CineLoop:
    """The loop in RGB, with a patch of red in the picture or beside it."""
    rgb = np.repeat(recorded.loop.frames[..., None], 3, axis=-1)
    x, y = middle_of(recorded.sector) if inside else (10, rgb.shape[1] - 60)
    assert recorded.sector[y : y + 40, x : x + 40].any() == inside
    rgb[:, y : y + 40, x : x + 40, 1:] //= 8
    rgb[:, y : y + 40, x : x + 40, 0] |= 160
    return replace(recorded.loop, frames=rgb)


@pytest.mark.parametrize("inside", [True, False])
def test_colour_is_kept_where_the_picture_has_some_and_a_red_logo_is_none(
    tmp_path: Path, inside: bool
) -> None:
    recorded = record(frames=6)
    recorded = replace(recorded, loop=replace(recorded.loop, frames=grey_of(recorded.loop.frames)))
    write(tmp_path / "in", "a.dcm", with_colour(recorded, inside))
    store = bring_in(tmp_path)
    assert store.metadata(["colour"])["colour"].to_pylist() == [inside]
    assert store.frames(0).ndim == (4 if inside else 3)


def grey_of(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return frames if frames.ndim == 3 else np.ascontiguousarray(frames[..., 0])


@pytest.mark.parametrize(
    ("kind", "stored"), [("pw", Kind.DOPPLER), ("cw", Kind.DOPPLER), ("mmode", Kind.MMODE)]
)
def test_a_strip_is_kept_as_its_region_and_has_its_kind(tmp_path: Path, kind: str, stored: Kind) -> None:
    speckle = np.random.default_rng(0).normal(100, 30, (1, 200, 300)).clip(0, 255).astype(np.uint8)
    strip = CineLoop(
        frames=speckle,
        times=np.zeros(1),
        time_source="single frame",
        patient_id="p",
        study_id="2.25.1",
        loop_id="2.25.2",
        regions=(Region(20, 60, 259, 179, kind=kind),),  # pyright: ignore[reportArgumentType]
    )
    write(tmp_path / "in", "a.dcm", strip)
    store = bring_in(tmp_path)
    assert store.metadata(["kind"])["kind"].to_pylist() == [stored.value]
    np.testing.assert_array_equal(store.frames(0)[0], speckle[0, 60:180, 20:260])


def write_video(path: Path, frames: NDArray[np.uint8], rate: int, codec: str) -> None:
    """A plain video of grey frames (T, H, W)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=Fraction(rate), options={"qscale": "1"})
        stream.height, stream.width = (side // 2 * 2 for side in frames.shape[1:])
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        for picture in frames:
            part = np.ascontiguousarray(picture[: stream.height, : stream.width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(part, format="gray")))
        container.mux(stream.encode())


def test_plain_videos_come_in_with_their_own_times_one_patient_a_folder(tmp_path: Path) -> None:
    frames = grey_of(record(frames=12).loop.frames)
    write_video(tmp_path / "in/one/a.mp4", frames, 50, "mpeg4")
    write_video(tmp_path / "in/one/b.avi", frames[::-1], 25, "mjpeg")
    write_video(tmp_path / "in/two/c.avi", frames[3:], 40, "mjpeg")
    store = bring_in(tmp_path)
    table = store.metadata(["patient_id", "frame_rate", "time_source", "split"]).to_pydict()
    assert table["frame_rate"] == pytest.approx([50, 25, 40])
    assert table["time_source"] == ["container"] * 3
    one, again, two = table["patient_id"]
    assert one == again != two


PEAK = """
import sys
from pathlib import Path
from echojepa.data.convert import Job, Refused, convert
result = convert(Job(Path(sys.argv[1]), "0" * 20, b"k" * 20, "site", 256, cleared=True))
assert not isinstance(result, Refused), result.why
status = Path("/proc/self/status").read_text()
print(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM")))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
def test_memory_does_not_grow_with_the_length_of_a_loop(tmp_path: Path) -> None:
    frames = grey_of(record(frames=8).loop.frames) >> 4  # dark, so that the file is small beside its pixels
    peaks = []
    for repeats in (8, 80):
        long = np.concatenate([frames] * repeats)
        loop = replace(record(frames=8).loop, frames=long, times=np.arange(len(long)) / 45)
        path = tmp_path / f"{repeats}.dcm"
        write_cine(path, loop, patient_name="x", study_date="20200101", transfer_syntax="jpeg")
        done = subprocess.run(
            [sys.executable, "-c", PEAK, str(path)], capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        peaks.append(int(done.stdout) * 1024)
    decoded = 72 * frames.nbytes
    assert decoded > 150e6 > 8 * path.stat().st_size
    assert peaks[1] - peaks[0] < decoded / 4


def test_a_dry_run_says_what_would_happen_and_writes_no_data_set(tmp_path: Path) -> None:
    recorded = record(frames=6)
    x, y = middle_of(recorded.sector)
    write(tmp_path / "in", "a.dcm", recorded.loop)
    write(tmp_path / "in", "b.dcm", record(PlantedText("LV", x, y)).loop)
    (tmp_path / "in/c.dcm").write_text("a letter")
    data = pydicom.dcmread(tmp_path / "in/a.dcm")
    data.Modality = "CT"
    data.save_as(tmp_path / "in/d.dcm")
    config = IngestConfig(
        (tmp_path / "in",), tmp_path / "data", tmp_path / "key", lossless=True, workers=1, dry_run=True
    )
    found = dry_run(config, quiet)
    assert not (tmp_path / "data").exists()
    assert found.files == 4 and found.kinds == {"cine": 2}
    assert found.refused == {Reason.NOT_DICOM.value: 1, Reason.NOT_ULTRASOUND.value: 1}
    assert found.sampled == 2 and found.sample_refused == {Reason.HELD_TEXT.value: 1}
    with found.table.open(newline="") as file:
        verdicts = {Path(row["path"]).name: row["verdict"] for row in csv.DictReader(file)}
    assert verdicts["d.dcm"] == Reason.NOT_ULTRASOUND.value
    store = bring_in(tmp_path, sources=(tmp_path / "in/a.dcm",))
    size = sum(len(png) for png in store.table.to_table(columns=["frames"])["frames"][0].as_py())
    assert found.disk_bytes == pytest.approx(size) and found.seconds > 0
