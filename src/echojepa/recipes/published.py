"""Recipes as published, of EchoJEPA and of the pixel baseline beside it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from echojepa.config import TUBE_MASK, Architecture, FaultConfig, InputSpec, OptimConfig, PretrainConfig

MATCHED_FLOPS = 2.37e20
"""FLOPs of EchoJEPA-L's 96,000 steps, `echojepa-l` and `cooldown` together (`models/flops.py`)."""


def jepa_rate(batch_size: int) -> float:
    """EchoJEPA's learning rate for a batch: 5.25e-4 a 3072 clips (its released configs)."""
    return 5.25e-4 * batch_size / 3072


def echojepa_l(data: Path, out: Path) -> PretrainConfig:
    """EchoJEPA-L as published: ViT-L, 72,000 steps of 1024 clips, then `cooldown`. Never run by us.

    arXiv 2602.02603, section 3 and released configs: 224 px, 16 frames over 2 s, 5.25e-4 a 3072 clips, 12,000
    steps of warm-up, then constant; momentum 0.99925, decay 0.04. The published run starts from V-JEPA 2's
    ViT-L (`--start vitl.pt`).

        torchrun --nproc-per-node 8 -m echojepa pretrain echojepa-l --data D --out R --start vitl.pt

    Hardware: 8 GPUs of 80 GB, 128 clips each. Hours: 70, from the authors' 3.5 s a step. Loss: from V-JEPA 2
    0.53, a dip to 0.46 within 3,000 steps, then a slow rise to 0.52 to 0.57 (their logs). A slow rise is
    normal; a sudden fall is a collapse.
    """
    rate = jepa_rate(1024)
    return PretrainConfig(
        data=data,
        out=out,
        optim=OptimConfig(lr=rate, warmup=1 / 6, cooldown=0.0, ema_start=0.99925, ema_end=0.99925),
        batch_size=1024,
        steps=72_000,
        recompute=True,
        workers=12,
        checkpoint_every=1000,
        monitor_every=1000,
        faults=FaultConfig(on_collapse="rollback", window=300),
    )


def echojepa_g(data: Path, out: Path) -> PretrainConfig:
    """EchoJEPA-G as published: ViT-g, 84,000 steps of 640 clips, then `cooldown-g`. Never run by us.

    arXiv 2602.02603 and released configs: 224 px (the paper's text; its config has 336 px in both phases), 16
    frames at 24 frames a second, 5.25e-4 a 3072 clips, 1,500 steps of warm-up, then constant. Weights are
    sharded, because four copies of a billion do not fit beside the activations. It starts from V-JEPA 2's
    ViT-g.

        torchrun --nproc-per-node 8 -m echojepa pretrain echojepa-g --data D --out R --start vitg-384.pt

    Hardware: 8 GPUs of 80 GB, 80 clips each. Hours: 157, by arithmetic from the authors' ViT-L
    (docs/reference/performance.md). Loss: as `echojepa-l`.
    """
    large = echojepa_l(data, out)
    return replace(
        large,
        architecture=Architecture("giant"),
        spec=InputSpec(size=224, frames=16, seconds=16 / 24),
        optim=replace(large.optim, lr=jepa_rate(640), warmup=1_500 / 84_000),
        batch_size=640,
        steps=84_000,
        parallel="shard",
    )


def cooldown(data: Path, out: Path) -> PretrainConfig:
    """The end of `echojepa-l`: 24,000 steps with the rate falling to 1e-6. Never run by us.

    arXiv 2602.02603 and released configs: linear from the constant rate, 80 epochs of 300 steps. `--start R`
    takes encoder, target encoder and predictor of any run's newest checkpoint. `--spec.size` and
    `--spec.frames` may differ from the run's, because rotary positions have no weights.

        torchrun --nproc-per-node 8 -m echojepa pretrain cooldown --data D --out C --start R

    Hardware: as `echojepa-l`. Hours: 23. Loss: falls slowly, by less than a tenth.
    """
    constant = echojepa_l(data, out)
    optim = replace(constant.optim, warmup=0.0, cooldown=1.0, lr_end=1e-6)
    return replace(constant, optim=optim, steps=24_000)


def cooldown_g(data: Path, out: Path) -> PretrainConfig:
    """The end of `echojepa-g` at 336 px: 24,300 steps of a falling rate. Never run by us.

    Released config of arXiv 2602.02603: 5.468e-5 at its start, 1.04e-7 at its end, linear over 200 epochs of
    300 steps, of which 81 were run; the rate ends at its value on that line.

        torchrun --nproc-per-node 8 -m echojepa pretrain cooldown-g --data D --out C --start R

    Hardware: as `echojepa-g`; 40 clips a GPU at a time fit (`--microbatch 40`). Hours: 115, by arithmetic.
    Loss: rises at first, because the resolution is new, then falls slowly.
    """
    whole = echojepa_g(data, out)
    last = 5.468e-5 + (1.04e-7 - 5.468e-5) * 81 / 200
    return replace(
        whole,
        spec=replace(whole.spec, size=336),
        optim=replace(whole.optim, lr=5.468e-5, warmup=0.0, cooldown=1.0, lr_end=last),
        steps=24_300,
        microbatch=40,
    )


def videomae_l(data: Path, out: Path) -> PretrainConfig:
    """The pixel baseline at the FLOPs of `echojepa-l` and `cooldown` together. Never run by us.

    Decoder of VideoMAE-L at EchoMAE's depth of 4, tube mask over nine tenths, warm-up over a fortieth, cosine
    (arXiv 2203.12602, appendix). Its learning rate is VideoMAE's 1.5e-4 for 256 clips; the published EchoMAE
    used 1/170 of it. A step needs a fifth of EchoJEPA-L's FLOPs, because it has no target encoder and sees a
    tenth of the tokens. The same budget is about 478,000 steps.

        torchrun --nproc-per-node 8 -m echojepa pretrain videomae-l --data D --out R

    Hardware: as `echojepa-l`. Hours: 90, if 1,500 clips a second can be read. Loss: from 1 down, never up.
    """
    rate = 1.5e-4 * 1024 / 256
    optim = OptimConfig(rate, 0.025, 0.975, cooldown_shape="cosine", beta2=0.95, weight_decay=0.05)
    return replace(
        echojepa_l(data, out),
        objective="videomae",
        masks=(TUBE_MASK,),
        optim=optim,
        predictor_width=512,
        predictor_depth=4,
        predictor_heads=8,
        steps=1_000_000,
        max_flops=MATCHED_FLOPS,
    )
