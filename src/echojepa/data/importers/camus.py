"""CAMUS (CREATIS, Lyon): apical cines of half a heart beat, in its NIfTI release and in the older one.

A folder a patient: in `database_nifti/`, beside `database_split/`; the older, MetaImage, in `training/` and
`testing/`, each of which counts its patients from 1. Pictures are the bare sector, without text.
"""

from __future__ import annotations

from pathlib import Path

from echojepa.config import IngestConfig
from echojepa.data.identity.people import GUARDED
from echojepa.data.importers.listing import LayoutError, Listing, Stated, number, sex_of
from echojepa.vocabulary import Split, View

VIEWS = {"4CH": View.A4C, "2CH": View.A2C}
"""Their names of the views. Four chambers first: where the two name different LVEF, its own counts."""
CINES = ("half_sequence.nii.gz", "sequence.mhd")
SUBGROUPS = {Split.TRAIN: "training", Split.VAL: "validation", Split.TEST: "testing"}
LABELS = (
    ("lvef", ("EF", "LVef"), "%"), ("edv", ("LVedv",), "mL"), ("esv", ("LVesv",), "mL"),
)  # fmt: skip
"""Label, its names in either release, unit; both views state those of the patient."""
QUALITY = {"poor": 0, "medium": 1, "good": 2}


def read_camus(folder: Path, config: IngestConfig) -> Listing:
    """Cines of both views with what `Info_*.cfg` says; LayoutError for a folder that holds neither release.

    Stills are frames of the cines and masks are no video: both are counted.
    """
    listing = Listing()
    if (folder / "database_nifti").is_dir():
        splits = subgroups(folder / "database_split")
        for patient in people(folder / "database_nifti"):
            if patient.name in splits:
                add_patient(listing, patient, f"camus/{patient.name}", splits[patient.name], config)
            else:
                listing.leave_out("patient in no official split", patient.name)
        return listing
    present = [split for split in (Split.TRAIN, Split.TEST) if (folder / SUBGROUPS[split]).is_dir()]
    if not present:
        raise LayoutError(
            f"{folder} contains neither database_nifti (with database_split) nor training or testing; "
            "give the folder that contains them"
        )
    for split in present:
        for patient in people(folder / SUBGROUPS[split]):
            study = f"camus-older/{SUBGROUPS[split]}/{patient.name}"
            add_patient(listing, patient, study, split, config)
    return listing


def people(folder: Path) -> list[Path]:
    """The patients' folders."""
    return sorted(path for path in folder.glob("patient*") if path.is_dir())


def subgroups(folder: Path) -> dict[str, Split]:
    """The official split of each patient; LayoutError where a list is not there."""
    splits: dict[str, Split] = {}
    for split in GUARDED:
        path = folder / f"subgroup_{SUBGROUPS[split]}.txt"
        if not path.is_file():
            raise LayoutError(
                f"{path} does not exist; download database_split too, which contains the official splits"
            )
        for name in path.read_text(encoding="utf-8").split():
            splits.setdefault(name, split)
    return splits


def add_patient(listing: Listing, folder: Path, study: str, split: Split, config: IngestConfig) -> None:
    """A patient's cines and labels; each patient has one study."""
    taken = set[str]()
    for name, view in VIEWS.items():
        path = next(
            (p for p in (folder / f"{folder.name}_{name}_{end}" for end in CINES) if p.is_file()), None
        )
        info_path = folder / f"Info_{name}.cfg"
        if path is None:
            listing.leave_out("view without a cine", f"{folder.name} {name}")
            continue
        taken.add(path.name)
        info = read_info(info_path) if info_path.is_file() else {}
        if not info:
            listing.leave_out("cine without its Info_*.cfg", path)
        stated = number(info.get("FrameRate"))
        rate = stated or config.frame_rate
        if rate is None:
            listing.leave_out("cine without a frame rate (give one for all with --frame-rate)", path)
            continue
        facts = Stated(
            patient=study,
            study=study,
            split=split,
            view=view,
            frame_rate=listing.frame_rate(rate, path),
            rate_source="table" if stated else "setting",
            sex=sex_of(info.get("Sex")),
            age=number(info.get("Age")),
            cropped=True,
        )
        if listing.add_video(path, facts):
            add_labels(listing, study, view, info)
    count_others(listing, folder, taken)


def read_info(path: Path) -> dict[str, str]:
    """`Key: value` lines."""
    pairs = (line.partition(":") for line in path.read_text(encoding="utf-8").splitlines())
    return {key.strip(): value.strip() for key, colon, value in pairs if colon}


def add_labels(listing: Listing, study: str, view: View, info: dict[str, str]) -> None:
    """Volumes and LVEF of the patient; quality, and the frames of diastole and systole, of the view.

    Frames count from 0 here and from 1 there. Either can be the first: then the cine shows filling.
    """
    for label, names, unit in LABELS:
        for name in names:
            listing.add_label(study, label, info.get(name), unit)
    suffix = view.lower()
    for label, name in (("ed_frame", "ED"), ("es_frame", "ES")):
        frame = number(info.get(name))
        listing.add_label(study, f"{label}_{suffix}", info.get(name) if frame is None else frame - 1, "frame")
    quality = info.get("ImageQuality", "")
    listing.add_label(
        study, f"image_quality_{suffix}", QUALITY.get(quality.lower(), quality), "0 poor, 1 medium, 2 good"
    )


def count_others(listing: Listing, folder: Path, taken: set[str]) -> None:
    """Note the pictures that are not read."""
    for path in sorted(folder.iterdir()):
        if path.name in taken or not path.name.endswith((".nii.gz", ".mhd")):
            continue
        mask = path.name.removesuffix(".nii.gz").removesuffix(".mhd").endswith("_gt")
        listing.leave_out(
            "mask of a segmentation" if mask else "still that its cine contains, or unknown file", path
        )
