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
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from echojepa.config import SimulateConfig
from echojepa.data.cine import CineLoop, Region
from echojepa.data.dicom_writer import write_cine
from echojepa.errors import UserError
from echojepa.phantom.acoustics import Scanner, draw_scanner, record
from echojepa.phantom.heart import Heart, draw_heart, ejection_fraction, shape_at
from echojepa.phantom.planes import draw_pose
from echojepa.randomness import derive_seed
from echojepa.vocabulary import SYNTHETIC_MANUFACTURER, View

VIEWS = (View.A4C, View.A2C, View.PLAX)
TOP, LEFT, RIGHT, BOTTOM = 14, 12, 40, 34
"""Margins of the screen around the sector, pixels: text above, scale beside, ECG below."""


@dataclass(frozen=True)
class PhantomLoop:
    """One recording with its truth."""

    loop: CineLoop
    """As the scanner stores it: screen with overlays."""
    sector: NDArray[np.bool_]
    """(H, W) where on the screen the ultrasound truly is."""
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
    heart: Heart, view: View, seed: int, ordinal: int, number: int, config: SimulateConfig
) -> PhantomLoop:
    """One recording of one view; scanner settings and plane are drawn anew for each."""
    numbers = (ordinal, VIEWS.index(view), number)
    rng = np.random.default_rng(derive_seed(seed, "loop", *numbers))
    scanner = draw_scanner(rng)
    pose = draw_pose(view, shape_at(heart, 0.0), rng)
    start = rng.uniform(0, heart.period)
    count = max(2, round(config.seconds * scanner.frame_rate))
    pictures, sector = record(heart, pose, scanner, count, start, rng)
    frames, region, mask = draw_screen(pictures, sector, scanner, heart, start, ordinal)
    loop = CineLoop(
        frames=frames,
        times=np.arange(count) / scanner.frame_rate,
        time_source="simulated",
        patient_id=f"PHANTOM-{seed}-{ordinal:05d}",
        study_id=uid(seed, "study", ordinal),
        loop_id=uid(seed, "instance", *numbers),
        view=view,
        regions=(region,),
        heart_rate=heart.heart_rate,
        manufacturer=SYNTHETIC_MANUFACTURER,
    )
    return PhantomLoop(loop, mask, scanner, start)


def draw_screen(
    pictures: NDArray[np.uint8],
    sector: NDArray[np.bool_],
    scanner: Scanner,
    heart: Heart,
    start: float,
    ordinal: int,
) -> tuple[NDArray[np.uint8], Region, NDArray[np.bool_]]:
    """Put pictures (T, h, w) on a scanner's screen (T, H, W) with name, scale, grey bar and ECG.

    Also the calibrated region and where the sector is on the screen.
    """
    height, width = sector.shape
    canvas = Image.new("L", (LEFT + width + RIGHT, TOP + height + BOTTOM))
    pen = ImageDraw.Draw(canvas)
    pen.text((2, 1), f"PHANTOM {ordinal:05d}", fill=200)
    pen.text((canvas.width - 36, 1), "MI 1.1", fill=180)
    for tick in range(0, int(scanner.depth) + 1, 10):
        y = TOP + tick / scanner.mm_per_pixel
        pen.line((canvas.width - 14, y, canvas.width - (4 if tick % 50 else 8), y), fill=190)
    for level in range(48):
        pen.line(
            (canvas.width - 6, TOP + 20 + level, canvas.width - 2, TOP + 20 + level), fill=250 - 5 * level
        )
    screen = np.repeat(np.asarray(canvas)[None], len(pictures), axis=0)
    inside = (slice(None), slice(TOP, TOP + height), slice(LEFT, LEFT + width))
    screen[inside] = np.where(sector, pictures, screen[inside])
    for number, frame in enumerate(screen):
        draw_ecg(frame, heart, start, number / scanner.frame_rate)
    mask = np.zeros(screen.shape[1:], dtype=bool)
    mask[inside[1:]] = sector
    size = (scanner.mm_per_pixel, scanner.mm_per_pixel)
    region = Region(LEFT, TOP, LEFT + width - 1, TOP + height - 1, mm_per_pixel=size)
    return screen, region, mask


def draw_ecg(frame: NDArray[np.uint8], heart: Heart, start: float, now: float) -> None:
    """Draw a sketch of an ECG along the bottom of a frame (H, W), swept up to the present moment."""
    height, width = frame.shape
    seconds = np.linspace(0, 1.5, width)
    phase = ((seconds + start) % heart.period) / heart.period
    wave = np.exp(-((((phase + 0.5) % 1 - 0.5) / 0.012) ** 2)) + 0.25 * np.exp(
        -(((phase - 0.33) / 0.05) ** 2)
    )
    rows = (height - 5 - 20 * wave).astype(int)
    swept = seconds <= now
    columns = np.arange(width)
    for column, row, previous in zip(
        columns[swept], rows[swept], np.r_[rows[:1], rows[:-1]][swept], strict=True
    ):
        frame[min(row, previous) : max(row, previous) + 1, column] = 170


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
