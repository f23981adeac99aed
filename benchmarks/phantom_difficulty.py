"""How hard the phantom is: what little a shortcut gets, and what geometry allows.

Synthetic data throughout. On a data set of `echojepa simulate --layout store`, with its `truth.parquet`:

    echojepa simulate --preset benchmark --patients 400 --out SLICE
    python benchmarks/phantom_difficulty.py SLICE --out difficulty.json

LVEF (mean absolute error over test patients, points of %): the constant; brightness and heart rate; ridge on
one frame's pixels; discs in two true planes; one plane as drawn. Views (accuracy over test loops, %): the
commonest; logistic regression on down-sampled pixels. Every model is fitted to training patients and chosen
on validation patients. What a network learns from clips is measured by `phantom_signal.py`.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.preprocessing import StandardScaler

from echojepa.config import SimulateConfig
from echojepa.data.clips.clips import letterbox
from echojepa.data.reading.frames import luma
from echojepa.data.store.loop_store import LoopStore
from echojepa.files.records import decode
from echojepa.phantom.cohort.presets import order_of
from echojepa.phantom.cohort.sidecar import opened
from echojepa.phantom.cohort.study import draw_study
from echojepa.phantom.heart.anatomy import Anatomy
from echojepa.phantom.heart.patients import Patient
from echojepa.phantom.heart.truth import Truth
from echojepa.phantom.heart.views import standard_pose
from echojepa.vocabulary import Split, View

Array = NDArray[Any]
SIDE, RATE, FRAMES = 64, 16.0, 40
"""Side of the pictures that are kept; frames a second, and how many, that are looked at."""
ALPHAS = (1e0, 1e1, 1e2, 1e3, 1e4, 1e5)


@dataclass
class Loops:
    """What is known of each loop, in row order."""

    views: Array
    splits: Array
    studies: Array
    heart_rates: Array
    lvef: Array
    pictures: Array
    """(N, SIDE, SIDE) grey, of one frame each."""
    brightness: Array
    """Mean grey within the sector."""

    def rows(self, split: Split, views: Sequence[View] | None = None) -> Array:
        """Rows of a split, of some views."""
        chosen = self.splits == split
        if views is not None:
            chosen &= np.isin(self.views, list(views))
        return np.flatnonzero(chosen)


def read_loops(store: LoopStore) -> Loops:
    """Everything in memory, small."""
    meta = store.metadata().to_pydict()
    labels = {r["study_id"]: r["value"] for r in store.labels().to_pylist() if r["label"] == "lvef"}
    pictures, brightness = [], []
    for row in range(len(meta["loop_id"])):
        times = store.loop(row).times
        wanted = np.clip(np.searchsorted(times, np.arange(FRAMES) / RATE), 0, len(times) - 1)
        frames = store.frames(row, wanted.tolist())
        grey = luma(frames) if frames.ndim == 4 else frames
        brightness.append(float(grey[:, store.mask(row)].mean()))
        square = letterbox(grey[FRAMES // 2, None]).float()
        pictures.append(F.interpolate(square[0][:, None], (SIDE, SIDE), mode="area")[0, 0].byte().numpy())
    lvef = np.array([labels[study] for study in meta["study_id"]])
    views, splits, studies, rates = (
        np.array(meta[name]) for name in ("view", "split", "study_id", "heart_rate")
    )
    return Loops(views, splits, studies, rates, lvef, np.stack(pictures), np.array(brightness))


def by_study(loops: Loops, rows: Array, predicted: Array) -> tuple[Array, Array]:
    """Mean prediction and label of each study."""
    studies = loops.studies[rows]
    names = np.unique(studies)
    return (
        np.array([predicted[studies == name].mean() for name in names]),
        np.array([loops.lvef[rows][studies == name][0] for name in names]),
    )


def error(loops: Loops, rows: Array, predicted: Array) -> float:
    """Mean absolute error over studies."""
    mean, label = by_study(loops, rows, predicted)
    return float(np.abs(mean - label).mean())


APICAL = (View.A4C, View.A2C)


def ridge_error(loops: Loops, features: Array) -> float:
    """Ridge from features (N, D) to LVEF, its penalty chosen on validation patients."""
    train, val, test = (loops.rows(split, APICAL) for split in (Split.TRAIN, Split.VAL, Split.TEST))
    scale = StandardScaler().fit(features[train])
    tried = []
    for alpha in ALPHAS:
        model = Ridge(alpha=alpha).fit(scale.transform(features[train]), loops.lvef[train])
        tried.append(
            tuple(error(loops, rows, model.predict(scale.transform(features[rows]))) for rows in (val, test))
        )
    return min(tried)[1]


def lvef_shortcuts(loops: Loops) -> dict[str, float]:
    """What needs no video."""
    train, test = loops.rows(Split.TRAIN, APICAL), loops.rows(Split.TEST, APICAL)
    constant = by_study(loops, train, loops.lvef[train])[1].mean()
    pictures = loops.pictures.astype(np.float32)
    small = pictures.reshape(-1, 32, 2, 32, 2).mean((2, 4)).reshape(len(pictures), -1)
    return {
        "constant": error(loops, test, np.full(len(test), constant)),
        "brightness and heart rate": ridge_error(
            loops, np.stack([loops.brightness, loops.heart_rates], axis=1)
        ),
        "ridge on one frame": ridge_error(loops, small),
    }


def area_length(contour: Array) -> float:
    """Volume of one plane's tracing (n, 2) in mm: 8 A^2 / (3 pi L), ml."""
    x, y = contour.T
    area = abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1))) / 2
    base = (contour[0] + contour[-1]) / 2
    return 8 * area**2 / (3 * np.pi * np.hypot(*(contour - base).T).max()) / 1000


def lvef_geometry(folder: Path, loops: Loops) -> dict[str, float]:
    """What geometry allows: one plane as the sonographer drew it, two planes without foreshortening."""
    truth = pq.read_table(folder / "truth.parquet").to_pylist()
    test = set(loops.studies[loops.splits == Split.TEST])
    rows = [row for row in truth if row["study_id"] in test and row["view"] == View.A4C and row["contour_ed"]]
    single = []
    for row in rows:
        ed, es = (area_length(np.array(row[f"contour_{name}"])) for name in ("ed", "es"))
        single.append(100 * (1 - es / ed) - row["lvef"])
    text = (folder / "config.json").read_text(encoding="utf-8")
    order = order_of(decode(SimulateConfig, text))
    biplane = []
    for ordinal in sorted({row["ordinal"] for row in rows}):
        patient = draw_study(order, ordinal).loops[0].patient
        biplane.append(biplane_ejection(patient) - Truth(patient).lvef)
    return {
        "one plane as drawn": float(np.abs(single).mean()),
        "one plane as drawn, bias": float(np.mean(single)),
        "two true planes": float(np.abs(biplane).mean()),
        "two true planes, bias": float(np.mean(biplane)),
    }


def biplane_ejection(patient: Patient) -> float:
    """LVEF, %, by twenty discs on the true contours of two perfect planes at the ends of a long beat."""
    truth, anatomy = Truth(patient), Anatomy(patient)
    waves = patient.rhythm.r_waves
    beat = int(np.argmax(np.diff(waves[1:-1]))) + 1
    times = np.linspace(waves[beat], waves[beat + 1], 80)
    volumes = [truth.volumes(float(t)).left_ventricle for t in times]
    ends = []
    for moment in (times[int(np.argmax(volumes))], times[int(np.argmin(volumes))]):
        planes = [discs(opened(truth.contour(standard_pose(view, anatomy), moment))) for view in APICAL]
        (one, length), (other, second) = planes
        ends.append(np.pi / 4 * (one * other).sum() * max(length, second) / len(one))
    return float(100 * (1 - ends[1] / ends[0]))


def discs(contour: Array, count: int = 20) -> tuple[Array, float]:
    """Diameters (count,) across the long axis of a tracing (n, 2) open at its base, and its length."""
    base = (contour[0] + contour[-1]) / 2
    tip = int(np.argmax(np.hypot(*(contour - base).T)))
    length = float(np.hypot(*(base - contour[tip])))
    axis = (base - contour[tip]) / length
    across = np.array([-axis[1], axis[0]])
    wanted = (np.arange(count) + 0.5) / count * length
    arms = [
        np.interp(wanted, np.maximum.accumulate((arm - contour[tip]) @ axis), (arm - contour[tip]) @ across)
        for arm in (contour[tip::-1], contour[tip:])
    ]
    return np.abs(arms[0] - arms[1]), length


def view_scores(loops: Loops) -> dict[str, float]:
    """Thirteen views."""
    train, val, test = (loops.rows(split) for split in (Split.TRAIN, Split.VAL, Split.TEST))
    names, number = np.unique(loops.views, return_inverse=True)
    pictures = loops.pictures.astype(np.float32)
    small = pictures.reshape(-1, 16, 4, 16, 4).mean((2, 4)).reshape(len(pictures), -1)
    scale = StandardScaler().fit(small[train])
    tried = []
    for strength in (1e-4, 1e-3, 1e-2, 1e-1):
        model = LogisticRegression(C=strength, max_iter=300).fit(scale.transform(small[train]), number[train])
        tried.append(
            tuple(float((model.predict(scale.transform(small[r])) == number[r]).mean()) for r in (val, test))
        )
    commonest = np.bincount(number[train]).argmax()
    return {
        "classes": float(len(names)),
        "commonest": 100 * float((number[test] == commonest).mean()),
        "linear on 16 x 16 pixels": 100 * max(tried)[1],
    }


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("data", type=Path)
    parser.add_argument("--out", type=Path, default=None)
    chosen = parser.parse_args()
    begin = time.perf_counter()
    store = LoopStore.open(chosen.data)
    loops = read_loops(store)
    patients = {split: len(np.unique(loops.studies[loops.splits == split])) for split in Split}
    found: dict[str, Any] = {"synthetic": True, "studies": patients, "loops": len(loops.views)}
    found["lvef"] = lvef_shortcuts(loops) | lvef_geometry(chosen.data, loops)
    found["view"] = view_scores(loops)
    found["minutes"] = (time.perf_counter() - begin) / 60
    text = json.dumps(found, indent=2) + "\n"
    print(text)
    if chosen.out:
        chosen.out.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
