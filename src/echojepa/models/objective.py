"""The interface of objectives; JEPA and its controls share training loop, data and encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from torch import Tensor, nn

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

    def flops(self, masks: Sequence[Mask]) -> int:
        """Arithmetic of a step a clip, forward and backward."""
        ...


class Trained(nn.Module):
    """What most objectives are alike in: the trained encoder is what a run keeps, and nothing follows it."""

    targets_move = False

    def __init__(self, encoder: VisionTransformer) -> None:
        super().__init__()
        self.encoder = encoder

    @property
    def result(self) -> VisionTransformer:
        """The encoder itself."""
        return self.encoder

    def update_ema(self, momentum: float) -> None:
        """Nothing: no target follows the weights."""


def trained_flops(encoder: VisionTransformer, visible: int, rest: int) -> int:
    """Arithmetic a clip of encoding its visible tokens and of what follows, whose forward pass has `rest`:
    forward and, but for the pixels, twice that backward."""
    return 3 * (encoder.flops(visible) + rest) - encoder.embed_flops(visible)


class Masked(Trained):
    """An encoder of what is visible, and a predictor that infers what is hidden."""

    def __init__(self, encoder: VisionTransformer, predictor: Predictor) -> None:
        super().__init__(encoder)
        self.predictor = predictor

    def flops(self, masks: Sequence[Mask]) -> int:
        """Arithmetic of a step a clip: encoding and inferring, forward and backward."""
        sizes = [(mask.context_ids.shape[1], mask.target_ids.shape[1]) for mask in masks]
        return sum(trained_flops(self.encoder, seen, self.predictor.flops(seen, m)) for seen, m in sizes)
