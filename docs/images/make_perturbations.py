"""Draw every perturbation at every severity on one frame of a synthetic heart.

Run `.venv/bin/python docs/images/make_perturbations.py`; it rewrites `perturbations.png` beside it.
"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from echojepa.data.clips.clips import letterbox
from echojepa.data.sector.sector import find_sector
from echojepa.evaluation.perturbations import PERTURBATIONS
from echojepa.phantom.cohort.loops import one_loop
from echojepa.vocabulary import View

HERE = Path(__file__).parent
SIDE, GAP, LINE = 116, 2, 12
FRAME = 10


def tile(picture: torch.Tensor, words: str) -> Image.Image:
    """One picture (H, W) with its words above."""
    small = Image.fromarray(picture.numpy()).resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    framed = Image.new("L", (SIDE + GAP, SIDE + GAP + LINE))
    framed.paste(small, (0, LINE))
    ImageDraw.Draw(framed).text((2, 0), words, fill=220, font_size=10)
    return framed


def main() -> None:
    """A strip of four severities for each kind, three strips in a row."""
    frames = one_loop(View.A4C, 0.7).loop.frames
    mask = find_sector(frames).mask
    rows, columns = (np.flatnonzero(mask.any(axis)) for axis in (1, 0))
    window = (slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1))
    grey = frames if frames.ndim == 3 else frames.mean(-1).astype(np.uint8)
    clip = letterbox(np.stack([frame[window] * mask[window] for frame in grey]))
    sector = letterbox(mask[window][None].astype(np.uint8))[0, 0].bool()
    strips = []
    for name, kind in PERTURBATIONS.items():
        tiles = []
        for severity in range(4):
            if severity > len(kind.levels):
                tiles.append(Image.new("L", (SIDE + GAP, SIDE + GAP + LINE)))
                continue
            words = f"{name} {kind.levels[severity - 1]:g}" if severity else "as stored"
            damaged = kind.apply(clip, sector, severity, seed=0, loop_id="picture")
            tiles.append(tile(damaged[0, FRAME], words))
        strips.append(np.concatenate([np.asarray(one) for one in tiles], axis=1))
    strips += [np.zeros_like(strips[0])] * (-len(strips) % 2)
    page = np.concatenate([np.concatenate(strips[i : i + 2], axis=1) for i in range(0, len(strips), 2)])
    Image.fromarray(page).quantize(64).save(HERE / "perturbations.png", optimize=True)


if __name__ == "__main__":
    main()
