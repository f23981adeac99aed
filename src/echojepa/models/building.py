"""Networks of a run before its first step, functions of its config alone."""

from __future__ import annotations

import torch

from echojepa.config import LABELLED, PretrainConfig
from echojepa.models.clip_head import ClipHead
from echojepa.models.contrastive import Contrastive, ReportEncoder
from echojepa.models.jepa import JEPA
from echojepa.models.predictor import Predictor, PredictorShape
from echojepa.models.supervised import OUTPUTS, Supervised
from echojepa.models.videomae import VideoMAE
from echojepa.models.vit import VisionTransformer
from echojepa.randomness import derive_seed


def generator_for(seed: int, purpose: str, *numbers: int) -> torch.Generator:
    """A generator that belongs to (seed, purpose, numbers)."""
    return torch.Generator().manual_seed(derive_seed(seed, purpose, *numbers))


def build_encoder(config: PretrainConfig) -> VisionTransformer:
    """The encoder before any training, a function of the config's seed alone."""
    return VisionTransformer(config.architecture, config.spec, generator_for(config.seed, "encoder"))


def build_objective(config: PretrainConfig) -> JEPA | VideoMAE | Supervised | Contrastive:
    """Encoder and what it is trained with before any training, under the config's objective."""
    encoder, architecture = build_encoder(config), config.architecture
    encoder.recompute = config.recompute
    if config.objective in LABELLED:
        return build_labelled(config, encoder)
    pixels = 3 * architecture.tubelet * architecture.patch**2
    outputs = pixels if config.objective == "videomae" else encoder.width
    shape = PredictorShape(config.predictor_width, config.predictor_depth, config.predictor_heads, outputs)
    predictor = Predictor.of(architecture, config.spec, shape, generator_for(config.seed, "predictor"))
    predictor.recompute = config.recompute
    if config.objective == "videomae":
        return VideoMAE(encoder, predictor)
    return JEPA(encoder, predictor, config.latent)


def build_labelled(config: PretrainConfig, encoder: VisionTransformer) -> Supervised | Contrastive:
    """An objective that learns from labels, with a head on the encoder's tokens."""
    drawn = generator_for(config.seed, "head")
    if config.objective == "supervised":
        return Supervised(encoder, ClipHead(encoder.grid, encoder.width, OUTPUTS, drawn))
    width, depth, heads = config.predictor_width, config.predictor_depth, config.predictor_heads
    reports = ReportEncoder(width, depth, heads, generator_for(config.seed, "reports"))
    return Contrastive(encoder, ClipHead(encoder.grid, encoder.width, width, drawn), reports)
