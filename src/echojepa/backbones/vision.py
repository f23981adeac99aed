"""torchvision, asked for once, and what backbones that are built of it share."""

from __future__ import annotations

import importlib
from abc import abstractmethod
from pathlib import Path
from typing import Any, Self

import torch
from torch import Tensor, nn

from echojepa.backbones.contract import Backbone
from echojepa.config import InputSpec
from echojepa.errors import UserError
from echojepa.weights.tensors import build_from, file_sha256


def torchvision_models() -> Any:
    """Its `video` and image models in one namespace; UserError where it is not installed."""
    try:
        models = importlib.import_module("torchvision.models")
        video = importlib.import_module("torchvision.models.video")
    except ImportError as error:
        raise UserError(
            "EchoPrime and PanEcho need torchvision, which cannot be imported; run: pip install "
            "'echojepa[baselines]'"
        ) from error
    return type("Models", (), {"mvit_v2_s": video.mvit_v2_s, "convnext_tiny": models.convnext_tiny})


class OfTorchvision(Backbone):
    """A frozen encoder of another package, rebuilt of torchvision's networks."""

    fed: InputSpec
    """Its only input."""
    width: int
    """Of its tokens."""

    def __init__(self, name: str, model: nn.Module, sha256: str = "") -> None:
        super().__init__(name, model, self.fed, self.width, sha256)

    @classmethod
    @abstractmethod
    def build(cls) -> nn.Module:
        """The network; its first weights are torchvision's random ones."""

    @classmethod
    def from_file(cls, tensors: dict[str, Tensor], path: Path) -> Self:
        """The encoder of a user's file; CheckpointError where a tensor does not fit."""
        return cls(path.name, build_from(cls.build, tensors, path.name), file_sha256(path))

    @classmethod
    def untrained(cls) -> Self:
        """The architecture with random weights."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return cls(f"untrained architecture ({cls.__name__})", cls.build())

    def random_start(self) -> Self:
        """As `untrained`."""
        return self.untrained()
