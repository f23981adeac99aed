"""What a backbone is, and how one is named on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from torch import Tensor

from echojepa.backbones.jepa_encoder import JEPAEncoder
from echojepa.models.contract import InputSpec, TokenGrid


class Backbone(Protocol):
    """A frozen encoder: uint8 clips in, tokens out; it alone prepares its pixels."""

    name: str
    """How tables call it."""
    spec: InputSpec
    """What it is fed."""
    embed_dim: int
    """Width of its tokens."""

    def __call__(self, clips: Tensor) -> TokenGrid:
        """Features of uint8 clips (B, 3, T, H, W), without gradient."""
        ...


RANDOM = "random:"


def load_backbone(name: str) -> Backbone:
    """A backbone by name: a run's folder, or `random:FOLDER` for that architecture untrained.

    Raises CheckpointError where the folder holds no finished run.
    """
    if name.startswith(RANDOM):
        return JEPAEncoder.untrained(Path(name.removeprefix(RANDOM)))
    return JEPAEncoder.trained(Path(name))
