"""The maps of loops and studies to look into: each dot has a still, and some of the loops play."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echojepa.data.store.loop_store import LoopStore
from echojepa.data.verify.verify import evenly_spaced
from echojepa.evaluation.tables.curves import PALETTE
from echojepa.report.embedded import UNKNOWN, Embedded
from echojepa.report.page import small_jpeg

MOST_DOTS, MOST_FILMS, FILM_FRAMES = 240, 24, 12
"""Dots on a map, loops that play, and frames of a film: about 3 MB at most."""
SIDE, QUALITY = 144, 60
"""Pixels of a still's longer side, and its JPEG quality."""
MARGIN = 4.0
"""Of the map's 100 units, around the dots."""
GREY = "#bbbbbb"
"""Of what is not stated."""


@dataclass(frozen=True)
class Mapped:
    """Loops or studies on the map of one backbone."""

    of: Embedded
    points: NDArray[np.float64]
    """(n, 2)."""

    def placed(self) -> dict[str, tuple[float, float]]:
        """Where each item lies on a square of 100 units, the second axis upwards."""
        low, high = self.points.min(0), self.points.max(0)
        share = (self.points - low) / np.maximum(high - low, 1e-12)
        places = MARGIN + (100 - 2 * MARGIN) * np.stack([share[:, 0], 1 - share[:, 1]], axis=1)
        found = zip(self.of.items.tolist(), places.round(2), strict=True)
        return {name: (float(x), float(y)) for name, (x, y) in found}


def atlas(store: LoopStore, maps: Mapping[str, Mapped], films: int) -> dict[str, Any] | None:
    """What the page needs; None where no item of the maps is one of the data set's.

    Items that every map has, evenly spaced by their first class; of them so many evenly spaced ones play.
    """
    if not maps:
        return None
    first = next(iter(maps.values())).of
    shared = set.intersection(*(set(one.of.items.tolist()) for one in maps.values()))
    order = np.lexsort([first.items, *reversed(first.classes.values())])
    every = [n for n in order.tolist() if first.items[n] in shared and first.facts[n]]
    if not every:
        return None
    chosen = [every[place] for place in sorted(evenly_spaced(len(every), MOST_DOTS))]
    playing = {chosen[place] for place in evenly_spaced(len(chosen), films)}
    colourings = {fact: coloured(words[chosen].tolist()) for fact, words in first.classes.items()}
    dots = [{"name": said(first, n), **pictures(store, first.facts[n]["row"], n in playing)} for n in chosen]
    drawn = {}
    for title, one in maps.items():
        places = one.placed()
        drawn[title] = [places[str(first.items[n])] for n in chosen]
    return {"dots": dots, "maps": drawn, "colourings": colourings}


def said(of: Embedded, number: int) -> str:
    """What a dot is, in words."""
    facts = [f"{fact} {words[number]}" for fact, words in of.classes.items()]
    return ", ".join([*facts, f"id {of.items[number][:8]}"])


def coloured(words: list[str]) -> dict[str, Any]:
    """A colour for each class and for each dot."""
    classes = sorted(set(words) - {UNKNOWN})
    key = {name: PALETTE[number % len(PALETTE)] for number, name in enumerate(classes)}
    key |= {UNKNOWN: GREY} if UNKNOWN in words else {}
    return {"key": key, "dots": [key[word] for word in words]}


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
