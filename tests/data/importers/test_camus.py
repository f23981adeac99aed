"""Claims about CAMUS in both of its layouts, on phantom loops."""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path

import nibabel
import numpy as np
import pytest

from echojepa.data.importers.listing import LayoutError
from echojepa.data.reading.recording import read_cine
from echojepa.data.reading.rejection import Rejected
from echojepa.data.reading.volumes import open_volume
from echojepa.vocabulary import Reason

SPACING = 0.308
KEY = b"0123456789abcdef"


def write_nifti(path: Path, frames: np.ndarray, spacing: tuple[float, float] = (SPACING, SPACING)) -> Path:
    """Frames (T, H, W) as arrays (X, Y, T), as nibabel and the publisher write them."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = nibabel.Nifti1Image(frames.transpose(2, 1, 0), np.diag([spacing[1], spacing[0], 1, 1]))
    image.header.set_xyzt_units("mm")
    nibabel.save(image, path)
    return path


def write_meta(path: Path, frames: np.ndarray, *, deflated: bool = False, spacing=(0.308, 0.154)) -> Path:
    """Frames (T, H, W) as a header and a file of values; spacing of columns and of rows."""
    path.parent.mkdir(parents=True, exist_ok=True)
    values = path.with_suffix(".zraw" if deflated else ".raw")
    stored = zlib.compress(frames.tobytes()) if deflated else frames.tobytes()
    values.write_bytes(stored)
    count, height, width = frames.shape
    lines = [
        "ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False",
        f"CompressedData = {deflated}", f"ElementSpacing = {spacing[0]} {spacing[1]} 1",
        f"DimSize = {width} {height} {count}", "ElementType = MET_UCHAR", f"ElementDataFile = {values.name}",
    ]  # fmt: skip
    path.write_text("\n".join(lines) + "\n")
    return path


def write_info(path: Path, **facts: object) -> None:
    path.write_text("".join(f"{name}: {value}\n" for name, value in facts.items()))


@pytest.fixture
def nifti(tmp_path, loops):
    """Four patients: a whole one, one whose views disagree, one in no list, one without a cine."""
    root = tmp_path / "CAMUS_public"
    database, lists = root / "database_nifti", root / "database_split"
    number = iter(range(6))
    shared = {"NbFrame": 6, "Sex": "F", "Age": 56, "ImageQuality": "Good", "EF": 53, "FrameRate": 41.7}
    for name, views in (("0001", ("2CH", "4CH")), ("0002", ("2CH", "4CH")), ("0003", ("4CH",)), ("0004", ())):
        for view in views:
            patient = f"patient{name}"
            folder, frames = database / patient, loops[next(number)]
            write_nifti(folder / f"{patient}_{view}_half_sequence.nii.gz", frames)
            for phase, frame in (("ED", frames[:1]), ("ES", frames[-1:])):
                write_nifti(folder / f"{patient}_{view}_{phase}.nii.gz", frame)
                write_nifti(folder / f"{patient}_{view}_{phase}_gt.nii.gz", frame // 100)
            write_info(folder / f"Info_{view}.cfg", ED=1, ES=6, **shared)
    write_info(
        database / "patient0002/Info_2CH.cfg", ED=6, ES=1, **{**shared, "EF": 61, "ImageQuality": "bad"}
    )
    write_info(database / "patient0002/Info_4CH.cfg", ED=1, ES=5, **{**shared, "Sex": "M", "FrameRate": 0})
    (database / "patient0004").mkdir()
    lists.mkdir()
    (lists / "subgroup_training.txt").write_text("patient0001\n")
    (lists / "subgroup_validation.txt").write_text("patient0004\n")
    (lists / "subgroup_testing.txt").write_text("patient0002\npatient0001\n")
    return root


def test_pictures_stand_upright_whole_and_calibrated(nifti, bring_in, loops) -> None:
    store, _ = bring_in("camus", nifti)
    rows = store.metadata().to_pylist()
    assert [row["view"] for row in rows] == ["A4C", "A2C", "A2C"]
    np.testing.assert_array_equal(store.frames(0), loops[1])
    np.testing.assert_array_equal(store.frames(1), loops[0])
    assert store.mask(0).all() and not rows[0]["colour"]
    assert rows[0]["pixel_height_mm"] == rows[0]["pixel_width_mm"] == pytest.approx(SPACING)
    np.testing.assert_allclose(store.loop(0).times, np.arange(6) / 41.7)


def test_splits_and_labels_are_the_publisher_s_and_all_else_is_counted(
    nifti, bring_in, labels_by_study
) -> None:
    store, summary = bring_in("camus", nifti)
    rows = store.metadata().to_pylist()
    # patient0001 stands in two lists: the more guarded counts. patient0002's four chambers state no rate.
    assert [row["split"] for row in rows] == ["test", "test", "test"]
    assert rows[0]["study_id"] == rows[1]["study_id"] != rows[2]["study_id"]
    assert [(row["sex"], row["age"], row["time_source"]) for row in rows] == [("F", 56, "table")] * 3
    one, again, two = labels_by_study(store)
    grade = "0 poor, 1 medium, 2 good"
    assert one == again == {
        "lvef": (53, "%"), "ed_frame_a4c": (0, "frame"), "es_frame_a4c": (5, "frame"),
        "ed_frame_a2c": (0, "frame"), "es_frame_a2c": (5, "frame"),
        "image_quality_a4c": (2, grade), "image_quality_a2c": (2, grade),
    }  # fmt: skip
    assert two == {"lvef": (61, "%"), "ed_frame_a2c": (5, "frame"), "es_frame_a2c": (0, "frame")}
    assert summary.left_out == {
        "cine without a frame rate (give one for all with --frame-rate)": 1,
        "image_quality_a2c: not a number": 1,
        "mask of a segmentation": 8,
        "patient in no official split": 1,
        "still that its cine contains, or unknown file": 8,
        "view without a cine": 2,
    }


def test_of_two_lvef_that_of_four_chambers_counts(nifti, bring_in, labels_by_study) -> None:
    store, summary = bring_in("camus", nifti, frame_rate=50.0)
    sources = store.metadata(["time_source"])["time_source"].to_pylist()
    assert sources == ["table", "table", "setting", "table"]
    assert labels_by_study(store)[2]["lvef"] == (53, "%")
    assert summary.left_out["lvef: another value for the same study"] == 1


@pytest.fixture
def older(tmp_path, loops):
    """training/ and testing/, values deflated or not; people to be tested have no LVEF and no rate."""
    root = tmp_path / "camus"
    shared = {"NbFrame": 6, "Sex": "M", "Age": 70, "ImageQuality": "Poor"}
    for name, deflated in (("training/patient0001", False), ("testing/patient0001", True)):
        folder = root / name
        tall = loops[2 * deflated].repeat(2, axis=1)  # rows half as far apart as columns
        write_meta(folder / "patient0001_4CH_sequence.mhd", tall, deflated=deflated)
        write_meta(folder / "patient0001_4CH_ED.mhd", tall[:1])
        write_info(folder / "Info_4CH.cfg", ED=1, ES=6, **shared)
    truth = {"LVedv": 102.5, "LVesv": 48, "LVef": 53.2}
    write_info(root / "training/patient0001/Info_4CH.cfg", ED=1, ES=6, **shared, **truth)
    return root


def test_the_older_release_needs_a_rate_and_gets_square_pixels(
    older, bring_in, loops, labels_by_study
) -> None:
    with pytest.raises(LayoutError, match="cine without a frame rate"):
        bring_in("camus", older)
    store, summary = bring_in("camus", older, frame_rate=40.0)
    rows = store.metadata().to_pylist()
    assert [(row["split"], row["time_source"]) for row in rows] == [("train", "setting"), ("test", "setting")]
    for row, loop in ((0, loops[0]), (1, loops[2])):
        np.testing.assert_array_equal(store.frames(row), loop)
        assert rows[row]["pixel_height_mm"] == rows[row]["pixel_width_mm"] == pytest.approx(0.308)
    assert rows[0]["patient_id"] != rows[1]["patient_id"]  # both are number 1, each of its folder
    one, two = labels_by_study(store)
    assert (one["lvef"], one["edv"], one["esv"]) == ((53.2, "%"), (102.5, "mL"), (48, "mL"))
    assert "lvef" not in two and two["image_quality_a4c"][0] == 0
    assert summary.left_out == {"still that its cine contains, or unknown file": 2, "view without a cine": 2}


def test_a_folder_without_either_release_or_its_lists_is_refused(nifti, tmp_path, bring_in) -> None:
    with pytest.raises(LayoutError, match="neither database_nifti"):
        bring_in("camus", tmp_path / "CAMUS_public/database_split")
    (nifti / "database_split/subgroup_testing.txt").unlink()
    with pytest.raises(LayoutError, match="database_split too, which contains the official splits"):
        bring_in("camus", nifti)


@pytest.mark.parametrize("kind", ["nifti", "meta", "deflated"])
@pytest.mark.parametrize("share", [0.01, 0.3, 0.9, 0.999])
def test_a_file_cut_off_anywhere_is_refused(tmp_path, loops, kind, share) -> None:
    if kind == "nifti":
        path = cut = write_nifti(tmp_path / "a.nii.gz", loops[0])
    else:
        path = write_meta(tmp_path / "a.mhd", loops[0], deflated=kind == "deflated")
        cut = next(p for p in tmp_path.iterdir() if p.suffix in (".raw", ".zraw"))
    content = cut.read_bytes()
    cut.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(Rejected) as error:
        open_volume(path.read_bytes(), path)
    assert error.value.reason in (Reason.TRUNCATED, Reason.UNSUPPORTED)


def test_a_stack_that_no_table_speaks_of_has_no_times(tmp_path, loops) -> None:
    with pytest.raises(Rejected, match="no table states its rate"):
        read_cine(write_nifti(tmp_path / "a.nii.gz", loops[0]), KEY)


def test_other_types_come_in_where_they_hold_grey_levels_and_no_others(tmp_path, loops) -> None:
    frames = loops[0]
    for kind in (np.int16, np.float32, ">u2"):
        path = write_nifti(tmp_path / "a.nii", frames.astype(kind))
        np.testing.assert_array_equal(np.stack(list(open_volume(path.read_bytes(), path)[0].read([0, 5]))),
                                      frames[[0, 5]])  # fmt: skip
    for spoiled in (
        frames.astype(np.float32) + 0.5,
        frames.astype(np.int16) - 1,
        frames.astype(np.int16) * 2,
    ):
        path = write_nifti(tmp_path / "b.nii", spoiled)
        with pytest.raises(Rejected, match="whole numbers from 0 to 255"):
            open_volume(path.read_bytes(), path)


def test_a_header_cannot_make_it_read_elsewhere_or_unpack_without_end(tmp_path, loops) -> None:
    path = write_meta(tmp_path / "folder/a.mhd", loops[0])
    (tmp_path / "secret.raw").write_bytes(loops[0].tobytes())
    path.write_text(path.read_text().replace("= a.raw", "= ../secret.raw"))
    with pytest.raises(Rejected, match="not beside it"):
        open_volume(path.read_bytes(), path)
    bomb = tmp_path / "bomb.nii.gz"
    whole = gzip.decompress(write_nifti(tmp_path / "a.nii.gz", loops[0]).read_bytes())
    bomb.write_bytes(gzip.compress(whole + bytes(1 << 28)))
    assert open_volume(bomb.read_bytes(), bomb)[0].count == 6  # what follows the values is never unpacked
    huge = bytearray(whole)
    huge[40:56] = np.array([3, 30000, 30000, 30000, 1, 1, 1, 1], "<i2").tobytes()
    with pytest.raises(Rejected) as error:
        open_volume(bytes(huge), bomb)
    assert error.value.reason == Reason.TOO_LARGE


def test_a_volume_with_depth_and_time_is_no_cine(tmp_path) -> None:
    path = tmp_path / "a.nii"
    nibabel.save(nibabel.Nifti1Image(np.zeros((8, 8, 4, 3), np.uint8), np.eye(4)), path)
    with pytest.raises(Rejected, match="depth and time"):
        open_volume(path.read_bytes(), path)
