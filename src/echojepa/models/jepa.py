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

from echojepa.config import PAPER_LATENT, LatentConfig
from echojepa.models.masking import Mask
from echojepa.models.objective import Masked
from echojepa.models.predictor import Predictor
from echojepa.models.vit import VisionTransformer, gather_tokens

STEP_WEIGHT = 0.01
"""Weight of a step's clips in what is known of late targets: 100 steps' memory."""


class RunningStatistics(nn.Module):
    """What the targets of late steps are like, and targets less of it."""

    mean: Tensor
    """Of each position over clips (N, D)."""
    variance: Tensor
    """Of each channel about it, over clips and positions (D,); ones where nothing is scaled by it."""
    steps: Tensor
    """How many steps are in them."""

    def __init__(self, tokens: int, width: int, latent: LatentConfig) -> None:
        super().__init__()
        self.latent = latent
        self.register_buffer("mean", torch.zeros(tokens, width))
        self.register_buffer("variance", torch.ones(width))
        self.register_buffer("steps", torch.zeros(()))

    def forward(self, targets: Tensor) -> Tensor:
        """Targets (B, N, D), centred and scaled as asked by what in training takes in these clips first."""
        if self.training:
            self.steps += 1
            weight = max(STEP_WEIGHT, 1 / self.steps.item())
            self.mean.lerp_(targets.mean(0).float(), weight)
            if self.latent.scaled:
                self.variance.lerp_((targets - self.mean).float().square().mean((0, 1)), weight)
        if self.latent.centred:
            targets = targets - self.mean
        return targets / (self.variance.sqrt() + 1e-3) if self.latent.scaled else targets


class JEPA(Masked):
    """Encoder, predictor, and the target encoder that follows the encoder by EMA."""

    def __init__(
        self, encoder: VisionTransformer, predictor: Predictor, latent: LatentConfig = PAPER_LATENT
    ) -> None:
        """`latent` says what the targets are made of; its defaults are the paper's."""
        super().__init__(encoder, predictor)
        self.latent = latent
        self.targets_move = latent.teacher is None
        self.target_encoder = copy.deepcopy(encoder).requires_grad_(False)
        known = latent.centred or latent.scaled
        self.statistics = (
            RunningStatistics(math.prod(encoder.grid), encoder.width, latent) if known else nn.Identity()
        )

    @property
    def result(self) -> VisionTransformer:
        """The moving average: smoother, and what the published figures were made with; beside a teacher the
        encoder."""
        return self.target_encoder if self.targets_move else self.encoder

    @torch.no_grad()
    def targets(self, clips: Tensor, masks: Sequence[Mask], labels: None = None) -> list[Tensor]:
        """Layer-normalised features (B, M, D) of each mask type's hidden tokens."""
        features = self.target_encoder(clips, mean_of_layers=self.latent.layers == "all")
        normalised = self.statistics(self.moving(F.layer_norm(features, features.shape[-1:])))
        return [gather_tokens(normalised, mask.target_ids) for mask in masks]

    def moving(self, targets: Tensor) -> Tensor:
        """Targets (B, N, D) of all tokens with as much of each place's mean over time as is to stay."""
        share = self.latent.still_share
        if share == 1:
            return targets
        slots = targets.unflatten(1, (self.encoder.grid[0], -1))
        return (slots - (1 - share) * slots.mean(1, keepdim=True)).flatten(1, 2)

    def loss(self, clips: Tensor, mask: Mask, targets: Tensor) -> Tensor:
        """Mean L1 distance between the predicted and the target features (B, M, D) of the hidden tokens."""
        context = self.encoder(clips, mask.context_ids)
        predicted = self.predictor(context, mask.context_ids, mask.target_ids)
        return F.l1_loss(predicted, targets)

    def errors(self, predicted: Tensor, targets: Tensor) -> Tensor:
        """Mean L1 distance of each hidden token, (B, M), of (B, M, D)."""
        return (predicted - targets).abs().mean(-1)

    forward = loss
    """What is called where several processes share the model."""

    @torch.no_grad()
    def update_ema(self, momentum: float) -> None:
        """target = momentum * target + (1 - momentum) * encoder, for every parameter; a teacher stays."""
        if not self.targets_move:
            return
        targets: list[Tensor] = [*self.target_encoder.parameters()]
        online: list[Tensor] = [*self.encoder.parameters()]
        torch._foreach_lerp_(targets, online, 1 - momentum)  # pyright: ignore[reportPrivateImportUsage]

    def flops(self, masks: Sequence[Mask]) -> int:
        """Arithmetic of a step a clip, the target encoder's pass over all tokens included."""
        return super().flops(masks) + self.target_encoder.flops(math.prod(self.encoder.grid))
