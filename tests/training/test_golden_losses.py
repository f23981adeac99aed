"""Claim: the losses of the paper's masks, of VideoMAE's, and of the small recipes are those that stand in
`golden_losses.json`, step by step.

A change of objective, masks, schedule, optimiser or start of weights shows here. One that should change them
writes the file anew: `python tests/training/test_golden_losses.py`.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from echojepa.config import TUBE_MASK, Architecture, InputSpec, OptimConfig, PretrainConfig
from echojepa.models.building import build_objective
from echojepa.models.masking import sample_mask
from echojepa.randomness import derive_seed
from echojepa.recipes import RECIPES
from echojepa.training.building import build_optimizer
from echojepa.training.distributed import World
from echojepa.training.loader import Batch
from echojepa.training.step import TrainStep

GOLDEN = Path(__file__).with_name("golden_losses.json")
STEPS, CLIPS = 10, 2
BLOCKS = PretrainConfig(
    Path("data"), Path("out"), architecture=Architecture("micro", patch=8), spec=InputSpec(96, 8, 1.0),
    predictor_width=64, predictor_depth=4, predictor_heads=1,
    optim=OptimConfig(lr=3e-4, warmup=0.1, cooldown=0.2, ema_start=0.99, ema_end=0.998),
)  # fmt: skip
"""JEPA under the paper's masks, on places as fine as the paper's."""
MAE_OPTIM = replace(
    BLOCKS.optim, lr=1e-3, cooldown=0.9, cooldown_shape="cosine", beta2=0.95, weight_decay=0.05
)
CONFIGS = {
    "blocks": BLOCKS,
    "tubes": replace(BLOCKS, objective="videomae", masks=(TUBE_MASK,), optim=MAE_OPTIM),
    **{name: RECIPES[name](Path("data"), Path("out")) for name in ("small", "small-mae")},
}


def moving_discs(config: PretrainConfig, step: int) -> Batch:
    """Clips of a bright disc that pulses on a ramp: no file, no codec, the same on every machine."""
    spec = config.spec
    draws = torch.Generator().manual_seed(derive_seed(0, "golden", step))
    centres = torch.randint(spec.size // 4, 3 * spec.size // 4, (CLIPS, 2, 1, 1, 1), generator=draws)
    phases = torch.randint(0, spec.frames, (CLIPS, 1, 1, 1), generator=draws)
    time = torch.arange(spec.frames).view(1, -1, 1, 1)
    rows, columns = torch.meshgrid(torch.arange(spec.size), torch.arange(spec.size), indexing="ij")
    radius = 8 + 4 * ((time + phases) % spec.frames - spec.frames // 2).abs()
    inside = (rows - centres[:, 0]) ** 2 + (columns - centres[:, 1]) ** 2 < radius**2
    picture = torch.where(inside, 200, rows).to(torch.uint8)
    grid = config.architecture.grid(spec)
    masks = [sample_mask(mask, grid, CLIPS, draws) for mask in config.masks]
    return Batch(picture.unsqueeze(1).expand(-1, 3, -1, -1, -1), masks, CLIPS)


def losses_of(name: str) -> list[float]:
    """The losses of a config's first steps, at a batch of two and a schedule of ten."""
    config = replace(CONFIGS[name], batch_size=CLIPS, steps=STEPS)
    model = build_objective(config)
    world = World(0, 1, torch.device("cpu"))
    step = TrainStep(config, world, model, model, build_optimizer(model, config), torch.float32, STEPS)
    return [step(moving_discs(config, number), number)["loss"] for number in range(STEPS)]


@pytest.mark.parametrize("name", CONFIGS)
def test_losses_are_the_golden_ones(name: str) -> None:
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))[name]
    assert losses_of(name) == pytest.approx(golden, rel=2e-3)
    assert golden[-1] < golden[0] or name.startswith("small"), "ten steps of two clips teach it nothing"


if __name__ == "__main__":
    found = {name: [round(loss, 6) for loss in losses_of(name)] for name in CONFIGS}
    GOLDEN.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
