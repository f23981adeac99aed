"""Synthetic patients and their studies, written as a scanner would write them.

One patient's data is a function of (seed, patient number) alone, whatever the number of workers.
"""

from __future__ import annotations

import csv
import errno
import multiprocessing
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from echojepa.config import SimulateConfig
from echojepa.data.cine import CineLoop
from echojepa.data.dicom.writer import write_cine
from echojepa.errors import UserError
from echojepa.phantom.acoustics import Scanner, draw_scanner, record
from echojepa.phantom.heart import Heart, draw_heart, ejection_fraction, shape_at
from echojepa.phantom.layouts import small_layout
from echojepa.phantom.planes import draw_pose
from echojepa.phantom.screens import Case, Identity, Layout, PlantedText, show
from echojepa.randomness import derive_seed
from echojepa.vocabulary import SYNTHETIC_MANUFACTURER, View

VIEWS = (View.A4C, View.A2C, View.PLAX)


@dataclass(frozen=True)
class PhantomLoop:
    """One recording with its truth."""

    loop: CineLoop
    """As the scanner stores it: screen with overlays."""
    sector: NDArray[np.bool_]
    """(H, W) where on the screen the ultrasound truly is."""
    overlay: NDArray[np.bool_]
    """(T, H, W) pixels drawn by the screen, beside the ultrasound or over it."""
    scanner: Scanner
    """Settings of the recording."""
    start: float
    """Seconds after an R wave at which it begins."""


@dataclass(frozen=True)
class PhantomStudy:
    """One patient's examination with its truth."""

    heart: Heart
    """Anatomy and function."""
    lvef: float
    """Ejection fraction, %, from the heart's own volumes."""
    loops: tuple[PhantomLoop, ...]
    """Every view's recordings."""


def uid(seed: int, purpose: str, *numbers: int) -> str:
    """A DICOM UID below 2.25, the root for UIDs that are just numbers."""
    return f"2.25.{derive_seed(seed, purpose, *numbers)}"


def simulate_study(seed: int, ordinal: int, config: SimulateConfig) -> PhantomStudy:
    """Simulate the n-th patient of a seed: one heart, `loops_per_view` recordings of each view."""
    heart = draw_heart(np.random.default_rng(derive_seed(seed, "heart", ordinal)))
    loops = tuple(
        simulate_loop(heart, view, seed, ordinal, number, config)
        for view in VIEWS
        for number in range(config.loops_per_view)
    )
    return PhantomStudy(heart, ejection_fraction(heart), loops)


def simulate_loop(
    heart: Heart,
    view: View,
    seed: int,
    ordinal: int,
    number: int,
    config: SimulateConfig,
    layout: Layout | None = None,
    planted: tuple[PlantedText, ...] = (),
) -> PhantomLoop:
    """One recording of one view on a screen; scanner settings and plane are drawn anew for each.

    Without a layout the screen is the small one of the demo. `planted` is burned into the picture.
    """
    numbers = (ordinal, VIEWS.index(view), number)
    rng = np.random.default_rng(derive_seed(seed, "loop", *numbers))
    scanner = draw_scanner(rng)
    if layout is not None:
        scanner = replace(scanner, height=layout.picture)
    pose = draw_pose(view, shape_at(heart, 0.0), rng)
    start = rng.uniform(0, heart.period)
    count = max(2, round(config.seconds * scanner.frame_rate))
    pictures, sector = record(heart, pose, scanner, count, start, rng)
    identity = Identity(f"PHANTOM {ordinal:05d}", f"ID {ordinal:05d}", "2026-01-01")
    case = Case(scanner, heart, start, identity)
    screen = show(pictures, sector, layout or small_layout(scanner), case, planted)
    loop = CineLoop(
        frames=screen.frames,
        times=np.arange(count) / scanner.frame_rate,
        time_source="simulated",
        patient_id=f"PHANTOM-{seed}-{ordinal:05d}",
        study_id=uid(seed, "study", ordinal),
        loop_id=uid(seed, "instance", *numbers),
        view=view,
        regions=(screen.region,),
        heart_rate=heart.heart_rate,
        manufacturer=SYNTHETIC_MANUFACTURER,
    )
    return PhantomLoop(loop, screen.sector, screen.overlay, scanner, start)


def write_study(ordinal: int, config: SimulateConfig) -> dict[str, float]:
    """Write one patient's files and return its truth; a study already complete is not written again."""
    folder = config.out / f"P{ordinal:05d}" / "S0"
    names = [f"{view}_{number}.dcm" for view in VIEWS for number in range(config.loops_per_view)]
    if not all((folder / name).exists() for name in names):
        study = simulate_study(config.seed, ordinal, config)
        folder.mkdir(parents=True, exist_ok=True)
        for name, recorded in zip(names, study.loops, strict=True):
            write_cine(
                folder / name, recorded.loop, patient_name=f"PHANTOM^{ordinal:05d}", study_date="20260101"
            )
    heart = draw_heart(np.random.default_rng(derive_seed(config.seed, "heart", ordinal)))
    return {"ordinal": ordinal, "lvef": ejection_fraction(heart), "esv": heart.esv, **asdict(heart)}


def write_cohort(config: SimulateConfig, progress: Callable[[int, int], None]) -> int:
    """Write every patient's study, `labels.csv` and `truth.parquet`; returns the number of loops.

    Can be stopped and run again. Raises UserError when the disk is full or nothing is asked for.
    """
    if config.patients < 1 or config.loops_per_view < 1 or not 0.1 <= config.seconds <= 60:
        raise UserError(
            f"patients and loops_per_view must be at least 1 and seconds 0.1 to 60; got {config.patients}, "
            f"{config.loops_per_view}, {config.seconds}"
        )
    config.out.mkdir(parents=True, exist_ok=True)
    truths = []
    workers = min(config.workers or os.cpu_count() or 1, config.patients)
    try:
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            jobs = pool.map(write_study, range(config.patients), [config] * config.patients)
            for number, truth in enumerate(jobs, start=1):
                truths.append(truth)
                progress(number, config.patients)
        write_labels(config, truths)
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise UserError(f"the disk of {config.out} is full; make room and run again to go on") from error
        raise
    return config.patients * config.loops_per_view * len(VIEWS)


def write_labels(config: SimulateConfig, truths: list[dict[str, float]]) -> None:
    """The table a hospital would export, and the whole truth beside it."""
    temporary = config.out / ".labels.tmp"
    with temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["study_uid", "label", "value", "unit"])
        for truth in truths:
            study = uid(config.seed, "study", int(truth["ordinal"]))
            for label, unit in (("lvef", "%"), ("edv", "mL"), ("esv", "mL")):
                writer.writerow([study, label, f"{truth[label]:.3f}", unit])
    temporary.replace(config.out / "labels.csv")
    pq.write_table(pa.Table.from_pylist(truths), config.out / "truth.parquet")
