"""Claims about reading and writing DICOM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.uid import EnhancedUSVolumeStorage

from echojepa.data.reading.cine import CineLoop, Region
from echojepa.data.reading.dicom.frame_times import r_wave_frames
from echojepa.data.reading.dicom.reader import example_cines
from echojepa.data.reading.dicom.writer import UIDS, write_cine
from echojepa.data.reading.recording import read_cine
from echojepa.data.reading.rejection import Rejected
from echojepa.vocabulary import Kind, Reason, View

KEY = b"a test key of sufficient length"


def make_loop(colour: bool = False, frames: int = 6) -> CineLoop:
    shape = (frames, 40, 50, 3) if colour else (frames, 40, 50)
    return CineLoop(
        frames=np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8),
        times=np.arange(frames) * 0.025,
        time_source="test",
        patient_id="Patient-1",
        study_id="2.25.111",
        loop_id="2.25.222",
        view=View.PSAX_MV,
        regions=(Region(3, 4, 45, 38, mm_per_pixel=(0.5, 0.6)),),
        heart_rate=71,
        r_waves=(0.01, 0.1),
        manufacturer="GE Vingmed Ultrasound",
    )


def write(path: Path, loop: CineLoop, syntax: str = "explicit") -> Path:
    write_cine(path, loop, patient_name="Doe^Jane", study_date="20200101", transfer_syntax=syntax)  # pyright: ignore
    return path


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("syntax", [syntax for syntax in UIDS if syntax != "jpeg"])
def test_pixels_times_and_facts_survive_every_lossless_syntax(
    tmp_path: Path, colour: bool, syntax: str
) -> None:
    loop = make_loop(colour)
    path = write(tmp_path / "a.dcm", loop, syntax)
    assert pydicom.dcmread(path).file_meta.TransferSyntaxUID == UIDS[syntax]  # pyright: ignore
    back = read_cine(path, KEY)
    np.testing.assert_array_equal(back.frames, loop.frames)
    np.testing.assert_allclose(back.times, loop.times)
    assert (back.time_source, back.view, back.heart_rate) == ("FrameTime", View.PSAX_MV, 71)
    assert (back.regions[0].x0, back.regions[0].y1, back.manufacturer) == (3, 38, "GE")
    np.testing.assert_allclose(back.regions[0].mm_per_pixel, (0.5, 0.6))
    assert r_wave_frames(pydicom.dcmread(path), back.times) == (0, 4)


@pytest.mark.parametrize(
    ("stated", "frames"),
    [
        (None, ()),
        ([37.0], (1,)),  # one number is no list in a file
        ([-5.0, 130.0, float("nan"), 120.0], (5,)),
        ([49.0, 51.0, 51.0], (2,)),
    ],
)
def test_r_waves_beyond_the_loop_are_no_frame_of_it(stated: list[float] | None, frames: tuple[int]) -> None:
    data = Dataset()
    if stated is not None:
        data.RWaveTimeVector = stated
    assert r_wave_frames(data, make_loop().times[:6]) == frames


def test_jpeg_files_read_like_pydicom_reads_them(tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(40), np.arange(50)).astype(np.uint8)
    loop = CineLoop(
        frames=np.stack([smooth] * 3),
        times=np.arange(3) * 0.04,
        time_source="test",
        patient_id="p",
        study_id="2.25.1",
        loop_id="2.25.2",
    )
    path = write(tmp_path / "a.dcm", loop, "jpeg")
    found = read_cine(path, KEY).frames
    np.testing.assert_array_equal(found, pydicom.dcmread(path).pixel_array)
    assert np.abs(found.astype(int) - loop.frames).max() <= 3


def test_ids_are_pseudonyms_that_depend_on_the_key(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", make_loop())
    one, again, other = (
        read_cine(path, KEY),
        read_cine(path, KEY),
        read_cine(path, b"another key, long enough"),
    )
    assert one.patient_id == again.patient_id != other.patient_id
    assert one.loop_id == again.loop_id != other.loop_id
    assert "Patient-1" not in f"{one.patient_id} {one.study_id} {one.loop_id}" and "2.25" not in one.study_id


def edit(path: Path, **changes: object) -> Path:
    data = pydicom.dcmread(path)
    for name, value in changes.items():
        if value is None:
            delattr(data, name)
        else:
            setattr(data, name, value)
    data.save_as(path)
    return path


@pytest.mark.parametrize(
    ("changes", "source", "step"),
    [
        ({"FrameTime": "20"}, "FrameTime", 0.02),
        ({"FrameTime": None, "FrameTimeVector": [0, 10, 10, 10, 10, 10]}, "FrameTimeVector", 0.01),
        ({"FrameTime": "0", "CineRate": "50", "RecommendedDisplayFrameRate": "30"}, "CineRate", 0.02),
        ({"FrameTime": None, "RecommendedDisplayFrameRate": "40"}, "RecommendedDisplayFrameRate", 0.025),
        ({"FrameTime": "99999", "CineRate": "25"}, "CineRate", 0.04),
        ({"FrameTimeVector": [0, 10, 10, 10, 10, 10]}, "FrameTime", 0.025),
        (
            {"FrameIncrementPointer": 0x00181065, "FrameTimeVector": [0, 10, 10, 10, 10, 10]},
            "FrameTimeVector",
            0.01,
        ),
        ({"FrameTime": "20", "FrameTimeVector": [0, 10, 10]}, "FrameTime", 0.02),
    ],
)
def test_frame_times_come_from_the_first_plausible_attribute(
    tmp_path: Path, changes: dict[str, object], source: str, step: float
) -> None:
    loop = read_cine(edit(write(tmp_path / "a.dcm", make_loop()), **changes), KEY)
    assert loop.time_source == source
    assert np.diff(loop.times) == pytest.approx(step)


@pytest.mark.parametrize(
    ("changes", "warning"),
    [
        ({}, ""),
        ({"CineRate": "40"}, ""),
        ({"CineRate": "30"}, "FrameTime and CineRate disagree"),
        ({"FrameTime": "99999", "CineRate": "25"}, "FrameTime is implausible"),
        ({"FrameTime": "0.2", "CineRate": "9000", "RecommendedDisplayFrameRate": "40"},
         "FrameTime is implausible; CineRate is implausible"),
    ],
)  # fmt: skip
def test_times_that_are_odd_carry_a_warning(tmp_path: Path, changes: dict[str, object], warning: str) -> None:
    loop = read_cine(edit(write(tmp_path / "a.dcm", make_loop()), **changes), KEY)
    assert loop.time_warning == warning


@pytest.mark.parametrize(
    ("changes", "sex", "age"),
    [
        ({}, None, None),
        ({"PatientSex": "F", "PatientAge": "045Y"}, "F", 45.0),
        ({"PatientSex": "male", "PatientAge": "old"}, None, None),
        ({"PatientAge": "006M"}, None, 0.5),
        ({"PatientBirthDate": "19500615"}, None, 69.0),
        ({"PatientBirthDate": "20210101"}, None, None),
        ({"PatientAge": "095Y"}, None, 90.0),
    ],
)
def test_sex_and_age_leave_coarse_and_only_where_plausible(
    tmp_path: Path, changes: dict[str, object], sex: str | None, age: float | None
) -> None:
    loop = read_cine(edit(write(tmp_path / "a.dcm", make_loop()), **changes), KEY)
    assert (loop.sex, loop.age) == (sex, age)


@pytest.mark.parametrize(
    ("codes", "frames", "kind", "region"),
    [
        ((1, 1), 6, Kind.CINE, "tissue"),
        ((1, 2), 6, Kind.CINE, "colour"),
        ((1, 1), 1, Kind.STILL, "tissue"),
        ((3, 3), 1, Kind.DOPPLER, "pw"),
        ((3, 4), 6, Kind.DOPPLER, "cw"),
        ((2, 1), 1, Kind.MMODE, "mmode"),
        ((4, 10), 6, Kind.CINE, "other"),  # an ECG trace
        ((0, 13), 1, Kind.STILL, "other"),  # a grey bar
    ],
)
def test_regions_tell_cines_from_strips(
    tmp_path: Path, codes: tuple[int, int], frames: int, kind: Kind, region: str
) -> None:
    path = write(tmp_path / "a.dcm", make_loop(frames=frames))
    data = pydicom.dcmread(path)
    item = data.SequenceOfUltrasoundRegions[0]
    item.RegionSpatialFormat, item.RegionDataType = codes
    data.save_as(path)
    loop = read_cine(path, KEY)
    assert loop.kind == kind and loop.regions[0].kind == region


def test_a_file_without_preamble_and_meta_reads_like_the_whole_one(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", make_loop())
    whole, data = read_cine(path, KEY), pydicom.dcmread(path)
    bare = tmp_path / "bare"
    dataset = Dataset()
    dataset.update({element.tag: element for element in data})
    dataset.save_as(bare, implicit_vr=True, little_endian=True)
    assert bare.read_bytes()[128:132] != b"DICM"
    back = read_cine(bare, KEY)
    np.testing.assert_array_equal(back.frames, whole.frames)
    assert back.patient_id == whole.patient_id


def test_files_without_a_patient_id_are_not_taken_for_one_patient(tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{n}.dcm", replace(make_loop(), study_id=f"2.25.{n}")) for n in range(3)]
    one, two, three = (read_cine(edit(path, PatientID=""), KEY) for path in paths)
    assert len({one.patient_id, two.patient_id, three.patient_id}) == 3
    same = read_cine(edit(paths[0], SOPInstanceUID="2.25.9"), KEY)
    assert same.patient_id == one.patient_id  # one study is one patient's


def test_a_three_dimensional_volume_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path / "a.dcm", make_loop())
    with pytest.raises(Rejected) as caught:
        read_cine(edit(path, SOPClassUID=EnhancedUSVolumeStorage), KEY)
    assert caught.value.reason == Reason.UNSUPPORTED


@pytest.mark.parametrize(
    ("stated", "name"),
    [("Philips Medical Systems", "Philips"), ("GE Vingmed Ultrasound", "GE"), ("G.E. Medical Systems", "GE"),
     ("SonoSite, Inc.", "Fujifilm"), ("ALOKA CO., LTD.", "Hitachi"), ("Dr Jane Doe", "other"), ("", "")],
)  # fmt: skip
def test_a_maker_leaves_by_a_closed_list_only(tmp_path: Path, stated: str, name: str) -> None:
    loop = read_cine(write(tmp_path / "a.dcm", replace(make_loop(), manufacturer=stated)), KEY)
    assert loop.manufacturer == name


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"FrameTime": None}, Reason.NO_TIME),
        ({"Modality": "CT"}, Reason.NOT_ULTRASOUND),
        ({"PixelData": None}, Reason.NO_PIXELS),
        ({"NumberOfFrames": 65535, "Rows": 65535, "Columns": 65535}, Reason.TOO_LARGE),
        ({"NumberOfFrames": 60}, Reason.TRUNCATED),
        ({"Rows": None}, Reason.TRUNCATED),
    ],
)
def test_bad_files_are_refused_with_their_reason(
    tmp_path: Path, changes: dict[str, object], reason: Reason
) -> None:
    path = edit(write(tmp_path / "a.dcm", make_loop()), **changes)
    with pytest.raises(Rejected) as caught:
        read_cine(path, KEY)
    assert caught.value.reason == reason
    assert "Doe" not in str(caught.value) and str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("syntax", ["explicit", "jpeg"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.97])
def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path, syntax: str, share: float) -> None:
    whole = write(tmp_path / "a.dcm", make_loop(), syntax).read_bytes()
    path = tmp_path / "cut.dcm"
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(Rejected) as caught:
        read_cine(path, KEY)
    assert caught.value.reason in (
        Reason.TRUNCATED,
        Reason.NOT_DICOM,
        Reason.NO_PIXELS,
        Reason.NOT_ULTRASOUND,
    )


def test_text_called_dcm_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "note.dcm"
    path.write_text("Jane Doe called about her results")
    with pytest.raises(Rejected) as caught:
        read_cine(path, KEY)
    assert caught.value.reason == Reason.NOT_DICOM and "Jane" not in str(caught.value)


def test_the_real_cines_read_with_their_times_and_an_untrusted_region_loses_its_scale() -> None:
    small, large = (read_cine(path, KEY) for path in example_cines())
    assert (small.frames.shape, large.frames.shape) == ((30, 240, 320, 3), (120, 480, 640, 3))
    assert np.diff(large.times) == pytest.approx(0.033333)
    assert small.patient_id == large.patient_id and small.loop_id != large.loop_id
    assert small.regions[0].x1 == 319 and small.regions[0].mm_per_pixel is None
    assert large.regions[0].mm_per_pixel == pytest.approx((0.5105, 0.5105), abs=1e-3)


@pytest.mark.parametrize(
    "name",
    ["MR_small_RLE.dcm", "JPEG-LL.dcm", "examples_palette.dcm", "SC_rgb_rle_2frame.dcm", "US1_J2KR.dcm"],
)
def test_files_of_other_kinds_are_read_or_refused_in_words(name: str) -> None:
    path = get_testdata_file(name, download=False)
    if path is None:
        pytest.skip(f"{name} is not in this pydicom")
    try:
        loop = read_cine(Path(str(path)), KEY)
    except Rejected as rejected:
        assert rejected.reason in set(Reason)
    else:
        assert loop.frames.dtype == np.uint8
