"""Claims about a table that puts one video into two splits: the more guarded one counts, and it is said."""

from __future__ import annotations

from pathlib import Path

import pytest

from echojepa.config import IngestConfig
from echojepa.data.importers.known import read_listing
from echojepa.vocabulary import Split

LVH = "HashedFileName,Calc,CalcValue,Frame,X1,X2,Y1,Y2,Frames,FPS,Width,Height,split\n"
NOTE = "rows of one video in several splits: {} kept"


def listing_of(folder: Path, layout: str, source: Path | None = None):
    config = IngestConfig((source or folder,), folder / "out", folder / "key", layout=layout)
    return read_listing(config)


@pytest.mark.parametrize(
    ("splits", "kept"),
    [
        (("train", "test"), Split.TEST),
        (("test", "train"), Split.TEST),
        (("train", "val"), Split.VAL),
        (("val", "TEST", "train"), Split.TEST),
        (("", "val"), Split.VAL),
        (("train", ""), Split.TRAIN),
        (("", "nonsense"), None),
    ],
)
def test_an_lvh_video_has_the_most_guarded_split_of_its_rows(
    tmp_path: Path, splits: tuple[str, ...], kept: Split | None
) -> None:
    (tmp_path / "Batch1").mkdir()
    for name in ("0XA", "0XB"):
        (tmp_path / f"Batch1/{name}.avi").write_bytes(b"x")
    rows = [f"0XA,IVSd,1.{n},3,1,2,3,4,20,50,112,112,{split}\n" for n, split in enumerate(splits)]
    rows[:1] = [*rows[:1], "0XB,IVSd,1.0,3,1,2,3,4,20,50,112,112,train\n"]
    (tmp_path / "MeasurementsList.csv").write_text(LVH + "".join(rows))
    listing = listing_of(tmp_path, "echonet-lvh")
    found = {path.stem: stated.split for path, stated in listing.videos.items()}
    assert found == {"0XB": Split.TRAIN} | ({"0XA": kept} if kept else {})
    several = len({split.lower() for split in splits} & {"train", "val", "test"}) > 1
    assert listing.counted()[NOTE.format(kept)] == several


@pytest.mark.parametrize(("first", "second"), [("train", "test"), ("test", "train"), ("train", "val")])
def test_a_video_that_a_table_names_twice_has_the_more_guarded_split(
    tmp_path: Path, first: str, second: str
) -> None:
    for name in "ab":
        (tmp_path / f"{name}.mp4").write_bytes(b"x")
    table = tmp_path / "table.csv"
    table.write_text(f"path,patient,split\na.mp4,1,{first}\nb.mp4,2,train\na.mp4,1,{second}\n")
    listing = listing_of(tmp_path, "table", table)
    guarded = "test" if "test" in (first, second) else "val"
    assert {path.stem: stated.split for path, stated in listing.videos.items()} == {
        "a": guarded,
        "b": "train",
    }
    assert listing.counted()["second row for a file"] == 1
