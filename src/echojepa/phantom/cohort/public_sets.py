"""Public data sets' layouts, filled with synthetic patients, so that their importers have something to read.

Names of files, columns and units are the publishers'; what the importers in `data.importers` know of them is
what is written here. Not one row, name or picture is theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from echojepa.data.identity.splits import assign_split
from echojepa.data.reading.video import write_video
from echojepa.errors import UserError
from echojepa.files.tables import write_csv
from echojepa.phantom.cohort.loops import record_loop
from echojepa.phantom.cohort.presets import Order
from echojepa.phantom.cohort.sidecar import LoopTruth, loop_truth
from echojepa.phantom.cohort.sites import Planned, Protocol
from echojepa.phantom.cohort.study import Drawn, Study
from echojepa.phantom.cohort.writers import Labels, Writer, write_dicom
from echojepa.phantom.heart.patients import Patient
from echojepa.phantom.heart.truth import Truth
from echojepa.randomness import derive_seed
from echojepa.vocabulary import Split, View

Row = dict[str, object]
CHORDS = 20
"""Chords of a tracing, as EchoNet-Dynamic has them."""


class TableWriter(Writer):
    """A layout of files and tables: workers write files and return rows, which become tables at the end."""

    def __init__(self, order: Order) -> None:
        super().__init__(order)
        self.rows: dict[str, list[Row]] = {}

    def take(self, made: dict[str, list[Row]]) -> None:
        """Collect rows by table."""
        for table, rows in made.items():
            self.rows.setdefault(table, []).extend(rows)

    def finish(self, labels: Labels) -> None:
        """Write the tables."""
        for table, rows in self.rows.items():
            path = self.order.out / table
            path.parent.mkdir(parents=True, exist_ok=True)
            write_csv(path, rows)


def squared(pictures: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Pictures (T, h, w) in the middle of a black square of `side` pixels."""
    height, width = pictures.shape[1:3]
    left, top = (side - width) // 2, (side - height) // 2
    square = np.zeros((len(pictures), side, side), dtype=np.uint8)
    square[:, top : top + height, left : left + width] = pictures
    return square


def write_square(path: Path, drawn: Drawn, side: int) -> Row:
    """One loop as a square video, unless it is there; what a list says of its format."""
    rate = Fraction(drawn.scanner.frame_rate).limit_denominator(1000)
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, squared(record_loop(drawn).pictures, side), rate)
    return {
        "FrameHeight": side,
        "FrameWidth": side,
        "FPS": f"{float(rate):.3f}",
        "NumberOfFrames": drawn.frames,
    }


def chords(contour: NDArray[np.floating]) -> Iterator[tuple[float, float, float, float]]:
    """A tracing (n, 2) from one side of the base over the apex to the other: its long axis, then chords
    from apex to base, each as two ends."""
    base = (contour[0] + contour[-1]) / 2
    tip = int(np.argmax(np.hypot(*(contour - base).T)))
    apex = contour[tip]
    yield (*apex, *base)
    axis = (base - apex) / np.hypot(*(base - apex))
    wanted = np.linspace(0.03, 0.97, CHORDS) * np.hypot(*(base - apex))
    arms = []
    for arm in (contour[tip::-1], contour[tip:]):
        along = np.maximum.accumulate((arm - apex) @ axis)
        arms.append(np.stack([np.interp(wanted, along, column) for column in arm.T], axis=1))
    for one, other in zip(*arms, strict=True):
        yield (*one, *other)


def tracing_rows(name: str, drawn: Drawn, truth: LoopTruth, side: int) -> list[Row]:
    """Rows of `VolumeTracings.csv`: end-diastole and end-systole of one beat, pixels of the square video."""
    scanner, rows = drawn.scanner, []
    shift = np.array([(side - scanner.width) // 2, (side - scanner.height) // 2])
    for frame, contour in zip((truth.end_diastole, truth.end_systole), truth.contours, strict=True):
        if len(contour) == 0:
            return []
        pixels = truth.pixels(contour, scanner) + shift
        for x1, y1, x2, y2 in chords(pixels):
            ends = {"X1": x1, "Y1": y1, "X2": x2, "Y2": y2}
            rows.append({"FileName": name, **{k: f"{v:.2f}" for k, v in ends.items()}, "Frame": frame})
    return rows


class DynamicWriter(TableWriter):
    """EchoNet-Dynamic: `Videos/`, `FileList.csv`, `VolumeTracings.csv`; a video of A4C a patient."""

    protocol: ClassVar[Protocol | None] = Protocol((Planned(View.A4C),))
    side: ClassVar[int | None] = 112

    @staticmethod
    def make(study: Study, order: Order) -> dict[str, list[Row]]:
        """Write the video; its rows."""
        drawn = study.loops[0]
        name = f"0X{derive_seed(study.seed, 'name', study.ordinal, study.step):016X}"
        facts = write_square(order.out / "Videos" / f"{name}.avi", drawn, order.side)
        truth = loop_truth(drawn)
        volumes = {"EF": truth.lvef, "ESV": truth.esv, "EDV": truth.edv}
        split = str(assign_split(order.seed, study.ordinal)).upper()
        row = {"FileName": name, **{k: f"{v:.3f}" for k, v in volumes.items()}, **facts, "Split": split}
        tracings = tracing_rows(f"{name}.avi", drawn, truth, order.side)
        return {"FileList.csv": [row], "VolumeTracings.csv": tracings}


class PediatricWriter(TableWriter):
    """EchoNet-Pediatric: `A4C/` and `PSAX/`, each with `Videos/` and its tables; ten folds of patients."""

    protocol: ClassVar[Protocol | None] = Protocol((Planned(View.A4C), Planned(View.PSAX_PM)))
    side: ClassVar[int | None] = 112
    site: ClassVar[str | None] = "children"

    @staticmethod
    def make(study: Study, order: Order) -> dict[str, list[Row]]:
        """Write both videos; their rows."""
        tables: dict[str, list[Row]] = {}
        person = derive_seed(study.seed, "name", study.ordinal) % 16**8
        for drawn, folder in zip(study.loops, ("A4C", "PSAX"), strict=True):
            name = f"CR{person:08x}-CR{person ^ study.step:08x}-{drawn.number:06d}.avi"
            facts = write_square(order.out / folder / "Videos" / name, drawn, order.side)
            truth, patient = loop_truth(drawn), drawn.patient
            row: Row = {
                "FileName": name,
                "EF": f"{truth.lvef:.3f}",
                "Sex": "M" if patient.male else "F",
                "Age": f"{patient.age:.2f}",
                "Weight": f"{patient.weight:.1f}",
                "Height": f"{patient.height:.1f}",
                "Split": study.ordinal % 10,
            }
            tables[f"{folder}/FileList.csv"] = [{**row, **facts}]
            tables[f"{folder}/VolumeTracings.csv"] = tracing_rows(name, drawn, truth, order.side)
        return tables


class LvhWriter(TableWriter):
    """EchoNet-LVH: PLAX videos in `Batch1/` to `Batch4/`, a row of `MeasurementsList.csv` a measurement."""

    protocol: ClassVar[Protocol | None] = Protocol((Planned(View.PLAX),))

    @staticmethod
    def make(study: Study, order: Order) -> dict[str, list[Row]]:
        """Write the video; its rows. Measurements are the heart's own, not read off the picture."""
        drawn = study.loops[0]
        name = f"0X{derive_seed(study.seed, 'name', study.ordinal, study.step):016X}"
        folder = order.out / f"Batch{1 + study.ordinal % 4}"
        facts = write_square(folder / f"{name}.avi", drawn, order.side)
        truth = loop_truth(drawn)
        shared: Row = {
            "Frames": facts["NumberOfFrames"],
            "FPS": facts["FPS"],
            "Width": facts["FrameWidth"],
            "Height": facts["FrameHeight"],
            "split": str(assign_split(order.seed, study.ordinal)),
        }
        rows: list[Row] = [
            {"HashedFileName": name, "Calc": calc, "CalcValue": f"{value / 10:.3f}", "Frame": frame, **shared}
            for calc, value, frame in calipers(drawn.patient, truth)
        ]
        return {"MeasurementsList.csv": rows}


def calipers(patient: Patient, truth: LoopTruth) -> list[tuple[str, float, int]]:
    """What a sonographer measures across the ventricle at the mitral tips: name, mm, frame."""
    heart = Truth(patient)
    ventricles = heart.motion.anatomy.ventricles
    columns = ventricles.columns(np.radians([120.0, 300.0]), np.full(2, 0.2))
    (inside, wall), (small, _) = (
        (radii[1], radii[2] - radii[1])
        for radii in (
            np.sqrt(columns.knots(heart.motion.state(patient.rhythm.full(contraction)).squeeze))
            for contraction in (0.0, 1.0)
        )
    )
    return [
        ("LVIDd", float(inside.sum()), truth.end_diastole),
        ("IVSd", float(wall[0]), truth.end_diastole),
        ("LVPWd", float(wall[1]), truth.end_diastole),
        ("LVIDs", float(small.sum()), truth.end_systole),
    ]


class MimicWriter(TableWriter):
    """MIMIC-IV-ECHO: `files/pNN/pSUBJECT/sSTUDY/STUDY_NNNN.dcm`, three tables, measurements in long form."""

    @staticmethod
    def make(study: Study, order: Order) -> dict[str, list[Row]]:
        """Write the files; their rows."""
        subject = 10_000_000 + study.ordinal
        number = 90_000_000 + 100 * study.ordinal + study.step
        folder = Path("files") / f"p{subject // 1_000_000}" / f"p{subject}" / f"s{number}"
        whose: Row = {"subject_id": subject, "study_id": number}
        when, records = "2150-01-01 08:00:00", list[Row]()
        for drawn in study.loops:
            path = folder / f"{number}_{drawn.number + 1:04d}.dcm"
            write_dicom(order.out / path, study, drawn.number, order)
            records.append({**whose, "acquisition_datetime": when, "dicom_filepath": path.as_posix()})
        patient, measurement = study.loops[0].patient, f"{subject}-{number}"
        results: list[tuple[str, float, str]] = [
            ("lvef", loop_truth(study.loops[0]).lvef, "%"),
            ("resting_hr", patient.heart_rate, "bpm"),
            ("height_cm", patient.height, "cm"),
        ]
        measured: list[Row] = [
            {"measurement_id": measurement, "measurement": name, "result": f"{value:.1f}", "unit": unit}
            for name, value, unit in results
        ]
        return {
            "echo-record-list.csv": records,
            "echo-study-list.csv": [{**whose, "study_datetime": when, "measurement_id": measurement}],
            "structured-measurement.csv": measured,
        }


class CamusWriter(Writer):
    """CAMUS, the older release: a folder a patient below `training/` and `testing/`, each view's half beat as
    MetaImage with an `Info_*.cfg`."""

    protocol: ClassVar[Protocol | None] = Protocol((Planned(View.A4C), Planned(View.A2C)))

    @staticmethod
    def make(study: Study, order: Order) -> None:
        """Write both views, frames from end-diastole to end-systole."""
        group = "testing" if assign_split(order.seed, study.ordinal) == Split.TEST else "training"
        folder = order.out / group / f"patient{study.ordinal + 1:04d}"
        folder.mkdir(parents=True, exist_ok=True)
        for drawn, name in zip(study.loops, ("4CH", "2CH"), strict=True):
            path = folder / f"{folder.name}_{name}_sequence.mhd"
            if path.exists():
                continue
            truth, patient = loop_truth(drawn), drawn.patient
            if truth.end_systole <= truth.end_diastole:
                raise UserError(
                    "CAMUS needs loops of at least half a beat, and a loop is shorter; give more --seconds"
                )
            half = record_loop(drawn).pictures[truth.end_diastole : truth.end_systole + 1]
            write_meta_image(path, half, drawn.scanner.mm_per_pixel)
            facts = {
                "ED": 1, "ES": len(half), "NbFrame": len(half), "Sex": "M" if patient.male else "F",
                "Age": int(patient.age), "ImageQuality": "Good",
                "FrameRate": f"{drawn.scanner.frame_rate:.3f}",
                "LVedv": f"{truth.edv:.1f}", "LVesv": f"{truth.esv:.1f}", "LVef": f"{truth.lvef:.1f}",
            }  # fmt: skip
            text = "".join(f"{key}: {value}\n" for key, value in facts.items())
            (folder / f"Info_{name}.cfg").write_text(text, encoding="utf-8")


def write_meta_image(path: Path, frames: NDArray[np.uint8], spacing: float) -> None:
    """A stack (T, H, W) as MetaImage: values in `.raw`, the header that names them last."""
    raw = path.with_suffix(".raw")
    raw.write_bytes(frames.tobytes())
    count, height, width = frames.shape
    header = [
        "ObjectType = Image", "NDims = 3", "BinaryData = True", "BinaryDataByteOrderMSB = False",
        "CompressedData = False", f"ElementSpacing = {spacing:.6f} {spacing:.6f} 1",
        f"DimSize = {width} {height} {count}", "ElementType = MET_UCHAR", f"ElementDataFile = {raw.name}",
    ]  # fmt: skip
    path.write_text("\n".join(header) + "\n", encoding="utf-8")


PUBLIC_WRITERS: dict[str, type[Writer]] = {
    "echonet-dynamic": DynamicWriter,
    "echonet-pediatric": PediatricWriter,
    "echonet-lvh": LvhWriter,
    "mimic-iv-echo": MimicWriter,
    "camus": CamusWriter,
}
"""Names are those of `ingest --from`."""
