"""Named complete pretraining configs. A variant is `dataclasses.replace` of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from echojepa.config import OptimConfig, PretrainConfig
from echojepa.models.contract import InputSpec
from echojepa.models.masking import TUBE_MASK
from echojepa.models.vit import Architecture


def micro(data: Path, out: Path) -> PretrainConfig:
    """Minutes on a laptop CPU: the recipe of `make demo`.

    Objective and masks are the paper's (arXiv 2602.02603, section 3); everything that depends on the
    size of the run is not. The paper's values scaled to this batch would give a learning rate of
    1.4e-6 and a warm-up longer than the run. Swept on the phantom: at 1e-3 with momentum 0.98 to 0.995
    the effective rank fell from 80 to 14 in 300 steps (docs/explanation/jepa.md).
    """
    return PretrainConfig(
        data=data,
        out=out,
        architecture=Architecture("micro", patch=8),
        spec=InputSpec(size=96, frames=8, seconds=1.0),
        predictor_width=64,
        predictor_depth=4,
        predictor_heads=1,
        optim=OptimConfig(lr=3e-4, warmup=0.1, cooldown=0.2, ema_start=0.99, ema_end=0.998),
        batch_size=8,
        steps=600,
    )


def jepa_rate(batch_size: int) -> float:
    """EchoJEPA's learning rate for a batch: 5.25e-4 a 3072 clips (its released configs)."""
    return 5.25e-4 * batch_size / 3072


def videomae_rate(batch_size: int) -> float:
    """VideoMAE's learning rate for a batch: 1.5e-4 a 256 clips (arXiv 2203.12602, appendix)."""
    return 1.5e-4 * batch_size / 256


def large(data: Path, out: Path) -> PretrainConfig:
    """EchoJEPA-L as published: ViT-L, 96,000 steps of 1024 clips. Never run by us; made for a cluster.

    72,000 steps, of them 12,000 of warm-up, and 24,000 of cooldown (arXiv 2602.02603 and released configs).
    """
    return PretrainConfig(
        data=data,
        out=out,
        optim=OptimConfig(
            lr=jepa_rate(1024), warmup=0.125, cooldown=0.25, ema_start=0.99925, ema_end=0.99925
        ),
        batch_size=1024,
        steps=96_000,
        checkpoint_every=1000,
        monitor_every=1000,
    )


def large_mae(data: Path, out: Path) -> PretrainConfig:
    """The pixel baseline of `large` by VideoMAE's own rules. Never run by us; made for a cluster.

    Decoder of VideoMAE-L at EchoMAE's depth of 4, warm-up over a fortieth, cosine (arXiv 2203.12602).
    """
    jepa = large(data, out)
    optim = OptimConfig(
        videomae_rate(1024), 0.025, 0.975, cooldown_shape="cosine", beta2=0.95, weight_decay=0.05
    )
    decoder = {"predictor_width": 512, "predictor_depth": 4, "predictor_heads": 8}
    return replace(jepa, objective="videomae", masks=(TUBE_MASK,), optim=optim, **decoder)


def micro_mae(data: Path, out: Path) -> PretrainConfig:
    """The pixel baseline of `micro`: same encoder, data, steps and predictor, VideoMAE's mask and loss.

    Its learning rate is the best of four by training loss (docs/explanation/jepa.md); VideoMAE's rule,
    1.5e-4 a 256 clips, would give 4.7e-6 here, at which 600 steps learn next to nothing.
    """
    jepa = micro(data, out)
    optim = replace(jepa.optim, lr=1e-3, cooldown=0.9, cooldown_shape="cosine", beta2=0.95, weight_decay=0.05)
    return replace(jepa, objective="videomae", masks=(TUBE_MASK,), optim=optim)


def smoke(data: Path, out: Path) -> PretrainConfig:
    """Seconds on a CPU: shows that everything runs, learns nothing. Used by the tests."""
    return PretrainConfig(
        data=data,
        out=out,
        architecture=Architecture("micro", patch=8),
        spec=InputSpec(size=96, frames=4, seconds=0.8),
        predictor_width=32,
        predictor_depth=1,
        predictor_heads=1,
        batch_size=4,
        steps=6,
        checkpoint_every=2,
        monitor_every=3,
    )


RECIPES: dict[str, Callable[[Path, Path], PretrainConfig]] = {
    "micro": micro,
    "micro-mae": micro_mae,
    "large": large,
    "large-mae": large_mae,
    "smoke": smoke,
}
