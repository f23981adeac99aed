"""Draw the pictures of the docs from the MIT-licensed cine of pydicom-data and from the phantom.

Run `.venv/bin/python docs/images/make_images.py`; it rewrites the PNG files beside it.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import binary_erosion

from echojepa.config import SimulateConfig
from echojepa.data.dicom.reader import example_cines
from echojepa.data.recording import read_cine
from echojepa.data.sector import find_sector
from echojepa.phantom.cohort import simulate_loop, simulate_study
from echojepa.phantom.heart import draw_heart
from echojepa.phantom.layouts import LAYOUTS
from echojepa.vocabulary import View

HERE = Path(__file__).parent


def sector_picture() -> None:
    """The real cine with the sector that was found, and what is kept of it; brightened by half."""
    frames = read_cine(example_cines()[1], b"key of a picture").frames
    mask = find_sector(frames).mask
    bright = np.clip(frames[40].astype(float) * 1.5, 0, 255).astype(np.uint8)
    outlined = bright.copy()
    outlined[mask & ~binary_erosion(mask, iterations=2)] = (255, 190, 40)
    kept = np.where(mask[..., None], bright, np.uint8(0))
    Image.fromarray(np.concatenate([outlined, kept], axis=1)).save(HERE / "sector_real_cine.png")


def phantom_picture() -> None:
    """Two synthetic patients: A4C, A2C and PLAX as the scanner stores them."""
    rows = []
    for ordinal in (0, 1):
        loops = simulate_study(0, ordinal, SimulateConfig(HERE, seconds=0.3)).loops
        screens = [recorded.loop.frames[-1][:168, :210] for recorded in loops]
        padded = [
            np.pad(screen, ((0, 168 - screen.shape[0]), (0, 210 - screen.shape[1]))) for screen in screens
        ]
        rows.append(np.concatenate(padded, axis=1))
    Image.fromarray(np.concatenate(rows)).resize((1260, 672), Image.Resampling.BICUBIC).save(
        HERE / "phantom.png"
    )


def screens_picture() -> None:
    """One patient on the six screens, each with the outline of the sector that was found."""
    heart = draw_heart(np.random.default_rng(1))
    tiles = []
    for layout in LAYOUTS:
        frames = simulate_loop(
            heart, View.A4C, 0, 1, 0, SimulateConfig(HERE, seconds=0.7), layout
        ).loop.frames
        mask = find_sector(frames).mask
        shown = frames[-1] if frames.ndim == 4 else np.repeat(frames[-1][..., None], 3, axis=-1)
        thick = max(1, layout.height // 200)
        outline = mask & ~binary_erosion(mask, iterations=thick, border_value=0)
        shown = np.where(outline[..., None], np.array([255, 190, 40], dtype=np.uint8), shown)
        tile = Image.fromarray(shown)
        tile.thumbnail((420, 320), Image.Resampling.LANCZOS)
        page = Image.new("RGB", (424, 324), (255, 255, 255))
        page.paste(tile, ((424 - tile.width) // 2, (324 - tile.height) // 2))
        tiles.append(np.asarray(page))
    rows = [np.concatenate(tiles[begin : begin + 3], axis=1) for begin in (0, 3)]
    Image.fromarray(np.concatenate(rows)).quantize(64).save(HERE / "sector_screens.png", optimize=True)


if __name__ == "__main__":
    sector_picture()
    phantom_picture()
    screens_picture()
