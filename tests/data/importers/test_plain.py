"""Claims about folders of videos, tables with named columns, and EchoJEPA's own lists."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from echojepa.data.importers.listing import LayoutError
from echojepa.files.tables import TableError


@pytest.fixture
def videos(tmp_path, loops, write_video):
    """Four videos of two patients in folders named as splits, and a letter."""
    root = tmp_path / "videos"
    names = ("train/p1/a.mp4", "train/p1/b.AVI", "test/p2/c.avi", "test/p2/d.mp4")
    for number, name in enumerate(names):
        path = root / name
        written = write_video(path.with_suffix(path.suffix.lower()), loops[number], rate=25)
        written.rename(path)
    (root / "train/p1/letter.txt").write_text("Dear colleague")
    return root


def test_a_folder_of_videos_has_its_splits_and_patients_from_folders(videos, bring_in) -> None:
    store, summary = bring_in("videos", videos)
    rows = store.metadata().to_pylist()
    assert [row["split"] for row in rows] == ["test", "test", "train", "train"]
    assert len({row["patient_id"] for row in rows}) == 2
    assert {row["time_source"] for row in rows} == {"container"}
    assert not store.mask(0).all()
    assert summary.left_out == {"file that is no MP4, AVI or MOV": 1}


def test_each_file_can_be_a_patient(videos, bring_in) -> None:
    store, _ = bring_in("videos", videos, patient_is="file")
    assert len(set(store.metadata(["patient_id"])["patient_id"].to_pylist())) == 4


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_names_its_columns(videos, kind, bring_in, write_table, labels_by_study) -> None:
    rows = [
        {"file": "train/p1/a.mp4", "mrn": "M1", "view": "a4c", "split": "Val", "fps": 50, "EF": 55},
        {"file": "train/p1/b.AVI", "mrn": "M1", "view": "A2C", "split": "VAL", "fps": 25, "EF": 55},
        {"file": "test/p2/c.avi", "mrn": "M2", "view": "apical", "split": "test", "fps": 25, "EF": 0},
        {"file": "absent.mp4", "mrn": "M2", "view": "A4C", "split": "test", "fps": 25, "EF": 50},
    ]
    table = videos / f"table.{kind}"
    if kind == "csv":
        write_table(table, rows)
    else:
        pq.write_table(pa.Table.from_pylist(rows), table)
    columns = ("path=file", "patient=mrn", "frame_rate=fps", "lvef:%=EF")
    store, summary = bring_in("table", table, columns=columns)
    found = store.metadata().to_pylist()
    assert [(r["split"], r["view"]) for r in found] == [("val", "A4C"), ("val", "A2C"), ("test", None)]
    assert [r["frame_rate"] for r in found] == pytest.approx([50, 25, 25])
    assert labels_by_study(store) == [{"lvef": (55, "%")}, {"lvef": (55, "%")}, {}]
    assert summary.left_out == {
        "view that is none of the known words": 1,
        "lvef: outside 5 to 100 %": 1,
        "row whose file is missing": 1,
    }


def test_a_table_that_could_split_a_patient_or_lacks_a_column_is_refused(
    videos, bring_in, write_table
) -> None:
    table = write_table(videos / "t.csv", [{"path": "train/p1/a.mp4", "split": "test"}])
    with pytest.raises(LayoutError, match="splits but no patient column"):
        bring_in("table", table)
    with pytest.raises(TableError, match=r"lacks the columns \['EF'\]"):
        bring_in("table", table, columns=("lvef:%=EF",))
    with pytest.raises(LayoutError, match="LABEL:UNIT=COLUMN"):
        bring_in("table", table, columns=("colour=c",))


def test_official_lists_say_split_and_label_and_miss_is_no_file(videos, bring_in, labels_by_study) -> None:
    train, test = videos / "lvef_train.csv", videos / "lvef_test.csv"
    train.write_text("train/p1/a.mp4 train/p1/b.AVI 0.5\n")
    test.write_text("test/p2/c.avi MISS -1.25\ns3://bucket/x.mp4 MISS 1\n")
    store, summary = bring_in("list", train, test, columns=("lvef_z:z=label",))
    assert store.metadata(["split"])["split"].to_pylist() == ["train", "train", "test"]
    assert labels_by_study(store) == [{"lvef_z": (v, "z")} for v in (0.5, 0.5, -1.25)]
    assert summary.left_out == {
        "view that a study lacks (MISS)": 2,
        "address of an object store; copy the files first": 1,
    }


def test_a_list_without_named_label_or_with_colons_comes_in_and_says_so(videos, bring_in) -> None:
    path = videos / "pretrain.csv"
    path.write_text("train/p1/a.mp4::0\n\ntest/p2/c.avi 0\n")
    store, summary = bring_in("list", path)
    assert store.table.count_rows() == 2 and store.labels().num_rows == 0
    assert summary.left_out == {"labels without a name (--columns LABEL:UNIT=label)": 1}
    path.write_text("train/p1/a.mp4\n")
    with pytest.raises(LayoutError, match="line 1: a path and a label"):
        bring_in("list", path)


def test_lists_that_split_one_folder_are_refused_or_each_file_is_a_patient(videos, bring_in) -> None:
    train, test = videos / "train.csv", videos / "test.csv"
    train.write_text("train/p1/a.mp4 0\ntest/p2/c.avi 0\n")
    test.write_text("train/p1/b.AVI 0\ntest/p2/c.avi 0\n")
    with pytest.raises(LayoutError, match="folders have videos in several splits"):
        bring_in("list", train, test)
    store, summary = bring_in("list", train, test, patient_is="file")
    assert store.metadata(["split"])["split"].to_pylist() == ["train", "test", "test"]
    assert summary.left_out["second row for a file"] == 1
