"""The interface of objectives; JEPA and its controls share training loop, data and encoder."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

from torch import Tensor, nn

from echojepa.models.masking import Mask
from echojepa.models.predictor import Predictor
from echojepa.models.vit import VisionTransformer


class Objective(nn.Module, ABC):
    """An encoder, what it is trained with, and a loss."""

    targets_move = False
    """Whether the targets are learned too; then they can collapse, which a sudden drop of the loss shows."""
    predictor: Predictor | None
    """The network that predicts the hidden tokens from the encoder's features; None if nothing is hidden."""

    def __init__(self, encoder: VisionTransformer) -> None:
        """`encoder` sees the visible tokens and is trained."""
        super().__init__()
        self.encoder = encoder

    @property
    def result(self) -> VisionTransformer:
        """The encoder that a run keeps."""
        return self.encoder

    @abstractmethod
    def targets(self, clips: Tensor, masks: Sequence[Mask], labels: Any = None) -> list[Tensor]:
        """The targets of prepared clips (B, 3, T, H, W): (B, M, outputs) for each mask type, or the labels
        (B, columns) of the clips. Only objectives that learn from labels get them.
        """

    @abstractmethod
    def loss(self, clips: Tensor, mask: Mask, targets: Tensor) -> Tensor:
        """Scalar loss of prepared clips (B, 3, T, H, W) under one mask type, from its targets.

        The loss of a step is the mean over its mask types. Each can have its own backward pass: the same
        gradients, and the activations of one in memory.
        """

    def forward(self, clips: Tensor, mask: Mask, targets: Tensor) -> Tensor:
        """The loss: what is called where several processes share the model."""
        return self.loss(clips, mask, targets)

    @abstractmethod
    def errors(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """The errors of hidden tokens (B, M), or of labels; `loss` is their mean."""

    def update_ema(self, momentum: float) -> None:
        """Move what follows the weights, once the optimiser has moved these; or nothing."""

    @abstractmethod
    def flops(self, masks: Sequence[Mask]) -> int:
        """Arithmetic of a step a clip, forward and backward."""


def trained_flops(encoder: VisionTransformer, visible: int, rest: int) -> int:
    """Arithmetic a clip of encoding its visible tokens and of what follows, whose forward pass has `rest`:
    forward and, but for the pixels, twice that backward."""
    return 3 * (encoder.flops(visible) + rest) - encoder.embed_flops(visible)


class Masked(Objective):
    """An encoder of what is visible, and a predictor that infers what is hidden."""

    def __init__(self, encoder: VisionTransformer, predictor: Predictor) -> None:
        super().__init__(encoder)
        self.predictor: Predictor = predictor  # pyright: ignore[reportIncompatibleVariableOverride]

    def flops(self, masks: Sequence[Mask]) -> int:
        """Arithmetic of a step a clip: encoding and inferring, forward and backward."""
        sizes = [(mask.context_ids.shape[1], mask.target_ids.shape[1]) for mask in masks]
        return sum(trained_flops(self.encoder, seen, self.predictor.flops(seen, m)) for seen, m in sizes)
