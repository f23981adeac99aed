"""Named complete pretraining configs. A variant is `dataclasses.replace` of one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from echojepa.config import PretrainConfig
from echojepa.recipes.published import cooldown, cooldown_g, echojepa_g, echojepa_l, videomae_l
from echojepa.recipes.small import (
    gpu,
    micro,
    micro_mae,
    small,
    small_contrastive,
    small_mae,
    small_supervised,
    smoke,
)

RECIPES: dict[str, Callable[[Path, Path], PretrainConfig]] = {
    "micro": micro,
    "micro-mae": micro_mae,
    "small": small,
    "small-mae": small_mae,
    "small-supervised": small_supervised,
    "small-contrastive": small_contrastive,
    "gpu": gpu,
    "echojepa-l": echojepa_l,
    "echojepa-g": echojepa_g,
    "cooldown": cooldown,
    "cooldown-g": cooldown_g,
    "videomae-l": videomae_l,
    "smoke": smoke,
}
