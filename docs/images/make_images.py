"""Draw the pictures of the docs from the MIT-licensed cine of pydicom-data and from the phantom.

Run `.venv/bin/python docs/images/make_images.py`; it rewrites the PNG files beside it.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from scipy.ndimage import binary_erosion

from echojepa.data.reading.dicom.reader import example_cines
from echojepa.data.reading.recording import read_cine
from echojepa.data.sector.sector import find_sector
from echojepa.phantom.cohort.loops import one_loop, record_loop
from echojepa.phantom.cohort.presets import PRESETS
from echojepa.phantom.cohort.sidecar import loop_truth
from echojepa.phantom.cohort.sites import Planned, Protocol
from echojepa.phantom.cohort.study import Drawn, draw_study
from echojepa.phantom.scanner.settings import Nuisance
from echojepa.phantom.screen.layouts import LAYOUTS
from echojepa.vocabulary import View

HERE = Path(__file__).parent
SEED, PATIENT = 0, 1


def sector_picture() -> None:
    """The real cine with the sector that was found, and what is kept of it; brightened by half."""
    frames = read_cine(example_cines()[1], b"key of a picture").frames
    mask = find_sector(frames).mask
    bright = np.clip(frames[40].astype(float) * 1.5, 0, 255).astype(np.uint8)
    outlined = bright.copy()
    outlined[mask & ~binary_erosion(mask, iterations=2)] = (255, 190, 40)
    kept = np.where(mask[..., None], bright, np.uint8(0))
    Image.fromarray(np.concatenate([outlined, kept], axis=1)).save(HERE / "sector_real_cine.png")


def tile(picture: NDArray[np.uint8], words: str, side: int) -> NDArray[np.uint8]:
    """A picture (h, w) or (h, w, 3) in a black square with words below it."""
    page = Image.new("RGB", (side, side), (0, 0, 0))
    shown = Image.fromarray(picture).convert("RGB")
    page.paste(shown, ((side - shown.width) // 2, max(0, (side - 16 - shown.height) // 2)))
    pen = ImageDraw.Draw(page)
    pen.text((6, side - 15), f"{words}, synthetic", fill=(200, 200, 200), font=ImageFont.load_default(11))
    return np.asarray(page)


def sheet(tiles: list[NDArray[np.uint8]], across: int) -> Image.Image:
    """Tiles in rows."""
    tiles = [*tiles, *[np.zeros_like(tiles[0])] * (-len(tiles) % across)]
    rows = [np.concatenate(tiles[begin : begin + across], axis=1) for begin in range(0, len(tiles), across)]
    return Image.fromarray(np.concatenate(rows))


def last_frame(drawn: Drawn) -> NDArray[np.uint8]:
    """The end-systolic frame of a loop."""
    return record_loop(drawn).pictures[loop_truth(drawn).end_systole]


def phantom_picture() -> None:
    """The thirteen views of one patient, colour on the tricuspid valve, a child, three nuisance levels."""
    views = Protocol(
        (*(Planned(view) for view in View), Planned(View.A4C, True), Planned(View.PSAX_AV, True))
    )
    order = replace(
        PRESETS["benchmark"], site="teaching", seconds=0.7, side=236, density=0.12, protocol=views, seed=SEED
    )
    tiles = [
        tile(last_frame(drawn), f"{drawn.view}{' colour' if drawn.scanner.colour else ''}", 240)
        for drawn in draw_study(order, PATIENT).loops
    ]
    alone = replace(order, protocol=Protocol((Planned(View.A4C),)))
    child = draw_study(replace(alone, site="children"), PATIENT).loops[0]
    tiles.append(tile(last_frame(child), f"A4C of a child, {child.patient.age:.0f} years", 240))
    for level in Nuisance:
        drawn = draw_study(replace(alone, nuisance=level), PATIENT).loops[0]
        tiles.append(tile(last_frame(drawn), f"A4C, nuisance {level}", 240))
    sheet(tiles, 5).quantize(128).save(HERE / "phantom.png", optimize=True)


def screens_picture() -> None:
    """One patient on the six screens, each with the outline of the sector that was found."""
    tiles = []
    for layout in LAYOUTS:
        frames = one_loop(View.A4C, 0.7, layout, seed=SEED, ordinal=PATIENT).loop.frames
        mask = find_sector(frames).mask
        shown = frames[-1] if frames.ndim == 4 else np.repeat(frames[-1][..., None], 3, axis=-1)
        thick = max(1, layout.height // 200)
        outline = mask & ~binary_erosion(mask, iterations=thick, border_value=0)
        shown = np.where(outline[..., None], np.array([255, 190, 40], dtype=np.uint8), shown)
        small = Image.fromarray(shown)
        small.thumbnail((420, 320), Image.Resampling.LANCZOS)
        page = Image.new("RGB", (424, 340), (255, 255, 255))
        page.paste(small, ((424 - small.width) // 2, (324 - small.height) // 2))
        ImageDraw.Draw(page).text((6, 326), f"{layout.name}, synthetic", fill=(60, 60, 60))
        tiles.append(np.asarray(page))
    sheet(tiles, 3).quantize(64).save(HERE / "sector_screens.png", optimize=True)


if __name__ == "__main__":
    sector_picture()
    phantom_picture()
    screens_picture()
