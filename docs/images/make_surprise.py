"""Cut the picture of surprise of docs/how-to/see.md from a loop's folder that `echojepa surprise` wrote.

Run `.venv/bin/python docs/images/make_surprise.py SURPRISE/real-cine-01`; it rewrites the PNG file beside it:
two stills side by side.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from echojepa.explain.writing import STILLS

SHOWN = (1, 4)
"""Stills of the strip."""


def main(folder: Path) -> None:
    """Draw the picture of a loop."""
    strip = np.asarray(Image.open(folder / "strip.png"))
    height = len(strip) // STILLS
    stills = [strip[number * height :][:height] for number in SHOWN]
    page = Image.fromarray(np.concatenate(stills, axis=1)).quantize(128)
    page.save(Path(__file__).parent / "surprise.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
