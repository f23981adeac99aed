"""What the training loop asks of an objective, so that JEPA and its baseline share loop, data and encoder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from echojepa.models.flops import Flops
from echojepa.models.masking import Mask
from echojepa.models.predictor import Predictor
from echojepa.models.vit import VisionTransformer


class Objective(nn.Module):
    """An encoder, the predictor it is trained with, and a loss."""

    encoder: VisionTransformer
    """What sees the visible tokens and is trained."""
    predictor: Predictor
    """What infers the hidden ones from its features."""
    targets_move: ClassVar[bool]
    """Whether the targets are learned too: then they can collapse, and a sudden drop of the loss says so."""

    @property
    def result(self) -> VisionTransformer:
        """The encoder that a run keeps."""
        return self.encoder

    def targets(self, clips: Tensor, masks: Sequence[Mask]) -> list[Tensor]:
        """What is to be inferred of prepared clips (B, 3, T, H, W): (B, M, outputs) for each mask type."""
        raise NotImplementedError

    def distance(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Scalar loss of what was inferred of one mask type."""
        raise NotImplementedError

    def forward(
        self, clips: Tensor, masks: Sequence[Mask], targets: Sequence[Tensor] | None = None
    ) -> Tensor:
        """Scalar loss of prepared clips (B, 3, T, H, W), averaged over mask types.

        With the `targets` of these mask types at hand they can be taken one at a time, each with its own
        backward pass: the same gradients, and the activations of one in memory.
        """
        losses = []
        for mask, wanted in zip(masks, targets or self.targets(clips, masks), strict=True):
            context = self.encoder(clips, mask.context_ids)
            predicted = self.predictor(context, mask.context_ids, mask.target_ids)
            losses.append(self.distance(predicted, wanted))
        return torch.stack(losses).mean()

    def after_step(self, momentum: float) -> None:
        """What is to be done once the optimiser has moved the weights; nothing by default."""

    def flops(self, masks: Sequence[Mask]) -> Flops:
        """Arithmetic of a step a clip, by part."""
        total = Flops()
        for mask in masks:
            visible, hidden = mask.context_ids.shape[1], mask.target_ids.shape[1]
            encoder, predictor = self.encoder.flops(visible), self.predictor.flops(visible, hidden)
            backward = 2 * (encoder + predictor) - self.encoder.embed_flops(visible)
            total += Flops(encoder, predictor, 0, backward)
        return total
