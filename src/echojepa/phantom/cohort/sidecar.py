"""The truth of each loop as a row of `truth.parquet`: what was drawn, and what the heart did meanwhile."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from echojepa.phantom.cohort.study import Drawn, Study
from echojepa.phantom.heart.patients import Patient
from echojepa.phantom.heart.truth import Contour, Truth
from echojepa.phantom.scanner.settings import Scanner

Line = NDArray[np.floating]
"""(n, 2) mm right of and below the beams' origin."""


OF_THE_HEART = (
    "lvef", "edv", "esv", "rvsp", "volume", "contour_ed", "contour_es", "landmarks", "ed_frame", "es_frame",
)  # fmt: skip
"""Columns that are null where there is none."""


@dataclass(frozen=True)
class LoopTruth:
    """What a heart did during one loop, and what is drawn where in its picture."""

    phase: NDArray[np.float64]
    """(T,) 0 at an R wave, 1 at the next."""
    volume: NDArray[np.float64]
    """(T,) left ventricular volume, ml."""
    r_waves: NDArray[np.float64]
    """From the last R wave before the loop to the first after it, s after its first frame."""
    end_diastole: int
    """Frame at the R wave of one systole."""
    end_systole: int
    """Frame of the smallest volume after it."""
    lvef: float
    """Ejection fraction, %, of a full beat, from the geometry's volumes."""
    edv: float
    """Its end-diastolic volume, ml."""
    esv: float
    """Its end-systolic volume, ml."""
    rvsp: float
    """Right ventricular systolic pressure, mmHg."""
    contours: tuple[Line, Line]
    """Left ventricular cavity at the two frames, from one side of the mitral plane over the apex to the other
    (once around where the plane misses that); empty where it misses the cavity."""
    landmarks: dict[str, list[float]]
    """Named points at `end_diastole`: mm right, down, and off the plane."""

    def pixels(self, contour: Line, scanner: Scanner) -> Line:
        """A contour's points as columns and rows of the bare picture."""
        return contour / scanner.mm_per_pixel + np.array([scanner.width // 2, -0.5])


@lru_cache(maxsize=1)
def truth_of(patient: Patient) -> Truth:
    """What is true of a patient: measured once for all loops of a study, which follow one another."""
    return Truth(patient)


def loop_truth(drawn: Drawn) -> LoopTruth:
    """What the heart did during a loop."""
    patient, rhythm, truth = drawn.patient, drawn.patient.rhythm, truth_of(drawn.patient)
    times = drawn.start + np.arange(drawn.frames) / drawn.scanner.frame_rate
    instants = [rhythm.at(float(time)) for time in times]
    volume = patient.edv * (1 - patient.ejection * np.array([instant.contraction for instant in instants]))
    waves = rhythm.r_waves
    low, high = np.searchsorted(waves, times[0], "right") - 1, np.searchsorted(waves, times[-1])
    diastole, systole = ends_of_systole(times, volume, waves)
    return LoopTruth(
        phase=np.array([instant.phase for instant in instants]),
        volume=volume,
        r_waves=waves[low : high + 1] - times[0],
        end_diastole=diastole,
        end_systole=systole,
        lvef=truth.lvef,
        edv=truth.extremes[0].left_ventricle,
        esv=truth.extremes[1].left_ventricle,
        rvsp=truth.rvsp,
        contours=(contour_at(truth, drawn, times[diastole]), contour_at(truth, drawn, times[systole])),
        landmarks=landmarks_at(truth, drawn, times[diastole]),
    )


def ends_of_systole(
    times: NDArray[np.float64], volume: NDArray[np.float64], waves: NDArray[np.float64]
) -> tuple[int, int]:
    """Frames of end-diastole and end-systole of the first systole that lies whole in the loop; in a loop
    without one, the frames of the largest and the smallest volume, in whichever order."""
    for begin, end in pairwise(waves[(waves >= times[0]) & (waves < times[-1] + 2)]):
        beat = np.flatnonzero((times >= begin) & (times < end))
        if len(beat) > 2:
            systole = int(beat[np.argmin(volume[beat])])
            if beat[0] < systole < len(times) - 1:
                return int(beat[0]), systole
    return int(np.argmax(volume)), int(np.argmin(volume))


def contour_at(truth: Truth, drawn: Drawn, time: float) -> Line:
    """The cavity's border at a time, open at the mitral plane where that is cut."""
    return opened(truth.contour(drawn.pose, time, drawn.drift.at(time)))


def opened(contour: Contour) -> Line:
    """An outline without its stretch along the mitral plane, beginning and ending at its ends."""
    if len(contour.annulus) == 0:
        return contour.outline
    first, last = (int(np.argmin(np.hypot(*(contour.outline - end).T))) for end in contour.annulus)
    return np.roll(contour.outline, -last, axis=0)[: (first - last) % len(contour.outline) + 1]


def landmarks_at(truth: Truth, drawn: Drawn, time: float) -> dict[str, list[float]]:
    """Named points as the picture's plane sees them."""
    pose = drawn.pose
    axes = np.stack([pose.lateral, pose.depth, np.cross(pose.lateral, pose.depth)])
    shift = drawn.drift.at(time)
    return {
        name: (axes @ (point + shift - pose.probe)).tolist() for name, point in truth.landmarks(time).items()
    }


def truth_table(study: Study) -> pa.Table:
    """A row a loop: identity, labels, what the heart did, and every drawn value."""
    looked = zip(study.loops, study.names(), strict=True)
    return pa.Table.from_pylist([truth_row(study, drawn, name) for drawn, name in looked])


def truth_row(study: Study, drawn: Drawn, name: str) -> dict[str, Any]:
    """One loop; without a heart its labels, volumes, contours and landmarks are null."""
    truth, patient, scanner = loop_truth(drawn), drawn.patient, drawn.scanner
    row = {
        "patient_id": study.patient_id,
        "study_id": study.study_id,
        "loop_id": study.loop_id(drawn),
        "ordinal": study.ordinal,
        "number": drawn.number,
        "name": name,
        "view": str(drawn.view),
        "site": drawn.site,
        "factor": study.factor or "",
        "factor_step": study.step,
        "factor_value": study.value,
        "synthetic": True,
        "lvef": truth.lvef,
        "edv": truth.edv,
        "esv": truth.esv,
        "rvsp": truth.rvsp,
        "frame_rate": scanner.frame_rate,
        "phase": truth.phase.astype(np.float32),
        "volume": truth.volume.astype(np.float32),
        "r_waves": truth.r_waves,
        "contour_ed": truth.contours[0].astype(np.float32).tolist(),
        "contour_es": truth.contours[1].astype(np.float32).tolist(),
        "landmarks": truth.landmarks,
        "ed_frame": truth.end_diastole,
        "es_frame": truth.end_systole,
        "start": drawn.start,
        "speckle_seed": drawn.chance.speckle,
        "patient": asdict(patient),
        "pose": {key: value.tolist() for key, value in vars(drawn.pose).items()},
        "drift": {key: np.asarray(value).tolist() for key, value in vars(drawn.drift).items()},
        "scanner": asdict(scanner),
    }
    return row if drawn.heart else row | dict.fromkeys(OF_THE_HEART)
