"""Recipes of our own: minutes to hours on a CPU, an evening on one GPU."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from echojepa.config import (
    NO_MASK,
    PAPER_MASKS,
    TIME_MASK,
    Architecture,
    FaultConfig,
    InputSpec,
    LatentConfig,
    OptimConfig,
    PretrainConfig,
)

ECHO = InputSpec(size=48, frames=16, seconds=1.2, mean=(0.2, 0.2, 0.2), std=(0.25, 0.25, 0.25))
"""A beat in few tokens; mean and spread are an echo's own, most of which is black."""


def small(data: Path, out: Path) -> PretrainConfig:
    """Half an hour on one core: few tokens in a clip, many updates, targets hidden only in time.

    As in the paper (arXiv 2602.02603, section 3): latent targets, L1, an EMA encoder. Different: tokens are
    hidden in time instead of in blocks, which teach nothing on so few places; targets are the mean of all
    layers, minus each position's mean over clips; pixels are normalised to the mean and spread of echo
    images. With `--latent.teacher R` (a run of `small-mae`), a frozen pixel encoder makes the targets (SALT,
    arXiv 2509.24317); of all variants tried, probes read this one best (docs/sweep.md).

        echojepa pretrain small --data D --out R

    Hardware: one CPU core. Hours: 0.5. Loss: under that teacher from 0.48 to 0.12 within
    2,500 steps.
    """
    return PretrainConfig(
        data=data,
        out=out,
        architecture=Architecture("nano", patch=12),
        spec=ECHO,
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
    """The pixel objective on the encoder of `small`, and its teacher: it predicts earlier and later pixels.

    VideoMAE's loss (arXiv 2203.12602) on its normalised pixels, but not its mask: tubes that hide nine tenths
    of the places would leave one or two of sixteen. Here all places are visible for three eighths of the
    clip, and the pixels of three other eighths are predicted.

        echojepa pretrain small-mae --data D --out R

    Hardware: one CPU core. Hours: 0.4. Loss: from 0.85 to 0.29 within 900 steps, 0.17 at
    the end.
    """
    jepa = small(data, out)
    optim = replace(jepa.optim, lr=1e-3, beta2=0.95, weight_decay=0.05)
    return replace(jepa, objective="videomae", latent=LatentConfig(), optim=optim, batch_size=32)


def micro(data: Path, out: Path) -> PretrainConfig:
    """Six minutes on one core: a short `small`, the paper's kind of targets (arXiv 2602.02603, section 3).

    With three seeds on 700 synthetic patients, its encoder read LVEF better than its random start
    (docs/results.md, "Latent against pixel").

        echojepa pretrain micro --data D --out R

    Hardware: one CPU core. Hours: 0.1. Loss: from 0.4 to 0.12 within 1,000 steps.
    """
    return replace(small(data, out), steps=1300, checkpoint_every=100, monitor_every=100)


def micro_mae(data: Path, out: Path) -> PretrainConfig:
    """A short `small-mae`, for as many minutes as `micro` takes (VideoMAE, arXiv 2203.12602).

        echojepa pretrain micro-mae --data D --out R

    Hardware: one CPU core. Hours: 0.1. Loss: from 0.85 to 0.29 within 900 steps.
    """
    return replace(small_mae(data, out), steps=1000, checkpoint_every=100, monitor_every=100)


def small_supervised(data: Path, out: Path) -> PretrainConfig:
    """The supervised control on the encoder and input of `small-mae`: LVEF, RVSP and view of every clip.

    PanEcho's paradigm (JAMA 2025, doi 10.1001/jama.2025.8731). It learns from all training patients' labels,
    so its probes are no results with few labels. It has fewer steps, because every token is visible.

        echojepa pretrain small-supervised --data D --out R

    Hardware: one CPU core. Hours: 0.4. Loss: from 1.4 to 0.92 in 500 steps, 0.6 at the end.
    """
    mae = small_mae(data, out)
    return replace(mae, objective="supervised", masks=(NO_MASK,), steps=2400)


def small_contrastive(data: Path, out: Path) -> PretrainConfig:
    """The contrastive control on the encoder and input of `small-mae`: clips and reports in graded phrases.

    EchoPrime's paradigm (arXiv 2410.09704). Reports are made from training patients' labels
    (`models/phrases`); the text encoder, of the predictor's size, starts from random weights.

        echojepa pretrain small-contrastive --data D --out R

    Hardware: one CPU core. Hours: 0.4. Loss: from 4.3 to 2.1 in 500 steps (3.44 is chance), 1.4 at the
    end.
    """
    return replace(small_supervised(data, out), objective="contrastive")


def gpu(data: Path, out: Path) -> PretrainConfig:
    """An evening on one GPU: ViT-S/8, 112 px, 20,000 steps of 64 clips. Never run by us.

    Objective and masks are the paper's (arXiv 2602.02603, section 3), and beside them what `small` gained
    by: a mask in time, targets of all layers, an echo's own mean and spread of pixels, an EMA that forgets
    within a twentieth of the run. The paper's rate scaled to this batch would be 1.1e-5, at which a random
    start learns next to nothing in 20,000 steps. Patches of 8 px give the masks the paper's 14 x 14 places.

        echojepa pretrain gpu --data D --out R

    Hardware: one GPU of 24 GB. Hours: 4 on an A100, by arithmetic at a tenth of its bf16 rate, which a model
    this small may reach. Loss: falls fast through the warm-up, then is level or rises slowly.
    """
    return PretrainConfig(
        data=data,
        out=out,
        architecture=Architecture("small", patch=8),
        spec=replace(ECHO, size=112, seconds=2.0),
        masks=(*PAPER_MASKS, TIME_MASK),
        latent=LatentConfig(layers="all"),
        predictor_width=192,
        predictor_depth=12,
        predictor_heads=6,
        optim=OptimConfig(lr=3e-4, warmup=0.05, cooldown=0.2, ema_start=0.996, ema_end=0.999),
        batch_size=64,
        steps=20_000,
        workers=8,
        checkpoint_every=500,
        monitor_every=500,
    )


def smoke(data: Path, out: Path) -> PretrainConfig:
    """Seconds on a CPU: shows that everything runs, but learns nothing. Used by the tests.

        echojepa pretrain smoke --data D --out R

    Hardware: any. Hours: 0.001. Loss: about 0.8 throughout.
    """
    return PretrainConfig(
        data=data,
        out=out,
        architecture=Architecture("64x2x1x128", patch=8),
        spec=InputSpec(size=96, frames=4, seconds=0.8),
        predictor_width=32,
        predictor_depth=1,
        predictor_heads=1,
        batch_size=4,
        steps=6,
        checkpoint_every=2,
        monitor_every=3,
    )
