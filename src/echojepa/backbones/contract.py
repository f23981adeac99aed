"""What a backbone is, and how one is named on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from torch import Tensor

from echojepa.backbones.jepa_encoder import JEPAEncoder
from echojepa.backbones.meta import META_SUFFIXES, load_meta_encoder
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
    """A backbone by name: a run's folder, `random:FOLDER` for that architecture untrained, or a
    V-JEPA 2 file of Meta's layout (`vitl.pt`, EchoJEPA's files).

    Raises CheckpointError where the folder holds no finished run, or the file another model.
    """
    if name.startswith(RANDOM):
        return JEPAEncoder.untrained(Path(name.removeprefix(RANDOM)))
    if Path(name).suffix in META_SUFFIXES:
        encoder, spec = load_meta_encoder(Path(name))
        return JEPAEncoder(Path(name).name, encoder, spec)
    return JEPAEncoder.trained(Path(name))
