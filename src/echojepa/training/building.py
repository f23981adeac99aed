"""Networks and optimiser of a run before its first step, functions of its config alone."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from echojepa.config import PretrainConfig
from echojepa.models.jepa import JEPA
from echojepa.models.objective import Objective
from echojepa.models.predictor import Predictor, PredictorShape
from echojepa.models.videomae import VideoMAE
from echojepa.models.vit import VisionTransformer
from echojepa.randomness import derive_seed


def generator_for(seed: int, purpose: str, *numbers: int) -> torch.Generator:
    """A generator that belongs to (seed, purpose, numbers)."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, *numbers))


def build_encoder(config: PretrainConfig) -> VisionTransformer:
    """The encoder before any training, a function of the config's seed alone."""
    return VisionTransformer(config.architecture, config.spec, generator_for(config.seed, "encoder"))


def build_objective(config: PretrainConfig) -> Objective:
    """Encoder and predictor before any training, under the config's objective."""
    encoder, architecture = build_encoder(config), config.architecture
    pixels = 3 * architecture.tubelet * architecture.patch**2
    shape = PredictorShape(
        config.predictor_width,
        config.predictor_depth,
        config.predictor_heads,
        outputs=pixels if config.objective == "videomae" else encoder.width,
    )
    predictor = Predictor(
        encoder.width,
        encoder.grid,
        shape,
        architecture.position,
        generator_for(config.seed, "predictor"),
        architecture.trained_side,
    )
    encoder.recompute = predictor.recompute = config.recompute
    if config.objective == "videomae":
        return VideoMAE(encoder, predictor)
    return JEPA(encoder, predictor, centred=config.centred_targets)


def build_optimizer(model: Objective, config: PretrainConfig) -> torch.optim.AdamW:
    """AdamW over encoder and predictor; biases and norms are not decayed."""
    trained = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trained if p.ndim > 1], "weight_decay": config.optim.weight_decay},
        {"params": [p for p in trained if p.ndim <= 1], "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=config.optim.lr, betas=(0.9, config.optim.beta2), fused=True)


def working_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What matrix products compute in: bf16 where asked for, or where the device has instructions for it
    and precision is auto; float32 otherwise."""
    if precision == "auto":
        capable = (
            torch.cuda.is_bf16_supported()
            if device.type == "cuda"
            else bool(torch.cpu.get_capabilities().get("avx512_bf16"))
        )
        precision = "bf16" if capable else "float32"
    return torch.bfloat16 if precision == "bf16" else torch.float32


def training_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """All that a step changes, by name: weights, and AdamW's two moments and count of each trained one.

    Moments that are not there yet are made, as AdamW makes them at its first step.
    """
    tensors: dict[str, Tensor] = {}
    for name, weight in model.named_parameters():
        tensors[f"model.{name}"] = weight.detach()
        if weight.requires_grad:
            state = optimizer.state[weight]
            if not state:
                state["step"] = torch.zeros((), device=weight.device)
                state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
            tensors |= {f"optimizer.{name}.{key}": value.detach() for key, value in state.items()}
    return tensors
