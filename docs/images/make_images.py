"""Draw the pictures of the docs from the MIT-licensed cine of pydicom-data and from the phantom.

Run `.venv/bin/python docs/images/make_images.py`; it rewrites the PNG files beside it.
"""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import binary_erosion

from echojepa.config import SimulateConfig
from echojepa.data.dicom import example_cines
from echojepa.data.recording import read_cine
from echojepa.data.sector import find_sector
from echojepa.phantom.cohort import simulate_study

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


if __name__ == "__main__":
    sector_picture()
    phantom_picture()
