"""The map of test loops to look into: each dot is a loop with its still, and some of them play."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echojepa.data.store.loop_store import LoopStore
from echojepa.data.verify.verify import evenly_spaced
from echojepa.evaluation.tables.curves import PALETTE
from echojepa.report.page import small_jpeg

MOST_DOTS, MOST_FILMS, FILM_FRAMES = 240, 24, 12
"""Loops on the map, those of them that play, and frames of a film: about 3 MB at most."""
SIDE, QUALITY = 144, 60
"""Pixels of a still's longer side, and its JPEG quality."""
MARGIN = 4.0
"""Of the map's 100 units, around the dots."""


@dataclass(frozen=True)
class Mapped:
    """Loops on the map of one backbone."""

    loops: NDArray[Any]
    """Ids (n,)."""
    views: NDArray[Any]
    points: NDArray[np.float64]
    """(n, 2)."""

    def placed(self) -> dict[str, tuple[float, float]]:
        """Where each loop lies on a square of 100 units, the second axis upwards."""
        low, high = self.points.min(0), self.points.max(0)
        share = (self.points - low) / np.maximum(high - low, 1e-12)
        places = MARGIN + (100 - 2 * MARGIN) * np.stack([share[:, 0], 1 - share[:, 1]], axis=1)
        return {name: (float(x), float(y)) for name, (x, y) in zip(self.loops, places.round(2), strict=True)}


def atlas(store: LoopStore, maps: Mapping[str, Mapped]) -> dict[str, Any] | None:
    """What the page needs; None where no loop of the maps is one of the data set's.

    Loops that every map has, evenly spaced by view; of them evenly spaced ones play.
    """
    if not maps:
        return None
    rows = {name: row for row, name in enumerate(store.metadata(["loop_id"])["loop_id"].to_pylist())}
    views = {str(n): str(v) for one in maps.values() for n, v in zip(one.loops, one.views, strict=True)}
    shared = set.intersection(*(set(one.loops.tolist()) for one in maps.values())) & rows.keys()
    every = sorted(shared, key=lambda name: (views[name], name))
    if not every:
        return None
    chosen = [every[place] for place in sorted(evenly_spaced(len(every), MOST_DOTS))]
    playing = {chosen[place] for place in evenly_spaced(len(chosen), MOST_FILMS)}
    classes = sorted({views[name] for name in chosen})
    colours = {view: PALETTE[number % len(PALETTE)] for number, view in enumerate(classes)}
    loops = [
        {"name": f"{views[name]}, loop {name[:8]}", **pictures(store, rows[name], name in playing)}
        for name in chosen
    ]
    drawn = {}
    for title, one in maps.items():
        places = one.placed()
        drawn[title] = [(*places[name], colours[views[name]]) for name in chosen]
    return {"loops": loops, "maps": drawn, "colours": colours}


def pictures(store: LoopStore, row: int, playing: bool) -> dict[str, Any]:
    """A loop's middle frame, and frames that play, evenly spaced over it."""
    loop = store.loop(row)
    count = min(FILM_FRAMES, len(loop)) if playing else 0
    frames = np.linspace(0, len(loop) - 1, count).round().astype(int).tolist()
    shown = loop.frames([len(loop) // 2, *frames])
    side = min(SIDE, max(shown.shape[1:3]))
    still, *film = (small_jpeg(frame, side, QUALITY) for frame in shown)
    seconds = float(loop.times[-1]) if len(loop) > 1 else 1.0
    return {"still": still, "film": film, "ms": round(1000 * seconds / max(1, count))}
