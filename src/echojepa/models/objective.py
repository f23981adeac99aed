"""The interface of objectives; JEPA and its controls share training loop, data and encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor

from echojepa.models.flops import Flops
from echojepa.models.masking import Mask
from echojepa.models.predictor import Predictor
from echojepa.models.vit import VisionTransformer


class Objective(Protocol):
    """An encoder, what it is trained with, and a loss."""

    encoder: VisionTransformer
    """The network that sees the visible tokens and is trained."""
    targets_move: bool
    """Whether the targets are learned too; then they can collapse, which a sudden drop of the loss shows."""

    @property
    def predictor(self) -> Predictor | None:
        """The network that predicts the hidden tokens from its features; None if nothing is hidden."""
        ...

    @property
    def result(self) -> VisionTransformer:
        """The encoder that a run keeps."""
        ...

    def targets(self, clips: Tensor, masks: Sequence[Mask], labels: Any) -> list[Tensor]:
        """The targets of prepared clips (B, 3, T, H, W): (B, M, outputs) for each mask type, or the labels
        (B, columns) of the clips. Only objectives that learn from labels get them.
        """
        ...

    def loss(self, clips: Tensor, mask: Mask, targets: Tensor) -> Tensor:
        """Scalar loss of prepared clips (B, 3, T, H, W) under one mask type, from its targets.

        The loss of a step is the mean over its mask types. Each can have its own backward pass: the same
        gradients, and the activations of one in memory.
        """
        ...

    def errors(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """The errors of hidden tokens (B, M), or of labels; `loss` is their mean."""
        ...

    def train(self, mode: bool = True) -> Any:
        """Take in running statistics from here on; or, with False, leave them."""
        ...

    def eval(self) -> Any:
        """Leave running statistics as they are from here on."""
        ...

    def update_ema(self, momentum: float) -> None:
        """Move what follows the weights, once the optimiser has moved these; or nothing."""
        ...

    def flops(self, masks: Sequence[Mask]) -> Flops:
        """Arithmetic of a step a clip, by part."""
        ...


def masked_flops(encoder: VisionTransformer, predictor: Predictor, masks: Sequence[Mask]) -> Flops:
    """Arithmetic a clip of encoding what is visible and inferring what is hidden, forward and backward."""
    total = Flops()
    for mask in masks:
        visible, hidden = mask.context_ids.shape[1], mask.target_ids.shape[1]
        seen, inferred = encoder.flops(visible), predictor.flops(visible, hidden)
        total += Flops(seen, inferred, 0, 2 * (seen + inferred) - encoder.embed_flops(visible))
    return total
