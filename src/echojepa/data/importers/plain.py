"""Videos without a data set's layout: a folder of them, a table with named columns, EchoJEPA's own lists."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from echojepa.config import IngestConfig
from echojepa.data.importers.listing import LayoutError, Listing, Stated, number, sex_of, split_of
from echojepa.files.tables import Row, check_columns, identity, read_rows
from echojepa.vocabulary import Split, View

VIDEOS = (".mp4", ".avi", ".mov", ".m4v")
ROLES = ("path", "patient", "study", "view", "split", "frame_rate", "sex", "age")
"""What a column of a table can hold beside labels."""
MISS = "MISS"
"""Stands in EchoJEPA's multi-view lists for a view that a study lacks."""
VIEWS = {view.value.lower(): view for view in View}


def owner(path: Path, config: IngestConfig) -> str:
    """Whose a video is that names nobody: its folder's, or its own."""
    real = path.resolve()
    return f"file {real}" if config.patient_is == "file" else f"folder {real.parent}"


def read_videos(folder: Path, config: IngestConfig) -> Listing:
    """Every MP4, AVI or MOV below a folder; folders named train, val and test at its top are splits."""
    listing = Listing()
    for path in sorted(folder.rglob("*")):
        if not path.is_file() or path.name.startswith("."):
            continue
        if path.suffix.lower() not in VIDEOS:
            listing.leave_out("file that is no MP4, AVI or MOV", path)
            continue
        name = owner(path, config)
        split = split_of(path.relative_to(folder).parts[0])
        listing.add_video(path, Stated(patient=name, study=name, split=split))
    return listing


def named_columns(config: IngestConfig) -> tuple[dict[str, str], dict[tuple[str, str], str]]:
    """`--columns` as role to column and (label, unit) to column; LayoutError for anything else."""
    roles, labels = {role: role for role in ROLES}, {}
    for pair in config.columns:
        what, equals, column = pair.partition("=")
        label, colon, unit = what.partition(":")
        if not (what and equals and column) or not (colon or what in ROLES):
            raise LayoutError(
                f"--columns {pair}: write LABEL:UNIT=COLUMN or WHAT=COLUMN; WHAT is one of {', '.join(ROLES)}"
            )
        if colon:
            labels[label, unit] = column
        else:
            roles[what] = column
    return roles, labels


def read_table(path: Path, config: IngestConfig) -> Listing:
    """A CSV or Parquet table with a row a video: `path` (from the table's folder on), and what else is there.

    Without a patient, videos are their folder's or their own and DICOM files say it themselves; splits need a
    patient column, or one person could be in two. LayoutError for a column that was named and is not there.
    """
    roles, labels = named_columns(config)
    asked = {pair.partition("=")[2] for pair in config.columns}
    listing = Listing()
    for row in read_rows(path, (roles["path"], *sorted(asked))):
        fact = {role: row.get(column, "") for role, column in roles.items()}
        fact |= {role: identity(fact[role]) for role in ("patient", "study")}
        if fact["split"] and not fact["patient"]:
            raise LayoutError(f"{path} has splits but no patient column; name it: --columns patient=COLUMN")
        video = path.parent / fact["path"]
        stated = stated_in(fact, listing, video, config)
        if listing.add_video(video, stated):
            add_labels(listing, stated, video, labels, row)
    return listing


def stated_in(fact: Row, listing: Listing, video: Path, config: IngestConfig) -> Stated:
    """One row's facts; words that are no split or view are noted."""
    for role, known in (("split", split_of(fact["split"])), ("view", VIEWS.get(fact["view"].lower()))):
        if fact[role] and known is None:
            listing.leave_out(f"{role} that is none of the known words", video)
    nobody = owner(video, config) if video.suffix.lower() in VIDEOS else None
    return Stated(
        patient=fact["patient"] or nobody,
        study=fact["study"] or fact["patient"] or nobody,
        split=split_of(fact["split"]),
        view=VIEWS.get(fact["view"].lower()),
        frame_rate=listing.frame_rate(fact["frame_rate"], video) if fact["frame_rate"] else None,
        sex=sex_of(fact["sex"]),
        age=number(fact["age"]),
    )


def add_labels(
    listing: Listing, stated: Stated, video: Path, labels: dict[tuple[str, str], str], row: Row
) -> None:
    """A row's labels for its study."""
    for (label, unit), column in labels.items():
        if stated.study is None:
            listing.leave_out(f"{label}: its row names no study", video)
        else:
            listing.add_label(stated.study, label, row[column], unit)


def read_list(path: Path, config: IngestConfig) -> Listing:
    """A list in the official EchoJEPA format, `PATH LABEL` or `VIEW1 VIEW2 ... LABEL`, without a header.

    Delimited by spaces, or by "::" where that occurs; an absent view is `MISS`. A name that holds train, val
    or test says the split. The label is taken where `--columns LABEL:UNIT=label` names it. The views of a
    line are of one study.
    """
    if not path.is_file():
        raise LayoutError(f"{path} is not a file; give the lists themselves, one for each split")
    _, labels = named_columns(config)
    listing, split = Listing(), split_in(path.stem)
    for *videos, label in list_lines(path):
        present = [video for video in videos if video != MISS]
        name = owner(path.parent / present[0], config) if present else ""
        for video in videos:
            if video == MISS:
                listing.leave_out("view that a study lacks (MISS)", label)
            elif "://" in video:
                listing.leave_out("address of an object store; copy the files first", video)
            else:
                stated = Stated(patient=name, study=name, split=split)
                if listing.add_video(path.parent / video, stated):
                    row = {"label": label}
                    check_columns(path, row, labels.values())
                    add_labels(listing, stated, path.parent / video, labels, row)
    if not labels and listing.videos:
        listing.leave_out("labels without a name (--columns LABEL:UNIT=label)", path)
    return listing


def split_in(name: str) -> Split | None:
    """The split that a list's name holds."""
    words = "".join(letter if letter.isalpha() else " " for letter in name).split()
    return next((split for split in map(split_of, words) if split), None)


def list_lines(path: Path) -> Iterator[list[str]]:
    """Entries of each line; LayoutError for a line without a path and a label."""
    for number_, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.strip():
            parts = line.strip().split("::") if "::" in line else line.split()
            if len(parts) < 2:
                raise LayoutError(f"{path}, line {number_}: a path and a label are expected")
            yield [part.strip() for part in parts]
