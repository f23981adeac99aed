"""Claims about EchoNet-Dynamic, -Pediatric and -LVH, on phantom files in their published layouts."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from echojepa.cli import main
from echojepa.config import IngestConfig
from echojepa.data.dry_run import dry_run
from echojepa.data.importers.listing import LayoutError
from echojepa.data.video import open_video


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
        "lvef: outside 5 to 90 %": 1,
        "fewer than two traced frames": 1,
    }
    assert "0XSTRAY" in summary.left_out_map.read_text() and summary.left_out_map.stat().st_mode & 0o77 == 0


def test_a_cropped_video_is_kept_whole_bit_for_bit(dynamic, bring_in) -> None:
    store, _ = bring_in("echonet-dynamic", dynamic)
    video = open_video((dynamic / "Videos/0XA.avi").read_bytes())
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
    with pytest.raises(LayoutError, match=r"lacks the columns \['EDV', 'ESV', 'FPS', 'Split'\]"):
        bring_in("echonet-dynamic", tmp_path / "empty")
