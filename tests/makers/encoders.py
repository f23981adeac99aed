"""Networks that several tests have in memory, their weights, and what standardises their tokens."""

from __future__ import annotations

import pytest
from torch import Tensor, nn

from echojepa.config import Architecture, InputSpec
from echojepa.models.predictor import Predictor
from echojepa.models.probe import Standardiser
from echojepa.weights.folder import Origin, Weights
from echojepa.weights.tensors import build_from


def weights_of(
    encoder: nn.Module,
    architecture: Architecture,
    spec: InputSpec,
    origin: Origin,
    predictor: Predictor | None = None,
) -> Weights:
    """The weights of networks in memory."""
    return Weights(
        architecture,
        spec,
        dict(encoder.state_dict()),
        origin,
        predictor_shape=predictor.shape if predictor else None,
        predictor=dict(predictor.state_dict()) if predictor else {},
    )


def small_mvit() -> nn.Module:
    """EchoPrime's network in small: two blocks of torchvision's MViT under the same names."""
    video = pytest.importorskip("torchvision").models.video.mvit
    block = video.MSBlockConfig(
        num_heads=1, input_channels=16, output_channels=16, kernel_q=(3, 3, 3), kernel_kv=(3, 3, 3),
        stride_q=(1, 1, 1), stride_kv=(1, 2, 2),
    )  # fmt: skip
    model = video.MViT(
        (32, 32), 16, [block, block], residual_pool=True, residual_with_cls_embed=False, rel_pos_embed=True,
        proj_after_attn=True,
    )  # fmt: skip
    model.head[1] = nn.Linear(16, 512)
    return model


def predictor_of(weights: Weights) -> Predictor:
    """The predictor of weights; CheckpointError where there is none, or its tensors do not fit."""
    return build_from(weights.blank_predictor, weights.predictor, weights.origin.name)


def standardiser_of(tokens: Tensor) -> Standardiser:
    """What standardises training tokens (n, N, D) of any float type, from all of them at once."""
    mean = tokens.float().mean(dim=0)
    spread = (tokens.float() - mean).square().mean(dim=(0, 1)).sqrt()
    return Standardiser(mean, spread.clamp_min(1e-6))
