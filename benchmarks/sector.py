"""How well the sector and the text in it are found on every screen of the phantom.

    .venv/bin/python benchmarks/sector.py --patients 2 --seed 7

Each patient's three views are shown on each of the seven screens, as recorded and through a JPEG file of the
DICOM writer. Then text is planted in the sector: words, places, heights (8 to 24 pixels) and greys (120 to
255) at random. Where the grey is nearly that of the tissue under it, no program and no person can read it;
such cases count as misses. The last line has every total as name=value.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont
from scipy.ndimage import minimum_filter

from echojepa.data.reading.cine import CineLoop
from echojepa.data.reading.dicom.reader import example_cines
from echojepa.data.reading.dicom.writer import write_cine
from echojepa.data.reading.recording import read_cine
from echojepa.data.reading.rejection import Rejected
from echojepa.data.sector.burned_text import find_text
from echojepa.data.sector.sector import Sector, find_sector, probe_frames
from echojepa.phantom.cohort.loops import PhantomLoop, one_loop
from echojepa.phantom.screen.layouts import LAYOUTS
from echojepa.phantom.screen.screens import CAPITAL, PlantedText, ScreenLayout, burn_in
from echojepa.randomness import derive_seed
from echojepa.vocabulary import View

VIEWS = (View.A4C, View.A2C, View.PLAX)
WORDS = ("LV", "RVOT", "DOE JANE", "SMITH", "19.04.1950", "MRN 20817")
PLANTED = 5
"""Texts a recording."""


@dataclass
class Tally:
    """What was counted on one screen."""

    overlaps: list[float] = field(default_factory=list)
    overlay: int = 0
    seconds: list[float] = field(default_factory=list)
    text_seconds: list[float] = field(default_factory=list)
    alarms: list[bool] = field(default_factory=list)
    still_alarms: list[bool] = field(default_factory=list)
    found: list[bool] = field(default_factory=list)
    still_found: list[bool] = field(default_factory=list)
    heights: list[int] = field(default_factory=list)

    def row(self) -> str:
        """The figures of a table's row."""
        return (
            f"{len(self.overlaps):5d} {np.mean(self.overlaps):8.4f} {min(self.overlaps):7.4f} "
            f"{self.overlay:8d} "
            f"{sum(self.alarms):4d}/{len(self.alarms):<4d} {sum(self.found):4d}/{len(self.found):<4d} "
            f"{sum(self.still_alarms):4d}/{len(self.still_alarms):<4d} "
            f"{sum(self.still_found):4d}/{len(self.still_found):<4d} "
            f"{1e3 * np.median(self.seconds):6.0f} {1e3 * np.median(self.text_seconds):6.0f}"
        )


def through_jpeg(loop: CineLoop) -> NDArray[np.uint8]:
    """The frames after a JPEG file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.dcm"
        write_cine(path, loop, patient_name="X", study_date="20260101")
        return read_cine(path, b"benchmark").frames


def place_text(recorded: PhantomLoop, rng: np.random.Generator) -> PlantedText | None:
    """A random text at a random place where it fits into the sector; None where it fits nowhere."""
    words, size = WORDS[rng.integers(len(WORDS))], int(rng.integers(8, 25))
    _, _, width, height = ImageFont.load_default(round(size / CAPITAL)).getbbox(words)
    window = 2 * int(height // 2) + 5, 2 * int(width // 2) + 5
    rows, columns = np.nonzero(minimum_filter(recorded.sector.astype(np.uint8), window, mode="constant"))
    if not len(rows):
        return None
    at = rng.integers(len(rows))
    x, y = int(columns[at] - width // 2), int(rows[at] - height // 2)
    return PlantedText(words, x, y, size, int(rng.integers(120, 256)))


def measure(layout: ScreenLayout | None, seed: int, patients: int) -> Tally:
    """Show, find, plant, find."""
    tally = Tally()
    rng = np.random.default_rng(derive_seed(seed, "text", *map(ord, layout.name if layout else "small")))
    for ordinal in range(patients):
        for view in VIEWS:
            recorded = one_loop(view, 0.8, layout, seed=seed, ordinal=ordinal)
            for frames in (recorded.loop.frames, through_jpeg(recorded.loop)):
                clean(tally, frames, recorded)
            for number in range(PLANTED):
                text = place_text(recorded, rng)
                if text is not None:
                    frames = burn_in(recorded.loop.frames, (text,))
                    if number % 2:
                        frames = through_jpeg(replace(recorded.loop, frames=frames))
                    sector = find_sector(frames)
                    tally.found.append(bool(find_text(frames, sector)))
                    tally.still_found.append(bool(find_text(frames[:1], sector)))
                    tally.heights.append(text.size)
    return tally


def clean(tally: Tally, frames: NDArray[np.uint8], recorded: PhantomLoop) -> None:
    """Count a loop without text in its sector."""
    looked = probe_frames(frames)
    begin = time.process_time()
    try:
        sector = find_sector(looked)
    except Rejected:
        sector = Sector(np.zeros_like(recorded.sector))
    tally.seconds.append(time.process_time() - begin)
    mask, truth = sector.mask, recorded.sector
    tally.overlaps.append(float((mask & truth).sum() / (mask | truth).sum()))
    tally.overlay += int((mask & ~truth & recorded.overlay.any(0)).sum())
    begin = time.process_time()
    tally.alarms.append(bool(find_text(looked, sector)))
    tally.text_seconds.append(time.process_time() - begin)
    tally.still_alarms.append(bool(find_text(looked[:1], sector)))


def main() -> None:
    """Measure every screen and the real cines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--workers", type=int, default=1, help="more are faster, and disturb the times")
    given = parser.parse_args()
    print("screen   loops IoU mean   worst  overlay false al. text      stills: f. found     ms sector, text")
    tallies = []
    screens = (*LAYOUTS, None)
    with ProcessPoolExecutor(given.workers, multiprocessing.get_context("spawn")) as pool:
        jobs = pool.map(measure, screens, [given.seed] * len(screens), [given.patients] * len(screens))
        for layout, tally in zip(screens, jobs, strict=True):
            tallies.append(tally)
            print(f"{layout.name if layout else 'small':9}{tally.row()}", flush=True)
    real = [read_cine(path, b"benchmark").frames for path in example_cines()]
    real_alarms = sum(bool(find_text(frames, find_sector(frames))) for frames in real)
    overlaps = [value for tally in tallies for value in tally.overlaps]
    found = np.array([value for tally in tallies for value in tally.found])
    heights = np.array([value for tally in tallies for value in tally.heights])
    for low, high in ((8, 10), (11, 14), (15, 24)):
        group = found[(heights >= low) & (heights <= high)]
        print(f"letters of {low} to {high} pixels: {group.sum()} of {len(group)} found")
    totals = {
        "loops": len(overlaps),
        "iou_mean": f"{np.mean(overlaps):.4f}",
        "iou_worst": f"{min(overlaps):.4f}",
        "overlay_pixels": sum(tally.overlay for tally in tallies),
        "false_alarms": sum(sum(tally.alarms) for tally in tallies),
        "real_false_alarms": f"{real_alarms}/{len(real)}",
        "text_found": f"{found.mean():.3f}",
        "texts": len(found),
        "still_false_alarms": sum(sum(tally.still_alarms) for tally in tallies),
        "still_text_found": f"{np.mean([value for tally in tallies for value in tally.still_found]):.3f}",
    }
    print(" ".join(f"{name}={value}" for name, value in totals.items()))


if __name__ == "__main__":
    main()
