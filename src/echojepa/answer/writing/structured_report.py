"""What goes back to the archive: a DICOM SR (TID 1500) in the study it is of, and one key image.

Both carry the source's patient and study modules unchanged and are readable by their owner alone. One rule
makes them the same bytes for the same study and model: UIDs are 2.25 and a hash of the model's checksum, the
study's UID, what is named and, for an object, the loops that were there, so that a study with more of them
gets another report in the same series; dates and times are the study's, 1900-01-01 where it states none.
Series and instances are new. Codes: LOINC, SNOMED CT and UCUM, as DICOM PS3.16 has them (CID 12200, 12204).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from echojepa.answer.values import NOTICE, Interval, LoopFinding, StudyAnswer, TaskAnswer
from echojepa.data.identity.deidentify import discreetly
from echojepa.data.reading.dicom.attributes import day, value
from echojepa.data.store.memory import loop_of
from echojepa.errors import UserError
from echojepa.files.durable import write_file
from echojepa.report.page import fitted_into

REPORT, KEY_IMAGE = "prediction.sr.dcm", "prediction.key.dcm"
Code = tuple[str, str, str]
"""Value, scheme and meaning."""
CODES: dict[str, Code] = {
    "lvef": ("18043-0", "LN", "Left Ventricular Ejection Fraction by US"),
    "rvsp": ("399023006", "SCT", "Right Ventricular Peak Systolic Pressure"),
}
UNITS: dict[str, Code] = {"%": ("%", "UCUM", "percent"), "mmHg": ("mm[Hg]", "UCUM", "mmHg")}
OWN = "99ECHOJEPA"
"""Scheme of codes for a user's own tasks."""
PROCEDURE: Code = ("40701008", "SCT", "Echocardiography")
HEART: Code = ("80891009", "SCT", "Heart")
COMMENT: Code = ("121106", "DCM", "Comment")
REVIEW: Code = ("REVIEW", OWN, "Verdict of a reader")
NUMBERS = 9001, 9002
"""Series numbers, beyond those that scanners give."""
PICTURE = 640


def check_installed() -> Any:
    """The library; UserError where it is not installed."""
    try:
        return import_module("highdicom")
    except ImportError:
        raise UserError("a DICOM SR needs highdicom; run: pip install 'echojepa[dicom-sr]'") from None


def write_dicom_objects(answer: StudyAnswer, folder: Path) -> list[Path]:
    """Write both; nothing where the study has no answer, or none that rests on a DICOM file. The library
    warns of unusual names, and quotes them: not aloud."""
    answered = [task for task in answer.tasks if task.value is not None and sources_of(answer, task)]
    if not answered:
        return []
    place = ReturnAddress.of(answer, sources_of(answer, answered[0])[0])
    with discreetly():
        objects = {
            REPORT: report_of(answer, answered, place),
            KEY_IMAGE: key_image_of(answer, answered, place),
        }
        for name, made in objects.items():
            write_file(folder / name, lambda file, made=made: made.save_as(file), private=True)
    return [folder / name for name in objects]


def sources_of(answer: StudyAnswer, task: TaskAnswer) -> list[LoopFinding]:
    """The loops with a DICOM header that a task rests on, the weightiest first."""
    loops = {loop.number: loop for loop in answer.loops}
    return [loop for share in task.loops if (loop := loops[share.loop]).header is not None]


def uid_of(text: str) -> str:
    """The UID that is a hash of some words."""
    return f"2.25.{int(hashlib.sha256(text.encode()).hexdigest()[:32], 16)}"


@dataclass(frozen=True)
class ReturnAddress:
    """Where results belong, and what makes their ids and times."""

    header: Any
    """Of the weightiest source."""
    model: str
    """Checksum of the model."""
    loops: str
    """SOPInstanceUIDs of all loops of the study that have one."""
    date: str
    time: str

    @classmethod
    def of(cls, answer: StudyAnswer, loop: LoopFinding) -> ReturnAddress:
        """That of a study, by one of its loops."""
        stated = day(loop.header, "StudyDate")
        time = "".join(c for c in str(value(loop.header, "StudyTime") or "") if c.isdigit())[:6]
        whole = time if len(time) == 6 else "000000"
        loops = sorted(str(one.header.SOPInstanceUID) for one in answer.loops if one.header is not None)
        date = stated.strftime("%Y%m%d") if stated else "19000101"
        return cls(loop.header, answer.model.sha256, "/".join(loops), date, whole)

    def uid(self, what: str) -> str:
        """A UID of something of this model and study."""
        return uid_of(f"{self.model}/{self.header.StudyInstanceUID}/{what}")

    def settle(self, made: Any) -> Any:
        """An object with the source's patient and study modules, and no clock of this machine."""
        made.copy_patient_and_study_information(self.header)
        for what in ("InstanceCreation", "Content", "Series"):
            for part, text in (("Date", self.date), ("Time", self.time)):
                setattr(made, what + part, text)
        for equipment in made.ContributingEquipmentSequence:
            equipment.ContributionDateTime = self.date + self.time
        made.SeriesDescription = f"EchoJEPA: {NOTICE}"
        return made


def report_of(answer: StudyAnswer, answered: Sequence[TaskAnswer], place: ReturnAddress) -> Any:
    """The SR with a measurement group a task."""
    sr = check_installed().sr
    algorithm = sr.AlgorithmIdentification(
        name=f"EchoJEPA {answer.model.name}",
        version=answer.model.version,
        parameters=[f"model sha256 {answer.model.sha256}", NOTICE],
    )
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=place.uid("device"), name="EchoJEPA", model_name=answer.model.name
    )
    observer = sr.ObserverContext(
        observer_type=concept(("121007", "DCM", "Device")), observer_identifying_attributes=device
    )
    sources = {
        str(loop.header.SOPInstanceUID): loop.header for task in answered for loop in sources_of(answer, task)
    }
    content = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=observer),
        procedure_reported=concept(PROCEDURE),
        imaging_measurements=[measured(answer, task, algorithm, place) for task in answered],
    )
    content[0].ContentSequence.extend(text_item(COMMENT, sentence) for sentence in comments(answer))
    made = sr.EnhancedSR(
        evidence=list(sources.values()),
        content=content[0],
        series_instance_uid=place.uid("series of reports"),
        series_number=NUMBERS[0],
        sop_instance_uid=place.uid(f"report/{place.loops}"),
        instance_number=1,
        manufacturer="echojepa",
        is_complete=True,
        is_final=False,
        is_verified=False,
    )
    return place.settle(made)


def write_reviews(path: Path, sentences: Sequence[str]) -> None:
    """Put what a person said of the answers into an SR, in place of what was said before; it becomes another
    instance of its series, by a hash of the sentences."""
    with discreetly():
        made = check_installed().sr.srread(path)
        kept = [
            item for item in made.ContentSequence if item.ConceptNameCodeSequence[0].CodeValue != REVIEW[0]
        ]
        made.ContentSequence = [*kept, *(text_item(REVIEW, sentence) for sentence in sentences)]
        made.SOPInstanceUID = uid_of("/".join((made.SeriesInstanceUID, *sentences)))
        made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
        write_file(path, lambda file: made.save_as(file), private=True)


def text_item(name: Code, sentence: str) -> Any:
    """A sentence in an SR."""
    return check_installed().sr.TextContentItem(
        name=concept(name), value=sentence, relationship_type="CONTAINS"
    )


def measured(answer: StudyAnswer, task: TaskAnswer, algorithm: Any, place: ReturnAddress) -> Any:
    """A task's measurement group: value, the ends of its interval as uncertainty, and its source loops."""
    sr = check_installed().sr
    assert task.value is not None and task.interval is not None
    loops = sources_of(answer, task)
    unit = concept(UNITS.get(task.unit, (task.unit or "1", "UCUM", task.unit or "no units")))
    return sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=place.uid(f"tracking {task.name}"), identifier=task.name
        ),
        algorithm_id=algorithm,
        finding_sites=[sr.FindingSite(concept(HEART))],
        measurements=[
            sr.Measurement(
                name=concept(CODES.get(task.name, (task.name.upper()[:16], OWN, task.name))),
                value=float(f"{task.value:.6g}"),
                unit=unit,
                properties=uncertainty(task.value, task.interval, unit),
                referenced_images=[
                    sr.SourceImageForMeasurement(
                        referenced_sop_class_uid=loop.header.SOPClassUID,
                        referenced_sop_instance_uid=loop.header.SOPInstanceUID,
                    )
                    for loop in loops
                ],
            )
        ],
    )


def uncertainty(middle: float, interval: Interval, unit: Any) -> Any:
    """How far an interval reaches from its value, in the value's unit."""
    found = check_installed().sr.MeasurementProperties(
        upper_measurement_uncertainty=float(f"{interval.high - middle:.6g}"),
        lower_measurement_uncertainty=float(f"{middle - interval.low:.6g}"),
    )
    for item in found:  # the library takes them for pure numbers
        item.MeasuredValueSequence[0].MeasurementUnitsCodeSequence = [unit]
    return found


def comments(answer: StudyAnswer) -> list[str]:
    """What is to be read beside the numbers."""
    found = [NOTICE]
    for task in answer.tasks:
        if task.interval and task.value is not None:
            found.append(
                f"{CODES.get(task.name, ('', '', task.name))[2]}: {task.value:.0f} {task.unit}. "
                f"{task.interval.low:.0f} to {task.interval.high:.0f} {task.unit} is the "
                f"{100 * task.interval.level:.0f} % prediction interval, calibrated on "
                f"{task.interval.patients} patients; it is stated as measurement uncertainty."
            )
        else:
            found.append(f"{task.name}: no answer, {task.abstention}: {task.detail}.")
    if answer.model.synthetic == "all":
        found.append("The model was trained on a synthetic phantom alone: no number here is clinical.")
    return found


def concept(code: Code) -> Any:
    """A coded concept."""
    return check_installed().sr.CodedConcept(value=code[0], scheme_designator=code[1], meaning=code[2])


def key_image_of(answer: StudyAnswer, answered: Sequence[TaskAnswer], place: ReturnAddress) -> Any:
    """A picture of the weightiest loop with the numbers below it."""
    library = check_installed()
    shown = sources_of(answer, answered[0])[0]
    lines = [
        f"{task.name.upper()}  {task.value:.0f} {task.unit}   "
        f"({100 * task.interval.level:.0f} % interval {task.interval.low:.0f} to {task.interval.high:.0f})"
        for task in answered
        if task.value is not None and task.interval is not None
    ]
    lines += [f"EchoJEPA {answer.model.name}, model {answer.model.sha256[:12]}", NOTICE]
    made = library.sc.SCImage.from_ref_dataset(
        place.header,
        pixel_array=key_picture(shown, lines),
        photometric_interpretation="RGB",
        bits_allocated=8,
        coordinate_system="PATIENT",
        series_instance_uid=place.uid("series of key images"),
        series_number=NUMBERS[1],
        sop_instance_uid=place.uid(f"key image/{place.loops}"),
        instance_number=1,
        manufacturer="echojepa",
        patient_orientation=("L", "P"),
    )
    made.Modality, made.PatientOrientation = "OT", None  # the library asks for one; a page has none
    made.DateOfSecondaryCapture, made.TimeOfSecondaryCapture = place.date, place.time
    return place.settle(made)


def key_picture(loop: LoopFinding, lines: Sequence[str]) -> NDArray[np.uint8]:
    """(H, W, 3): the middle frame, unless it is withheld, above lines of text."""
    canvas = Image.new("RGB", (PICTURE, PICTURE + 34 * len(lines) + 16))
    if not loop.picture_withheld:
        frame = loop_of(loop.row).frames([loop.frames // 2])[0]
        picture = fitted_into(frame, PICTURE)
        canvas.paste(picture, ((PICTURE - picture.width) // 2, (PICTURE - picture.height) // 2))
    pen, font = ImageDraw.Draw(canvas), ImageFont.load_default(size=22)
    for number, line in enumerate(lines):
        pen.text((14, PICTURE + 8 + 34 * number), line, fill=(235, 240, 245), font=font)
    return np.asarray(canvas)
