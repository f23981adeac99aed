"""Cut the picture of docs/how-to/see.md from what `echojepa attend` wrote.

Run `.venv/bin/python docs/images/make_see.py SEEN`; it rewrites the PNG file beside it: the first still of
the first loop, its lines of the last layer and of occlusion.
"""

import json
import sys
from pathlib import Path

import numpy as np
from PIL import Image

from echojepa.explain.writing import STILLS

LINES = ("layer:-1", "occlusion")


def main(seen: Path) -> None:
    """Draw the picture of a folder."""
    sources = json.loads((seen / "attend.json").read_text(encoding="utf-8"))["settings"]["sources"]
    strip = np.asarray(Image.open(seen / "loop-01" / "strip.png"))
    still = strip[: len(strip) // STILLS]
    height = len(still) // len(sources)
    lines = [still[number * height :][:height] for number, name in enumerate(sources) if name in LINES]
    Image.fromarray(np.concatenate(lines)).save(Path(__file__).parent / "see.png", optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
