"""Weights of networks that a test has in memory, and what standardises their tokens."""

from __future__ import annotations

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


def predictor_of(weights: Weights) -> Predictor:
    """The predictor of weights; CheckpointError where there is none, or its tensors do not fit."""
    return build_from(weights.blank_predictor, weights.predictor, weights.origin.name)


def standardiser_of(tokens: Tensor) -> Standardiser:
    """What standardises training tokens (n, N, D) of any float type, from all of them at once."""
    mean = tokens.float().mean(dim=0)
    spread = (tokens.float() - mean).square().mean(dim=(0, 1)).sqrt()
    return Standardiser(mean, spread.clamp_min(1e-6))
