"""Claims about EchoNet-Dynamic, -Pediatric and -LVH, on phantom files in their published layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echojepa.cli import main
from echojepa.config import IngestConfig
from echojepa.data.importers.listing import LayoutError, Listing
from echojepa.data.ingest.dry_run import dry_run
from echojepa.data.reading.video import Video
from echojepa.files.tables import TableError


@pytest.fixture
def dynamic(tmp_path, loops, write_video, write_table):
    """Names with an ending, splits in either case, a row without a file, a file without a row, one trace."""
    root = tmp_path / "EchoNet-Dynamic"
    for number, name in enumerate(("0XA", "0XB", "0XC", "0XSTRAY")):
        write_video(root / "Videos" / f"{name}.avi", loops[number])
    shared = {"FrameHeight": 112, "FrameWidth": 112, "FPS": 50, "NumberOfFrames": 6}
    rows = [
        {"FileName": "0XA", "EF": 55.5, "ESV": 40.25, "EDV": 90, **shared, "Split": "TRAIN"},
        {"FileName": "0XB.avi", "EF": 35, "ESV": "n/a", "EDV": 120, **shared, "Split": "val"},
        {"FileName": "0XC", "EF": 555, "ESV": 30, "EDV": 80, **shared, "FPS": 25, "Split": "Test"},
        {"FileName": "0XGONE", "EF": 60, "ESV": 30, "EDV": 80, **shared, "Split": "TEST"},
        {"FileName": "0XNONE", "EF": 60, "ESV": 30, "EDV": 80, **shared, "Split": ""},
    ]
    write_table(root / "FileList.csv", rows)
    # 0XA: systole stands first and is the smaller; 0XB: diastole stands first; 0XC: one frame only.
    tracings = [
        *square("0XA.avi", 2, 10), *square("0XA.avi", 5, 20), *square("0XB.avi", 1, 20),
        *square("0XB.avi", 4, 12), *square("0XC.avi", 3, 15),
    ]  # fmt: skip
    write_table(root / "VolumeTracings.csv", tracings)
    return root


def square(name, frame, side):
    """A tracing: the long axis, then chords from apex to base."""
    axis = {"FileName": name, "X1": side / 2, "Y1": 0, "X2": side / 2, "Y2": 99, "Frame": frame}
    heights = np.linspace(0, side, 20)
    return [axis, *({**axis, "X1": 0, "Y1": y, "X2": side, "Y2": y} for y in heights)]


def test_dynamic_keeps_its_splits_labels_and_rates(dynamic, bring_in, labels_by_study) -> None:
    store, summary = bring_in("echonet-dynamic", dynamic)
    rows = store.metadata().to_pylist()
    assert [row["split"] for row in rows] == ["train", "val", "test"]
    assert {row["view"] for row in rows} == {"A4C"}
    assert len({row["patient_id"] for row in rows}) == len({row["study_id"] for row in rows}) == 3
    assert [row["frame_rate"] for row in rows] == pytest.approx([50, 50, 25])
    assert {row["time_source"] for row in rows} == {"table"}
    assert [bool(row["time_warning"]) for row in rows] == [False, False, True]  # 0XC: the file says 50
    one, two, three = labels_by_study(store)
    assert one == {
        "lvef": (55.5, "%"), "esv": (40.25, "mL"), "edv": (90, "mL"),
        "ed_frame": (5, "frame"), "es_frame": (2, "frame"),
    }  # fmt: skip
    assert two["lvef"] == (35, "%") and "esv" not in two
    assert (two["ed_frame"], two["es_frame"]) == ((1, "frame"), (4, "frame"))
    assert set(three) == {"esv", "edv"}
    assert summary.left_out == {
        "row whose file is missing": 1,
        "row without a split": 1,
        "file without a row in the table": 1,
        "esv: not a number": 1,
        "lvef: outside 5 to 100 %": 1,
        "fewer than two traced frames": 1,
    }
    assert "0XSTRAY" in summary.left_out_map.read_text() and summary.left_out_map.stat().st_mode & 0o77 == 0


def test_a_cropped_video_is_kept_whole_bit_for_bit(dynamic, bring_in) -> None:
    store, _ = bring_in("echonet-dynamic", dynamic)
    video = Video((dynamic / "Videos/0XA.avi").read_bytes())
    np.testing.assert_array_equal(store.frames(0), np.stack(list(video.read(range(6), grey=True))))
    assert store.mask(0).all() and store.frames(0).shape == (6, 112, 112)


def test_a_second_run_brings_nothing_and_a_dry_run_says_the_same(dynamic, bring_in, tmp_path) -> None:
    config = IngestConfig(
        (dynamic,), tmp_path / "data", tmp_path / "key", layout="echonet-dynamic", workers=1
    )
    found = dry_run(config, lambda done, total: None)
    assert not (tmp_path / "data").exists()
    assert found.files == 3 and found.sampled == 3 and not found.sample_refused
    _, first = bring_in("echonet-dynamic", dynamic)
    _, again = bring_in("echonet-dynamic", dynamic)
    assert found.left_out == first.left_out == again.left_out
    assert (first.came.loops, again.came.loops, again.already) == (3, 0, 3)


def test_the_command_line_takes_from_and_names_what_it_knows(dynamic, tmp_path, capsys) -> None:
    rest = ["--sources", str(dynamic), "--out", str(tmp_path / "data"), "--key", str(tmp_path / "key")]
    assert main(["ingest", "--from", "echonet-dynamc", *rest]) == 1
    said = capsys.readouterr().err
    assert "Did you mean 'echonet-dynamic'?" in " ".join(said.split())
    assert main(["ingest", "--from", "echonet-dynamic", *rest, "--workers", "1"]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "row whose file is missing" in out and "split train" in out
    for name in ("0XA", "0XSTRAY"):
        assert name not in out
        for path in (p for p in (tmp_path / "data").rglob("*") if p.is_file()):
            assert name.encode() not in path.read_bytes()


def test_another_folder_is_refused_in_a_sentence(tmp_path: Path, bring_in, write_table) -> None:
    with pytest.raises(LayoutError, match="does not exist"):
        bring_in("echonet-dynamic", tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(LayoutError, match=r"no \.avi file"):
        bring_in("echonet-dynamic", tmp_path / "empty")
    (tmp_path / "empty/Videos").mkdir()
    (tmp_path / "empty/Videos/a.avi").touch()
    write_table(tmp_path / "empty/FileList.csv", [{"FileName": "a", "EF": 5}])
    with pytest.raises(TableError, match=r"lacks the columns \['EDV', 'ESV', 'FPS', 'Split'\]"):
        bring_in("echonet-dynamic", tmp_path / "empty")


def test_lvef_up_to_all_that_can_be_ejected_is_kept_and_a_share_for_per_cent_is_not() -> None:
    listing = Listing()
    for value in (0.55, 6.9, 97, 100, 101):
        listing.add_label(f"study {value}", "lvef", value, "%")
    assert [value for value, _ in listing.labels.values()] == [6.9, 97, 100]
    assert listing.counted() == {"lvef: outside 5 to 100 %": 2}


@pytest.fixture
def pediatric(tmp_path, loops, write_video, write_table):
    """One child in both views and in two folds, two others, one without a fold."""
    root = tmp_path / "pediatric_echo_avi"
    names = {"A4C": ("P1-E1-1", "P2-E2-1"), "PSAX": ("P1-E1-2", "P3-E3-1", "P4-E4-1")}
    number = iter(range(6))
    for view, of_view in names.items():
        for name in of_view:
            write_video(root / view / "Videos" / f"{name}.avi", loops[next(number)], rate=30)
    shared = {"Sex": "F", "Age": 7, "Weight": 20, "Height": 110}
    rows = [
        {"FileName": "P1-E1-1.avi", "EF": 61.5, **shared, "Split": 4},
        {"FileName": "P2-E2-1", "EF": 58, **shared, "Split": 1, "Weight": 2000},
    ]
    write_table(root / "A4C/FileList.csv", rows)
    rows = [
        {"FileName": "P1-E1-2", "EF": 64, **shared, "Split": 0},
        {"FileName": "P3-E3-1.avi", "EF": 50, **shared, "Split": "7", "Sex": "M", "Age": "x"},
        {"FileName": "P4-E4-1", "EF": 50, **shared, "Split": ""},
    ]
    write_table(root / "PSAX/FileList.csv", rows)
    return root


def test_a_childs_views_stay_together_in_the_split_that_is_guarded_most(
    pediatric, bring_in, labels_by_study
) -> None:
    store, summary = bring_in("echonet-pediatric", pediatric)
    rows = store.metadata().to_pylist()
    assert [row["view"] for row in rows] == ["A4C", "A4C", "PSAX-PM", "PSAX-PM"]
    assert [row["split"] for row in rows] == ["test", "val", "test", "train"]
    one, two, again, three = (row["patient_id"] for row in rows)
    assert one == again and len({one, two, three}) == 3
    assert [row["frame_rate"] for row in rows] == pytest.approx([30] * 4)
    assert [(row["sex"], row["age"]) for row in rows] == [("F", 7), ("F", 7), ("F", 7), ("M", None)]
    assert labels_by_study(store)[2]["lvef"] == (61.5, "%")  # of two for one study the first, of A4C
    assert summary.left_out == {
        "official split train not kept: the patient is also in test": 1,
        "lvef: another value for the same study": 1,
        "weight: outside 0.3 to 350 kg": 1,
        "row without a fold": 1,
        "file without a row in the table": 1,
    }


def test_the_folds_can_be_chosen_and_a_patient_keeps_the_split_of_before(pediatric, bring_in) -> None:
    store, _ = bring_in("echonet-pediatric", pediatric / "A4C/..", held_out=(7, 0))
    assert store.metadata(["split"])["split"].to_pylist() == ["val", "train", "val", "test"]


def test_a_patient_in_the_data_set_is_not_moved_by_a_later_table(
    pediatric, bring_in, loops, write_video, write_table
) -> None:
    (pediatric / "PSAX").rename(pediatric / "later")
    bring_in("echonet-pediatric", pediatric)
    (pediatric / "later").rename(pediatric / "PSAX")
    store, summary = bring_in("echonet-pediatric", pediatric)
    by_patient = {}
    for row in store.metadata(["patient_id", "split"]).to_pylist():
        by_patient.setdefault(row["patient_id"], set()).add(row["split"])
    assert all(len(splits) == 1 for splits in by_patient.values())
    assert summary.came.moved == 1


def test_lvh_measurements_become_labels_in_cm(
    tmp_path, loops, bring_in, write_video, write_table, labels_by_study
) -> None:
    root = tmp_path / "EchoNet-LVH"
    write_video(root / "Batch1/0xa.avi", loops[0], rate=40)
    write_video(root / "Batch4/0xb.avi", loops[1], rate=40)
    shared = {"Frame": 1, "X1": 1, "X2": 2, "Y1": 1, "Y2": 2, "Frames": 6, "FPS": 40}
    rows = [
        {"HashedFileName": "0xa", "Calc": "LVIDd", "CalcValue": 4.8, **shared, "split": "train"},
        {"HashedFileName": "0xa", "Calc": "IVSd", "CalcValue": 1.1, **shared, "split": "train"},
        {"HashedFileName": "0xb", "Calc": "LVPWd", "CalcValue": 48, **shared, "split": "TEST", "FPS": 0},
        {"HashedFileName": "0xgone", "Calc": "LVPWd", "CalcValue": 1, **shared, "split": "val"},
    ]
    write_table(root / "MeasurementsList.csv", rows)
    store, summary = bring_in("echonet-lvh", root)
    table = store.metadata().to_pylist()
    assert [(row["split"], row["view"]) for row in table] == [("train", "PLAX"), ("test", "PLAX")]
    assert [row["time_source"] for row in table] == ["table", "container"]
    assert labels_by_study(store) == [{"lvidd": (4.8, "cm"), "ivsd": (1.1, "cm")}, {}]
    assert summary.left_out == {
        "implausible frame rate in the table; the container's is used": 1,
        "lvpwd: outside 0.1 to 5 cm": 1,
        "row whose file is missing": 1,
    }
