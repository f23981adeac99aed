"""The paper on one screen: predict the latent embeddings of what is hidden.

EchoJEPA (arXiv 2602.02603) after V-JEPA (arXiv 2404.08471): the context encoder sees the visible
tubelets, the predictor infers the embeddings of the hidden ones, and an exponential moving average of
the encoder, which sees everything, provides the targets. Speckle cannot be predicted, so it is not modelled.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from echojepa.models.flops import Flops
from echojepa.models.masking import Mask
from echojepa.models.objective import masked_flops
from echojepa.models.predictor import Predictor
from echojepa.models.vit import VisionTransformer, gather_tokens

CENTRE_WEIGHT = 0.01
"""Weight of a step's clips in the running mean that centred targets are taken from: 100 steps' memory."""


class RunningMean(nn.Module):
    """Mean of each position's target over the clips of late steps."""

    mean: Tensor
    """(N, D)."""
    steps: Tensor
    """How many means of a batch are in it."""

    def __init__(self, tokens: int, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(tokens, width))
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, targets: Tensor) -> Tensor:
        """Targets (B, N, D) less the mean, which in training takes in these clips first."""
        if self.training:
            self.steps += 1
            self.mean.lerp_(targets.mean(0).float(), max(CENTRE_WEIGHT, 1 / self.steps.item()))
        return targets - self.mean


class JEPA(nn.Module):
    """Encoder, predictor, and the target encoder that follows the encoder by EMA."""

    targets_move = True

    def __init__(self, encoder: VisionTransformer, predictor: Predictor, *, centred: bool = False) -> None:
        """With `centred` targets the running mean of each position over clips is taken out of them: of what
        is the same in every clip nothing is to be predicted. An option beside the paper's."""
        super().__init__()
        self.encoder = encoder
        self.predictor = predictor
        self.target_encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.centre = RunningMean(math.prod(encoder.grid), encoder.width) if centred else nn.Identity()

    @property
    def result(self) -> VisionTransformer:
        """The moving average: smoother, and what the published figures were made with."""
        return self.target_encoder

    @torch.no_grad()
    def targets(self, clips: Tensor, masks: Sequence[Mask]) -> list[Tensor]:
        """Layer-normalised, perhaps centred, features (B, M, D) of each mask type's hidden tokens."""
        features = self.target_encoder(clips)
        normalised = self.centre(F.layer_norm(features, features.shape[-1:]))
        return [gather_tokens(normalised, mask.target_ids) for mask in masks]

    def loss(self, clips: Tensor, mask: Mask, targets: Tensor) -> Tensor:
        """Mean L1 distance between the predicted and the target features (B, M, D) of the hidden tokens."""
        context = self.encoder(clips, mask.context_ids)
        predicted = self.predictor(context, mask.context_ids, mask.target_ids)
        return F.l1_loss(predicted, targets)

    forward = loss

    def errors(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Mean L1 distance of each hidden token, (B, M), of (B, M, D)."""
        return (predicted - targets).abs().mean(-1)

    """What is called where several processes share the model."""

    @torch.no_grad()
    def update_ema(self, momentum: float) -> None:
        """target = momentum * target + (1 - momentum) * encoder, for every parameter."""
        targets: list[Tensor] = [*self.target_encoder.parameters()]
        online: list[Tensor] = [*self.encoder.parameters()]
        torch._foreach_lerp_(targets, online, 1 - momentum)  # pyright: ignore[reportPrivateImportUsage]

    def flops(self, masks: Sequence[Mask]) -> Flops:
        """Arithmetic of a step a clip, the target encoder's pass over all tokens included."""
        everything = self.target_encoder.flops(math.prod(self.encoder.grid))
        return masked_flops(self.encoder, self.predictor, masks) + Flops(target=everything)
