"""Claims about the arithmetic of a step: the formulas equal torch's own counter."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from echojepa.config import PAPER_MASKS, TUBE_MASK, Architecture, InputSpec
from echojepa.models.jepa import JEPA
from echojepa.models.masking import Mask, sample_mask
from echojepa.models.predictor import Predictor, PredictorShape
from echojepa.models.videomae import VideoMAE
from echojepa.models.vit import VisionTransformer

SPEC = InputSpec(size=96, frames=4)
CLIPS = 2


def make(kind: type[JEPA] | type[VideoMAE]) -> tuple[JEPA | VideoMAE, Tensor, list[Mask]]:
    generator = torch.Generator().manual_seed(0)
    encoder = VisionTransformer(Architecture("micro", patch=8), SPEC, generator)
    outputs = encoder.width if kind is JEPA else 3 * 2 * 8 * 8
    predictor = Predictor(encoder.width, encoder.grid, PredictorShape(64, 2, 4, outputs), "vjepa2", generator)
    configs = PAPER_MASKS if kind is JEPA else (TUBE_MASK,)
    masks = [sample_mask(config, encoder.grid, CLIPS, generator) for config in configs]
    return kind(encoder, predictor), torch.randn(CLIPS, 3, 4, 96, 96, generator=generator), masks


@pytest.mark.parametrize("kind", [JEPA, VideoMAE])
def test_the_formulas_equal_torchs_own_counter(kind: type[JEPA] | type[VideoMAE]) -> None:
    model, clips, masks = make(kind)
    ours = CLIPS * model.flops(masks)
    with sdpa_kernel(SDPBackend.MATH):  # whose two products the counter sees on every device
        with FlopCounterMode(display=False) as forward:
            targets = model.targets(clips, masks)
            loss = sum(model.loss(clips, *pair) for pair in zip(masks, targets, strict=True))
        with FlopCounterMode(display=False) as backward:
            loss.backward()
    assert ours == forward.get_total_flops() + backward.get_total_flops()
    target = model.target_encoder.flops(math.prod(model.encoder.grid)) if isinstance(model, JEPA) else 0
    pixels = sum(model.encoder.embed_flops(mask.context_ids.shape[1]) for mask in masks)
    assert backward.get_total_flops() == 2 * (forward.get_total_flops() - CLIPS * target) - CLIPS * pixels


def test_each_part_equals_torchs_counter_of_that_part() -> None:
    model, clips, masks = make(JEPA)
    assert isinstance(model, JEPA)
    mask, tokens = masks[0], math.prod(model.encoder.grid)
    visible, hidden = mask.context_ids.shape[1], mask.target_ids.shape[1]
    with sdpa_kernel(SDPBackend.MATH), torch.no_grad():
        with FlopCounterMode(display=False) as target:
            model.target_encoder(clips)
        with FlopCounterMode(display=False) as encoder:
            context = model.encoder(clips, mask.context_ids)
        with FlopCounterMode(display=False) as predictor:
            model.predictor(context, mask.context_ids, mask.target_ids)
    counted = (target.get_total_flops(), encoder.get_total_flops(), predictor.get_total_flops())
    parts = (
        model.encoder.flops(tokens),
        model.encoder.flops(visible),
        model.predictor.flops(visible, hidden),
    )
    assert counted == tuple(CLIPS * part for part in parts)
