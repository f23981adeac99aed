"""Named complete pretraining configs. A variant is `dataclasses.replace` of one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
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

_MAKERS: Sequence[Callable[[Path, Path], PretrainConfig]] = (
    micro, micro_mae, small, small_mae, small_supervised, small_contrastive, gpu, echojepa_l, echojepa_g,
    cooldown, cooldown_g, videomae_l, smoke,
)  # fmt: skip
RECIPES = {make.__name__.replace("_", "-"): make for make in _MAKERS}
"""Each by its function's name, words joined by hyphens."""
