"""Named complete pretraining configs. A variant is `dataclasses.replace` of one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from echojepa.config import (
    TIME_MASK,
    TUBE_MASK,
    Architecture,
    FaultConfig,
    InputSpec,
    LatentConfig,
    OptimConfig,
    PretrainConfig,
)


def micro(data: Path, out: Path) -> PretrainConfig:
    """Minutes on a laptop CPU, on places as fine as the paper's.

    Objective and masks are the paper's (arXiv 2602.02603, section 3); everything that depends on the
    size of the run is not. The paper's values scaled to this batch would give a learning rate of
    1.4e-6 and a warm-up longer than the run. Swept on the phantom: at 1e-3 with momentum 0.98 to 0.995
    the effective rank fell from 80 to 14 in 300 steps (docs/explanation/jepa.md). A run this short is young
    to its end and its loss falls by a fifth in 50 steps, so that only a fall by half counts as sudden.

        echojepa pretrain micro --data D --out R

    Hardware: two CPU cores. Hours: 0.2. Loss: from 0.82 to 0.29 within 350 steps, then a slow rise to 0.34
    (docs/reference/performance.md has the curve).
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
        faults=FaultConfig(loss_drop=0.5),
    )


MATCHED_FLOPS = 2.37e20
"""Arithmetic of EchoJEPA-L's 96,000 steps, `echojepa-l` and `cooldown` together (`models/flops.py`)."""


def jepa_rate(batch_size: int) -> float:
    """EchoJEPA's learning rate for a batch: 5.25e-4 a 3072 clips (its released configs)."""
    return 5.25e-4 * batch_size / 3072


def videomae_rate(batch_size: int) -> float:
    """VideoMAE's learning rate for a batch: 1.5e-4 a 256 clips (arXiv 2203.12602, appendix)."""
    return 1.5e-4 * batch_size / 256


def echojepa_l(data: Path, out: Path) -> PretrainConfig:
    """EchoJEPA-L as published: ViT-L, 72,000 steps of 1024 clips, then `cooldown`. Never run by us.

    arXiv 2602.02603, section 3 and released configs: 224 px, 16 frames over 2 s, 5.25e-4 a 3072 clips, 12,000
    steps of warm-up, then constant; momentum 0.99925, decay 0.04. The published run starts from V-JEPA 2's
    ViT-L (`--start vitl.pt`).

        torchrun --nproc-per-node 8 -m echojepa pretrain echojepa-l --data D --out R --start vitl.pt

    Hardware: 8 GPUs of 80 GB, 128 clips each. Hours: 70, from the authors' 3.5 s a step. Loss: from V-JEPA 2
    0.53, a dip to 0.46 within 3,000 steps, then a slow rise to 0.52 to 0.57 (their logs): rising is healthy,
    a sudden fall is a collapse.
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
    sharded: four copies of a billion do not fit beside the activations. Started from V-JEPA 2's ViT-g.

        torchrun --nproc-per-node 8 -m echojepa pretrain echojepa-g --data D --out R --start vitg-384.pt

    Hardware: 8 GPUs of 80 GB, 80 clips each. Hours: 157, by arithmetic from the authors' ViT-L
    (docs/reference/performance.md). Loss: as `echojepa-l`.
    """
    optim = OptimConfig(
        lr=jepa_rate(640), warmup=1_500 / 84_000, cooldown=0.0, ema_start=0.99925, ema_end=0.99925
    )
    return replace(
        echojepa_l(data, out),
        architecture=Architecture("giant"),
        spec=InputSpec(size=224, frames=16, seconds=16 / 24),
        optim=optim,
        batch_size=640,
        steps=84_000,
        parallel="shard",
    )


def cooldown(data: Path, out: Path) -> PretrainConfig:
    """The end of `echojepa-l`: 24,000 steps down to a rate of 1e-6. Never run by us.

    arXiv 2602.02603 and released configs: linear from the constant rate, 80 epochs of 300 steps. `--start R`
    takes encoder, target encoder and predictor of any run's newest checkpoint; `--spec.size` and
    `--spec.frames` may be others than the run's, since rotary positions have no weights.

        torchrun --nproc-per-node 8 -m echojepa pretrain cooldown --data D --out C --start R

    Hardware: as `echojepa-l`. Hours: 23. Loss: falls slowly, by less than a tenth.
    """
    constant = echojepa_l(data, out)
    optim = replace(constant.optim, warmup=0.0, cooldown=1.0, lr_end=1e-6)
    return replace(constant, optim=optim, steps=24_000)


def cooldown_g(data: Path, out: Path) -> PretrainConfig:
    """The end of `echojepa-g` at 336 px: 24,300 steps of a falling rate. Never run by us.

    Released config of arXiv 2602.02603: 5.468e-5 at its start, 1.04e-7 at its end, linear over 200
    epochs of 300 steps, of which 81 were run; the rate ends at what the line has there.

        torchrun --nproc-per-node 8 -m echojepa pretrain cooldown-g --data D --out C --start R

    Hardware: as `echojepa-g`; 40 clips a GPU at a time fit (`--microbatch 40`). Hours: 115, by arithmetic.
    Loss: steps up at first, at a resolution that is new to it, then falls slowly.
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
    """The pixel baseline at the arithmetic of `echojepa-l` and `cooldown` together. Never run by us.

    Decoder of VideoMAE-L at EchoMAE's depth of 4, tube mask over nine tenths, warm-up over a fortieth, cosine
    (arXiv 2203.12602, appendix). Its learning rate is VideoMAE's 1.5e-4 a 256 clips; the published EchoMAE
    ran at a hundred-and-seventieth of it. A step is a fifth of EchoJEPA-L's arithmetic, for it has no target
    encoder and shows a tenth of the tokens: the same budget is some 478,000 steps.

        torchrun --nproc-per-node 8 -m echojepa pretrain videomae-l --data D --out R

    Hardware: as `echojepa-l`. Hours: 90, if 1,500 clips a second can be read. Loss: from 1 down, never up.
    """
    optim = OptimConfig(
        videomae_rate(1024), 0.025, 0.975, cooldown_shape="cosine", beta2=0.95, weight_decay=0.05
    )
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


def gpu(data: Path, out: Path) -> PretrainConfig:
    """An evening on one GPU: ViT-S/8, 112 px, 20,000 steps of 64 clips. Never run by us.

    Objective and masks are the paper's (arXiv 2602.02603, section 3), the rest is not: its rule scaled to
    this batch would give a rate of 1.1e-5, at which a random start learns next to nothing in 20,000 steps.
    Patches of 8 px give the masks the paper's grid of 14 x 14 tokens.

        echojepa pretrain gpu --data D --out R

    Hardware: one GPU of 24 GB. Hours: 4 on an A100, by arithmetic at a tenth of its bf16 rate, which a model
    this small may reach. Loss: falls fast through the warm-up, then is level or rises slowly.
    """
    return PretrainConfig(
        data=data,
        out=out,
        architecture=Architecture("small", patch=8),
        spec=InputSpec(size=112, frames=16, seconds=2.0),
        predictor_width=192,
        predictor_depth=12,
        predictor_heads=6,
        optim=OptimConfig(lr=3e-4, warmup=0.05, cooldown=0.2, ema_start=0.996, ema_end=0.9995),
        batch_size=64,
        steps=20_000,
        workers=8,
        checkpoint_every=500,
        monitor_every=500,
    )


def micro_mae(data: Path, out: Path) -> PretrainConfig:
    """The pixel baseline of `micro`: same encoder, data, steps and predictor, VideoMAE's mask and loss.

    Its learning rate is the best of four by training loss (docs/explanation/jepa.md); VideoMAE's rule,
    1.5e-4 a 256 clips, would give 4.7e-6 here, at which 600 steps learn next to nothing (arXiv 2203.12602).

        echojepa pretrain micro-mae --data D --out R

    Hardware: two CPU cores. Hours: 0.1. Loss: to 0.65 within 200 steps, then slowly to 0.64
    (docs/reference/performance.md has the curve).
    """
    jepa = micro(data, out)
    optim = replace(jepa.optim, lr=1e-3, cooldown=0.9, cooldown_shape="cosine", beta2=0.95, weight_decay=0.05)
    return replace(jepa, objective="videomae", masks=(TUBE_MASK,), optim=optim)


def small(data: Path, out: Path) -> PretrainConfig:
    """Half an hour on one core: few tokens a clip, many updates, targets hidden in time alone.

    What keeps the paper's objective (arXiv 2602.02603, section 3): latent targets, L1, an EMA encoder. What
    does not: what is hidden is hidden in time and not in blocks, which on so few places teach nothing;
    targets are the mean of all layers, less each position's mean over clips; pixels are normalised to an
    echo's own mean and spread. With `--latent.teacher R`, the run of `small-mae`, targets are those of a
    frozen pixel encoder (SALT, arXiv 2509.24317), which read best of all that was tried (docs/sweep.md).

        echojepa pretrain small --data D --out R

    Hardware: one CPU core. Hours: 0.5. Loss: under that teacher from 0.48 to 0.12 within
    2,500 steps.
    """
    return PretrainConfig(
        data=data,
        out=out,
        architecture=Architecture("nano", patch=12),
        spec=InputSpec(size=48, frames=16, seconds=1.2, mean=(0.2, 0.2, 0.2), std=(0.25, 0.25, 0.25)),
        masks=(TIME_MASK,),
        latent=LatentConfig(layers="all", centred=True),
        augment="shift",
        predictor_width=64,
        predictor_depth=2,
        predictor_heads=2,
        optim=OptimConfig(lr=5e-4, warmup=0.06, cooldown=0.3, ema_start=0.99, ema_end=0.9985),
        batch_size=16,
        steps=4000,
        checkpoint_every=500,
        monitor_every=500,
        faults=FaultConfig(on_collapse="warn"),
    )


def small_mae(data: Path, out: Path) -> PretrainConfig:
    """The pixel objective on the encoder of `small`, and its teacher: forecasts and hindcasts of pixels.

    VideoMAE's loss (arXiv 2203.12602) on its normalised pixels, but not its mask: tubes that hide nine tenths
    of the places leave one or two of sixteen. Here all places are seen for three eighths of the clip, and
    the pixels of three others are inferred.

        echojepa pretrain small-mae --data D --out R

    Hardware: one CPU core. Hours: 0.4. Loss: from 0.85 to 0.29 within 900 steps, 0.17 at
    the end.
    """
    jepa = small(data, out)
    optim = replace(jepa.optim, lr=1e-3, beta2=0.95, weight_decay=0.05)
    return replace(jepa, objective="videomae", latent=LatentConfig(), optim=optim, batch_size=32)


def smoke(data: Path, out: Path) -> PretrainConfig:
    """Seconds on a CPU: shows that everything runs, learns nothing. Used by the tests.

        echojepa pretrain smoke --data D --out R

    Hardware: any. Hours: 0.001. Loss: about 0.8 throughout.
    """
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
    "small": small,
    "small-mae": small_mae,
    "gpu": gpu,
    "echojepa-l": echojepa_l,
    "echojepa-g": echojepa_g,
    "cooldown": cooldown,
    "cooldown-g": cooldown_g,
    "videomae-l": videomae_l,
    "smoke": smoke,
}
