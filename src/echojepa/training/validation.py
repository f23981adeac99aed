"""What an encoder in training reads on validation patients, so that the best checkpoint can be kept.

Ridge on frozen features of training patients' loops, scored on validation patients': the views of all loops
and, where the data set has labels of it, LVEF from apical ones. Test patients' are never read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifierCV, RidgeCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from echojepa.config import ConfigError, PretrainConfig
from echojepa.data.clips.clips import ClipDataset
from echojepa.data.clips.scale import scaled_rows
from echojepa.data.store.loop_store import LoopStore
from echojepa.models.contract import prepare
from echojepa.tasks import LVEF
from echojepa.training.labels import study_values
from echojepa.vocabulary import Kind, Split

PENALTIES = 10.0 ** np.arange(-1, 6)
AT_ONCE = 32
"""Clips that go through the encoder together."""


@dataclass(frozen=True)
class Reading:
    """Errors on validation patients; less is better."""

    view_error: float | None
    """Share of loops taken for another view; None where training loops have fewer than two views."""
    lvef_error: float | None
    """Mean absolute error of apical loops, points; None without labels of both splits."""
    score: float
    """Mean of both as shares of what a constant has: under 1 where features tell something."""


@dataclass(frozen=True)
class ReadLoops:
    """Evenly chosen cines of one split."""

    clips: Tensor
    """(B, 3, T, H, W) uint8."""
    views: NDArray[np.str_]
    lvef: NDArray[np.float64]
    """Of the study, NaN where it is not known or the view is not apical."""


def read_loops(store: LoopStore, split: Split, most: int, config: PretrainConfig) -> ReadLoops:
    """At most so many loops of a split, evenly spaced over its rows."""
    rows = partial(store.rows_where, split=split, kind=Kind.CINE)
    table = scaled_rows(rows, ["view", "study_id"], config.spec)
    chosen = table.take(np.unique(np.linspace(0, len(table) - 1, min(most, len(table))).round().astype(int)))
    views = np.array([view or "" for view in chosen["view"].to_pylist()], dtype=str)
    values = study_values(store, chosen["study_id"].to_pylist(), [LVEF.label])[:, 0]
    lvef = np.where(np.isin(views, [str(view) for view in LVEF.views or ()]), values, np.nan)
    dataset = ClipDataset(store, chosen["row"].to_numpy(), config.spec)
    clips = torch.stack([dataset[place][0] for place in range(len(dataset))])
    return ReadLoops(clips, views, lvef)


def swing(features: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Mean and standard deviation over time of the four quarters of the picture: (B, N, D) -> (B, 8 * D)."""
    places = F.adaptive_avg_pool3d(features.unflatten(1, grid).movedim(-1, 1), (grid[0], 2, 2))
    return torch.cat([places.mean(2), places.std(2, correction=0)], dim=1).flatten(1)


class Validation:
    """Reads an encoder out on loops chosen once."""

    def __init__(self, store: LoopStore, config: PretrainConfig, device: torch.device) -> None:
        """ConfigError for a data set without loops of validation patients."""
        self.config, self.device = config, device
        train, val = (read_loops(store, split, config.validate, config) for split in (Split.TRAIN, Split.VAL))
        self.train, self.val = train, val

    @torch.no_grad()
    def features(self, encoder: nn.Module, clips: Tensor, grid: tuple[int, int, int]) -> NDArray[np.float32]:
        """What ridge is given of clips (B, 3, T, H, W) uint8."""
        spec = self.config.spec
        parts = [encoder(prepare(spec, part.to(self.device))).float().cpu() for part in clips.split(AT_ONCE)]
        return swing(torch.cat(parts), grid).numpy()

    def read(self, encoder: nn.Module) -> Reading:
        """Fit on training loops, score on validation loops."""
        grid = self.config.architecture.grid(self.config.spec)
        fit, held = (self.features(encoder, loops.clips, grid) for loops in (self.train, self.val))
        shares, errors = [], {}
        for name, ask in (("view_error", self.view_error), ("lvef_error", self.lvef_error)):
            error, constant = ask(fit, held)
            errors[name] = error
            if error is not None and constant:
                shares.append(error / constant)
        if not shares:
            raise ConfigError(
                f"{self.config.data} has no labels for --validate, which needs views or LVEF of training "
                "and validation patients; leave --validate out"
            )
        return Reading(**errors, score=float(np.mean(shares)))

    def view_error(self, fit: NDArray[Any], held: NDArray[Any]) -> tuple[float | None, float | None]:
        """The error of the views, and that of the commonest."""
        known, asked = self.train.views != "", self.val.views != ""
        views, counts = np.unique(self.train.views[known], return_counts=True)
        if len(views) < 2 or not asked.any():
            return None, None
        model = make_pipeline(StandardScaler(), RidgeClassifierCV(alphas=PENALTIES))
        found = model.fit(fit[known], self.train.views[known]).predict(held[asked])
        truth = self.val.views[asked]
        return float((found != truth).mean()), float((truth != views[counts.argmax()]).mean())

    def lvef_error(self, fit: NDArray[Any], held: NDArray[Any]) -> tuple[float | None, float | None]:
        """The error of LVEF, and that of the training median."""
        known, asked = np.isfinite(self.train.lvef), np.isfinite(self.val.lvef)
        if known.sum() < 2 or not asked.any():
            return None, None
        model = make_pipeline(StandardScaler(), RidgeCV(alphas=PENALTIES))
        found = model.fit(fit[known], self.train.lvef[known]).predict(held[asked])
        truth, middle = self.val.lvef[asked], float(np.median(self.train.lvef[known]))
        return float(np.abs(found - truth).mean()), float(np.abs(truth - middle).mean())


def make_validation(
    store: LoopStore, config: PretrainConfig, device: torch.device
) -> Callable[[nn.Module], Reading] | None:
    """What reads an encoder out, None where the config asks for none; ConfigError without such patients."""
    if config.validate == 0:
        return None
    if not len(store.rows_where([], split=Split.VAL, kind=Kind.CINE)):
        raise ConfigError(f"{config.data} has no cine loops of validation patients; leave --validate out")
    return Validation(store, config, device).read
