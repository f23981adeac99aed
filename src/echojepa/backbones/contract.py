"""What a backbone is: a frozen network behind the input it was trained on."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from echojepa.config import InputSpec
from echojepa.models.contract import TokenGrid, prepare


class Backbone(ABC):
    """A frozen encoder: uint8 clips in, tokens out; it alone prepares its pixels."""

    trainable = False
    """Whether fine-tuning can start from it."""

    def __init__(
        self, name: str, network: nn.Module, spec: InputSpec, embed_dim: int, sha256: str = ""
    ) -> None:
        self.name = name
        """How tables call it."""
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network = network.eval().requires_grad_(False).to(self.device)
        self.spec = spec
        """What it is fed."""
        self.embed_dim = embed_dim
        """Width of its tokens."""
        self.sha256 = sha256
        """Checksum of the file its weights were read from, or of the run that they are the start of; empty
        where there is none."""
        self.random = not sha256
        """Whether nobody trained its weights."""
        self.parameters = sum(value.numel() for value in network.parameters())
        """Numbers in its weights."""

    @torch.inference_mode()
    def __call__(self, clips: Tensor) -> TokenGrid:
        """Features of uint8 clips (B, 3, T, H, W), without gradient, on the backbone's device.

        TypeError and ValueError as `InputSpec.prepare`.
        """
        return self.features(prepare(self.spec, clips.to(self.device)))

    @abstractmethod
    def features(self, pixels: Tensor) -> TokenGrid:
        """Features of prepared clips, float (B, 3, T, size, size)."""

    def random_start(self) -> Backbone:
        """The same architecture with the weights that its training started from, or such weights.

        Of a backbone that is not `random`.
        """
        raise NotImplementedError(f"{type(self).__name__} does not say how its training starts")
