"""An ultrasound file's facts and its pixels, still encoded. Identifiers stop here.

What leaves is the allow-list `LoopFacts`: keyed pseudonyms, numbers in plausible ranges, words from closed
lists. Free text never leaves, not even in an error. Facts: DICOM PS3.3, C.7.6.5 (cine), C.8.5.5 (regions).
"""

from __future__ import annotations

import hashlib
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any

from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.sr.codedict import Collection
from pydicom.sr.coding import Code
from pydicom.uid import EnhancedUSVolumeStorage, UltrasoundImageStorage, UltrasoundMultiFrameImageStorage

from echojepa.data.identity.deidentify import coarse_age, discreetly, pseudonym, shifted_day
from echojepa.data.reading.cine import Recording
from echojepa.data.reading.dicom.attributes import VALUE_ERRORS, day, identifier, items, value, within
from echojepa.data.reading.dicom.frame_times import frame_times
from echojepa.data.reading.dicom.framing import read_header, state_syntax, stored_pixels
from echojepa.data.reading.dicom.pixels import open_pixels
from echojepa.data.reading.dicom.regions import kind_of, read_regions, whole_scale
from echojepa.data.reading.rejection import Rejected, refusing
from echojepa.data.reading.video import Video
from echojepa.errors import UserError
from echojepa.vocabulary import SYNTHETIC_MANUFACTURER, Reason, View

HEART_RATES = (10.0, 400.0)
"""Plausible beats a minute."""
_CODES: Any = Collection("CID12226")
VIEW_CODES: dict[View, Code] = {
    View.A2C: _CODES.ApicalTwoChamber,
    View.A3C: _CODES.ApicalLongAxis,
    View.A4C: _CODES.ApicalFourChamber,
    View.PLAX: _CODES.ParasternalLongAxis,
    View.PSAX_AV: _CODES.ParasternalShortAxisAtTheAorticValveLevel,
    View.PSAX_MV: _CODES.ParasternalShortAxisAtTheMitralValveLevel,
    View.PSAX_PM: _CODES.ParasternalShortAxisAtThePapillaryMuscleLevel,
    View.SSN: _CODES.SuprasternalLongAxis,
    View.SUBCOSTAL: _CODES.SubcostalLongAxis,
}
"""Views and their codes in DICOM's context group 12226, Echocardiography Image View."""
OLDER_SCHEMES = {"SNM3": "SRT", "99SDM": "SRT"}
"""Designators of SNOMED-RT before it was called SRT (PS3.16, 8)."""
ULTRASOUND = (
    UltrasoundImageStorage, UltrasoundMultiFrameImageStorage, EnhancedUSVolumeStorage,
    "1.2.840.10008.5.1.4.1.1.6", "1.2.840.10008.5.1.4.1.1.3",
)  # fmt: skip
"""Storage classes of ultrasound, the two retired ones last: what they hold needs no Modality to be told."""

MAKERS: dict[str, str] = {
    SYNTHETIC_MANUFACTURER: SYNTHETIC_MANUFACTURER,
    "philips": "Philips", "ge ": "GE", "g.e.": "GE", "general electric": "GE", "gems": "GE", "ge-": "GE",
    "siemens": "Siemens", "acuson": "Siemens", "canon": "Canon", "toshiba": "Canon",
    "samsung": "Samsung", "medison": "Samsung", "sonosite": "Fujifilm", "fujifilm": "Fujifilm",
    "hitachi": "Hitachi", "aloka": "Hitachi", "mindray": "Mindray", "esaote": "Esaote",
    "butterfly": "Butterfly", "clarius": "Clarius", "hewlett": "Philips", "agilent": "Philips",
    "medistim": "Medistim", "terason": "Terason", "atl": "Philips",
}  # fmt: skip
"""Beginnings of what files name as their maker, in lower case, and the maker's name that leaves."""
OTHER_MAKER = "other"


def example_cines() -> tuple[Path, ...]:
    """The two real MIT-licensed echocardiograms that pydicom and pydicom-data ship.

    Raises UserError naming the package to install when one is absent; nothing is downloaded.
    """
    found = []
    for name in ("examples_ybr_color.dcm", "color3d_jpeg_baseline.dcm"):
        path = get_testdata_file(name, download=False)
        if path is None:
            raise UserError(f"{name} is not installed; run: pip install 'echojepa[demo]'")
        found.append(Path(str(path)))
    return tuple(found)


def open_dicom(content: mmap | bytes, key: bytes) -> Recording:
    """The facts of an ultrasound file and its pixels, still encoded; Rejected for what cannot become a loop.

    `loop_id` covers the encoded pixels too, because files with one SOPInstanceUID and different pixels exist.
    The pixels may look into the content, which must stay open.
    """
    opened = read_header(content)
    data = opened.data
    check_kind(data)
    stored = stored_pixels(opened)
    pixels = open_pixels(data, stored)
    encoded = hashlib.sha256(stored.content).hexdigest()
    instance = identifier(data, "SOPInstanceUID") or encoded
    study = identifier(data, "StudyInstanceUID") or instance
    patient = identifier(data, "PatientID") or f"study {study}"
    person = pseudonym(key, "patient", f"/{patient}")
    regions = read_regions(data, pixels.height, pixels.width)
    times, source, warning = frame_times(data, pixels.count, pixels if isinstance(pixels, Video) else None)
    spacing, aspect = whole_scale(data)
    seen = day(data, "StudyDate")
    return Recording(
        pixels=pixels,
        times=times,
        time_source=source,
        time_warning=warning,
        kind=kind_of(regions, pixels.count),
        patient_id=person,
        study_id=pseudonym(key, "study", study),
        also=_other_ids(data, key, person),
        loop_id=pseudonym(key, "loop", f"{instance}/{encoded}"),
        view=_view(data),
        regions=regions,
        mm_per_pixel=spacing,
        pixel_aspect=aspect,
        heart_rate=within(value(data, "HeartRate"), HEART_RATES),
        sex={"F": "F", "M": "M", "O": "O"}.get(str(value(data, "PatientSex")).strip()),  # pyright: ignore
        age=_age(data),
        study_date=shifted_day(key, person, seen) if seen else None,
        manufacturer=_maker(str(value(data, "Manufacturer") or "")),
    )


def check_kind(data: Dataset) -> None:
    """Rejected unless the header is one of flat ultrasound pictures."""
    with refusing(Reason.TRUNCATED, "its header cannot be read", VALUE_ERRORS):
        state_syntax(data)
        if "Rows" not in data and "SOPClassUID" not in data:
            raise Rejected(Reason.TRUNCATED, "it ends before any image attribute")
        modality, kind = str(data.get("Modality") or "").strip().upper(), data.get("SOPClassUID")
        if modality != "US" and (modality or kind not in ULTRASOUND):
            raise Rejected(Reason.NOT_ULTRASOUND, "Modality is not US")
        if kind == EnhancedUSVolumeStorage:
            raise Rejected(Reason.UNSUPPORTED, "a 3-D volume; only 2-D images are read")


def _other_ids(data: Dataset, key: bytes, person: str) -> tuple[str, ...]:
    """Pseudonyms of a patient's other ids in a file: those stated beside the PatientID, and the PatientID
    with its issuer, which version 1 of the data set used."""
    patient, issuer = identifier(data, "PatientID"), identifier(data, "IssuerOfPatientID")
    names = [f"{issuer}/{patient}"] if patient and issuer else []
    for item in items(data, "OtherPatientIDsSequence"):
        if other := identifier(item, "PatientID"):
            names.append(f"/{other}")
    found = dict.fromkeys(pseudonym(key, "patient", name) for name in names)
    return tuple(one for one in found if one != person)


def _view(data: Dataset) -> View | None:
    for item in items(data, "ViewCodeSequence"):
        scheme = str(value(item, "CodingSchemeDesignator")).strip()
        stated = Code(str(value(item, "CodeValue")).strip(), OLDER_SCHEMES.get(scheme, scheme), "")
        for view, code in VIEW_CODES.items():
            if stated == code:  # pydicom knows what SNOMED-RT calls a code of SNOMED CT
                return view
    return None


def _age(data: Dataset) -> float | None:
    """PatientAge ("045Y", "003W"), else from the day of birth to that of the study."""
    stated = str(value(data, "PatientAge") or "").strip()
    days = {"D": 1.0, "W": 7.0, "M": 365.25 / 12, "Y": 365.25}
    if stated[:-1].isascii() and stated[:-1].isdecimal() and stated[-1] in days:
        return coarse_age(int(stated[:-1]) * days[stated[-1]] / 365.25)
    born, seen = day(data, "PatientBirthDate"), day(data, "StudyDate")
    return coarse_age((seen - born).days / 365.25) if born and seen else None


def _maker(stated: str) -> str:
    """A name of the closed list, "other", or "" where none is stated."""
    words = f"{stated.strip().lower()} "
    if not words.strip():
        return ""
    return next((name for start, name in MAKERS.items() if words.startswith(start)), OTHER_MAKER)


def header_of(source: Path | bytes) -> Dataset | None:
    """All attributes of a file, or of its bytes, but its pixels and what does not parse, identifiers among
    them; None where it is no DICOM file. Only what goes back to the file's own archive may keep them."""
    if isinstance(source, Path):
        with source.open("rb") as file:
            content: mmap | bytes = mmap(file.fileno(), 0, access=ACCESS_READ)
    else:
        content = source
    with discreetly():
        try:
            data = read_header(content).data
        except Rejected:
            return None
        if "PixelData" in data:
            del data.PixelData
        for tag in list(data.keys()):
            try:
                data[tag]
            except VALUE_ERRORS:
                del data[tag]
        data.buffer = None  # all values are read: the file need not stay open
    return data
