"""EchoNet-Dynamic, EchoNet-Pediatric and EchoNet-LVH (Stanford AIMI): AVI videos beside one table.

Videos are cut to the sector and cleared of text by their publisher, so the whole picture is kept. Names in
the tables stand with and without their ending, splits in either case.
"""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echojepa.config import IngestConfig
from echojepa.data.identity.people import most_guarded
from echojepa.data.importers.listing import LayoutError, Listing, Stated, number, sex_of, split_of
from echojepa.files.tables import read_rows
from echojepa.vocabulary import Split, View

ENDING = ".avi"
ENDS = ("X1", "Y1", "X2", "Y2")
Chord = tuple[float | None, ...]
"""A line of a tracing, from its one end to the other, pixels."""


def bare(name: str) -> str:
    """A video's name without its ending, which tables state or not."""
    return name[: -len(ENDING)] if name.lower().endswith(ENDING) else name


def videos_below(folder: Path) -> dict[str, Path]:
    """Every AVI file below a folder, by its bare name; LayoutError where there is none."""
    found = {bare(p.name): p for p in sorted(folder.rglob("*")) if p.suffix.lower() == ENDING}
    if not found:
        raise LayoutError(
            f"no {ENDING} file below {folder}; give the folder that contains the data set's tables"
        )
    return found


def leave_out_unlisted(listing: Listing, files: dict[str, Path]) -> None:
    """Note the files that no row names."""
    for path in files.values():
        if path.resolve() not in listing.videos:
            listing.leave_out("file without a row in the table", path)


def only_video(study: str, split: Split, view: View, rate: float | None) -> Stated:
    """What is known of a video that is its patient's only one."""
    return Stated(patient=study, study=study, split=split, view=view, frame_rate=rate, cropped=True)


def read_dynamic(folder: Path, config: IngestConfig) -> Listing:
    """`FileList.csv`, `VolumeTracings.csv` and `Videos/` of EchoNet-Dynamic; a video is a patient's A4C."""
    listing, files = Listing(), videos_below(folder / "Videos")
    for row in read_rows(folder / "FileList.csv", ("FileName", "EF", "ESV", "EDV", "FPS", "Split")):
        name = bare(row["FileName"])
        study = f"echonet-dynamic/{name}"
        split = split_of(row["Split"])
        if split is None:
            listing.leave_out("row without a split", name)
            continue
        stated = only_video(study, split, View.A4C, listing.frame_rate(row["FPS"], name))
        if listing.add_video(files.get(name, folder / "Videos" / f"{name}{ENDING}"), stated):
            for label, column, unit in (("lvef", "EF", "%"), ("esv", "ESV", "mL"), ("edv", "EDV", "mL")):
                listing.add_label(study, label, row[column], unit)
    leave_out_unlisted(listing, files)
    add_traced_frames(listing, folder / "VolumeTracings.csv", set(files))
    return listing


def add_traced_frames(listing: Listing, path: Path, known: set[str]) -> None:
    """Labels `ed_frame` and `es_frame`: of a video's traced frames those with the largest and smallest area.

    Told by area, not by order: which of the two stands first in the table is not guaranteed.
    """
    if not path.is_file():
        listing.leave_out("no table of tracings, therefore no labels of traced frames", path)
        return
    chords: dict[tuple[str, str], list[Chord]] = defaultdict(list)
    for row in read_rows(path, ("FileName", *ENDS, "Frame")):
        chord = tuple(number(row[end]) for end in ENDS)
        if None in chord:
            listing.leave_out("tracing with a coordinate that is no number", row["FileName"])
        else:
            chords[bare(row["FileName"]), row["Frame"]].append(chord)
    areas: dict[str, dict[str, float]] = defaultdict(dict)
    for (name, frame), rows in chords.items():
        areas[name][frame] = traced_area(rows)
    listed = {(stated.study or "").rpartition("/")[2]: stated.study for stated in listing.videos.values()}
    for name in sorted(known):
        traced, study = areas.get(name, {}), listed.get(name)
        if study is None:
            continue
        if len(traced) < 2:
            listing.leave_out("fewer than two traced frames", name)
            continue
        listing.add_label(study, "ed_frame", max(traced, key=lambda frame: traced[frame]), "frame")
        listing.add_label(study, "es_frame", min(traced, key=lambda frame: traced[frame]), "frame")


def traced_area(rows: list[Chord]) -> float:
    """Area of a tracing, pixels^2: the first row is the long axis, the others chords from apex to base, whose
    ends make the polygon (the shoelace formula)."""
    if len(rows) < 3:
        return 0.0
    ends: NDArray[np.float64] = np.array(rows[1:], dtype=np.float64)
    x, y = np.concatenate([ends[:, :2], ends[::-1, 2:]]).T
    return float(abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2)


PEDIATRIC_VIEWS = {"A4C": View.A4C, "PSAX": View.PSAX_PM}
"""Folders of EchoNet-Pediatric and their views; its short axis is taken at the papillary muscles."""


def read_pediatric(folder: Path, config: IngestConfig) -> Listing:
    """`A4C/` and `PSAX/` of EchoNet-Pediatric, each with `FileList.csv` and `Videos/`; either may be absent.

    Names are PATIENT-EXAMINATION-NUMBER: what a person has in both folders stays together. Folds become
    splits by `held_out`. Rates are the containers'.
    """
    listing = Listing()
    present = [name for name in PEDIATRIC_VIEWS if (folder / name).is_dir()]
    if not present:
        raise LayoutError(f"{folder} contains neither A4C nor PSAX; give the folder that contains them")
    for view in present:
        files = videos_below(folder / view / "Videos")
        for row in read_rows(folder / view / "FileList.csv", ("FileName", "EF", "Split")):
            name = bare(row["FileName"])
            fold = number(row["Split"])
            if fold is None:
                listing.leave_out("row without a fold", name)
                continue
            folds = dict(zip(config.held_out, (Split.TEST, Split.VAL), strict=True))
            parts = name.split("-")
            study = f"echonet-pediatric/{'-'.join(parts[:2])}"
            stated = Stated(
                patient=f"echonet-pediatric/{parts[0]}",
                study=study,
                split=folds.get(int(fold), Split.TRAIN),
                view=PEDIATRIC_VIEWS[view],
                sex=sex_of(row.get("Sex")),
                age=number(row.get("Age")),
                cropped=True,
            )
            path = files.get(name, folder / view / "Videos" / f"{name}{ENDING}")
            if listing.add_video(path, stated):
                for label, column, unit in (
                    ("lvef", "EF", "%"), ("weight", "Weight", "kg"), ("height", "Height", "cm")
                ):  # fmt: skip
                    listing.add_label(study, label, row.get(column), unit)
        leave_out_unlisted(listing, files)
    return listing


LVH_LABELS = {"LVIDd": "lvidd", "LVIDs": "lvids", "IVSd": "ivsd", "LVPWd": "lvpwd"}


def read_lvh(folder: Path, config: IngestConfig) -> Listing:
    """`MeasurementsList.csv` and `Batch1/` to `Batch4/` of EchoNet-LVH; each video is one patient's PLAX.

    A video has a row a measurement; its first row says its rate, and of all rows' splits the most guarded is
    its own. Measurements are in cm.
    """
    listing, files = Listing(), videos_below(folder)
    needed = ("HashedFileName", "Calc", "CalcValue", "FPS", "split")
    rows = list(read_rows(folder / "MeasurementsList.csv", needed))
    splits: dict[str, set[Split]] = {}
    for row in rows:
        split = split_of(row["split"])
        splits.setdefault(bare(row["HashedFileName"]), set()).update([split] if split else [])
    rates = {bare(row["HashedFileName"]): row["FPS"] for row in reversed(rows)}
    for name, named in splits.items():
        study = f"echonet-lvh/{name}"
        split = most_guarded(named)
        if split is None:
            listing.leave_out("video without a split", name)
            continue
        if len(named) > 1:
            listing.leave_out(f"rows of one video in several splits: {split} kept", name)
        stated = only_video(study, split, View.PLAX, listing.frame_rate(rates[name], name))
        listing.add_video(files.get(name, folder / f"{name}{ENDING}"), stated)
    for row in rows:
        name = bare(row["HashedFileName"])
        if name not in files:
            continue
        if row["Calc"] in LVH_LABELS:
            listing.add_label(f"echonet-lvh/{name}", LVH_LABELS[row["Calc"]], row["CalcValue"], "cm")
        else:
            listing.leave_out("measurement of another kind", name)
    leave_out_unlisted(listing, files)
    return listing
