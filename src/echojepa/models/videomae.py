"""The pixel baseline: predict the pixels of what is hidden.

VideoMAE (arXiv 2203.12602) on JEPA's own encoder, loop and data, so that only the objective differs: nine
tenths of the picture are hidden through the whole clip, a light decoder infers their normalised pixels, the
loss is their squared error. Speckle is most of an ultrasound picture's variance; here it must be modelled.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor

from echojepa.models.masking import Mask
from echojepa.models.objective import Masked
from echojepa.models.vit import gather_tokens


def cut_tubelets(clips: Tensor, tubelet: int, patch: int) -> Tensor:
    """Pixels of clips (B, C, T, H, W) by tubelet, (B, N, tubelet * patch * patch, C)."""
    cut = clips.unflatten(4, (-1, patch)).unflatten(3, (-1, patch)).unflatten(2, (-1, tubelet))
    return cut.permute(0, 2, 4, 6, 3, 5, 7, 1).flatten(4, 6).flatten(1, 3).float()


def pixel_targets(clips: Tensor, tubelet: int, patch: int) -> Tensor:
    """Pixels of clips (B, 3, T, H, W) by tubelet, (B, N, tubelet * patch * patch * 3), channel last.

    Each channel of a tubelet has its own mean taken out and is divided by its standard deviation (unbiased)
    plus 1e-6, as VideoMAE's code does. That undoes the InputSpec's normalisation too.
    """
    pixels = cut_tubelets(clips, tubelet, patch)
    centred = pixels - pixels.mean(dim=2, keepdim=True)
    return (centred / (pixels.var(dim=2, keepdim=True).sqrt() + 1e-6)).flatten(2)


class VideoMAE(Masked):
    """Encoder and a decoder that gives each hidden tubelet's pixels."""

    def targets(self, clips: Tensor, masks: Sequence[Mask], labels: None = None) -> list[Tensor]:
        """Normalised pixels (B, M, tubelet * patch * patch * 3) of each mask type's hidden tokens."""
        tubelet, patch, _ = self.encoder.patch_embed.kernel
        pixels = pixel_targets(clips, tubelet, patch)
        return [gather_tokens(pixels, mask.target_ids) for mask in masks]

    def loss(self, clips: Tensor, mask: Mask, targets: Tensor) -> Tensor:
        """Mean squared error of the hidden tokens' pixels."""
        context = self.encoder(clips, mask.context_ids)
        predicted = self.predictor(context, mask.context_ids, mask.target_ids)
        return F.mse_loss(predicted.float(), targets)

    def errors(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Mean squared error of each hidden token, (B, M), of its pixels (B, M, outputs)."""
        return (predicted - targets).square().mean(-1)

    forward = loss
    """What is called where several processes share the model."""
