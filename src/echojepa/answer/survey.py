"""Loops that nobody has labelled, beside a model's training set: how far each lies, and from which view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from echojepa.answer.model import Model, load_model
from echojepa.config import SurveyConfig
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import UserError
from echojepa.evaluation.features.embed import read_embedding
from echojepa.evaluation.tables.curves import PALETTE, draw
from echojepa.explain.maps import embedding_map
from echojepa.explain.writing import STILLS
from echojepa.report.page import jpeg_uri, write_page
from echojepa.report.story import came_in, unlike

STRIPS, SHOWN_STILLS = 4, 2
"""Strips of attention on the page, at most, and stills of each."""
STRIP_QUALITY = 80
FEWEST = 3
"""Loops that a map is drawn of, at least."""


@dataclass(frozen=True)
class SurveyedLoop:
    """A line of the page."""

    name: str
    """The first digits of its id."""
    view: str
    """As its file states it, or nothing."""
    nearest: str
    distance: float
    far: bool
    """Farther than 98 % of validation loops."""


@dataclass(frozen=True)
class Surveyed:
    """What was found."""

    says: str
    loops: tuple[SurveyedLoop, ...]


def survey(config: SurveyConfig) -> Surveyed:
    """Write the page.

    CheckpointError as `load_model`; UserError where the features are not of this model's encoder or of loops
    of this data set.
    """
    model, store = load_model(config.model), LoopStore.open(config.data)
    names, means = read_embedding(config.features, model.backbone.sha256)
    pooled = torch.from_numpy(means)
    views = {row["loop_id"]: row["view"] or "" for row in store.metadata(["loop_id", "view"]).to_pylist()}
    missing = [name for name in names if name not in views]
    if missing:
        raise UserError(
            f"{config.features} has features of {len(missing)} loops that are not in {config.data}; embed "
            "this data set again"
        )
    limit = model.card.thresholds.most_distance
    distances, nearest = model.likeness.distances(pooled), model.likeness.nearest(pooled)
    loops = tuple(
        SurveyedLoop(name[:8], views[name], near, float(away), bool(away > limit))
        for name, near, away in sorted(zip(names, nearest, distances, strict=True), key=lambda one: -one[2])
    )
    far = sum(loop.far for loop in loops)
    says = (
        f"{far} of {len(loops)} loops lie farther from the training set of {model.card.name} than 98 % of "
        f"its own validation loops do. The median distance is {np.median(distances):.2f}; its validation "
        f"loops reach {limit:.2f}, training loops lie at about 1."
    )
    write_page(
        config.out,
        "survey.html",
        says=says,
        came_in=came_in(store),
        loops=loops,
        limit=limit,
        picture=Markup(panels(model, pooled, distances, nearest)),
        strips=strips_of(config.seen),
        surprise=unlike(config.surprise) if config.surprise else None,
        training=model.card.training,
        model=model.card.name,
        sha256=model.sha256,
        fingerprint=store.fingerprint(),
    )
    return Surveyed(says, loops)


def panels(model: Model, pooled: Tensor, distances: NDArray[np.float64], nearest: Sequence[str]) -> str:
    """Distances with the limit, and a map of the loops with the means of the training set's views: SVG."""
    limit, views = model.card.thresholds.most_distance, list(model.likeness.views)
    mapped = len(distances) >= FEWEST

    def paint(axes: Sequence[Any]) -> None:
        left, *others = axes
        height = np.random.default_rng(0).uniform(-0.3, 0.3, len(distances))
        left.scatter(distances, height, s=16, color=PALETTE[0], alpha=0.7, lw=0)
        left.axvline(limit, color=PALETTE[1], lw=1.4)
        left.axvline(1, color="#99a", lw=1, ls="--")
        left.set(yticks=[], ylim=(-0.6, 0.6), xlabel="distance from the training set")
        left.set_xlim(left=0)
        for axis in others:
            together = np.concatenate([pooled.numpy(), model.likeness.means.numpy()]).astype(np.float32)
            points = embedding_map(together)
            own, centres = points[: len(pooled)], points[len(pooled) :]
            for colour, view, centre in zip(PALETTE * 2, views, centres, strict=False):
                mine = np.array([near == view for near in nearest])
                axis.scatter(*own[mine].T, s=16, color=colour, alpha=0.8, lw=0)
                axis.scatter(*centre, s=70, color=colour, marker="X", label=view)
            axis.set(xticks=[], yticks=[], xlabel="first axis", ylabel="second axis")
            axis.legend(loc="upper left", bbox_to_anchor=(1, 1), title="training mean of")

    return draw(8.6 if mapped else 4.3, 3.0, 1 + mapped, paint)


def strips_of(seen: Path | None) -> list[str]:
    """Strips of attention as data URIs."""
    paths = sorted(seen.glob("loop-*/strip.png"))[:STRIPS] if seen else []
    found = []
    for path in paths:
        with Image.open(path) as picture:
            upper = picture.crop((0, 0, picture.width, picture.height * SHOWN_STILLS // STILLS))
            found.append(jpeg_uri(np.asarray(upper.convert("RGB")), STRIP_QUALITY))
    return found
