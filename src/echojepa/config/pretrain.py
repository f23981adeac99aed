"""The settings of pretraining: optimiser, faults, and the run as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from echojepa.config.checks import check_least
from echojepa.config.values import NO_MASK, PAPER_MASKS, Architecture, InputSpec, MaskConfig
from echojepa.errors import ConfigError


@dataclass(frozen=True)
class OptimConfig:
    """AdamW with warm-up, constant and cooldown phases, and the EMA of JEPA's target encoder."""

    lr: float = 5e-4
    """Learning rate of the constant phase."""
    warmup: float = 0.1
    """Share of the steps over which the learning rate rises from zero."""
    cooldown: float = 0.2
    """Share of the steps, at the end, over which it falls."""
    lr_end: float = 0.0
    """Learning rate at the end of the cooldown."""
    cooldown_shape: Literal["linear", "cosine"] = "linear"
    """Shape of the cooldown."""
    beta2: float = 0.999
    """Decay of AdamW's mean of squared gradients."""
    weight_decay: float = 0.04
    """Weight decay of matrices; biases and norms have none."""
    ema_start: float = 0.99
    """Momentum of the target encoder at the first step."""
    ema_end: float = 0.999
    """Momentum at the last step; it changes linearly."""

    def __post_init__(self) -> None:
        if (
            not 0 <= self.lr_end < self.lr
            or not 0 <= self.warmup + self.cooldown <= 1
            or min(self.warmup, self.cooldown) < 0
        ):
            raise ConfigError(f"lr must be above lr_end, and warmup + cooldown at most 1; got {self}")
        if not 0 <= self.ema_start <= self.ema_end <= 1:
            raise ConfigError(f"EMA momenta must satisfy 0 <= start <= end <= 1; got {self}")


@dataclass(frozen=True)
class FaultConfig:
    """Which faults a pretraining run tolerates, and which end it. `events.jsonl` records every fault."""

    on_collapse: Literal["warn", "stop", "rollback"] = "stop"
    """Action at a sudden drop of the loss (of moving targets) or of the effective rank: continue, stop, or go
    back to the checkpoint before the last one with new random clips, crops and masks."""
    window: int = 50
    """Number of steps; their mean loss is compared with that of as many steps before them."""
    loss_drop: float = 0.75
    """A mean loss below this share of the one before is a sudden drop."""
    rank_drop: float = 0.4
    """An effective rank below this share of the previous check is a sudden drop."""
    max_rollbacks: int = 2
    """Maximum number of rollbacks; after that, a sudden drop stops the run."""
    max_nonfinite: int = 3
    """Maximum number of steps with a non-finite loss or gradient; these are skipped, and one more ends the
    run."""
    max_damaged: int = 10
    """Maximum number of unreadable cine loops; they are left out of batches, and one more ends the run."""

    def __post_init__(self) -> None:
        if not (0 < self.loss_drop < 1 and 0 < self.rank_drop < 1):
            raise ConfigError(f"loss_drop and rank_drop must lie between 0 and 1; got {self}")
        check_least(self, 1, "window")
        check_least(self, 0, "max_rollbacks", "max_nonfinite", "max_damaged")


@dataclass(frozen=True)
class LatentConfig:
    """How JEPA's targets are made; the defaults are the paper's."""

    layers: Literal["last", "all"] = "last"
    """`last`: the target encoder's last layer. `all`: the mean of all its blocks' outputs, each
    layer-normalised, as in data2vec (arXiv 2202.03555)."""
    still_share: float = 1.0
    """Share of each place's mean over the clip's time that stays in the targets. At 0 only changes over time
    are predicted."""
    centred: bool = False
    """Subtract each position's running mean over clips from the targets."""
    scaled: bool = False
    """Divide each channel by its running spread over clips and positions; targets then cannot shrink."""
    teacher: Path | None = None
    """Weights of a fixed teacher that makes the targets, as in SALT (arXiv 2509.24317): given as for `start`,
    with this run's architecture. The result is the trained encoder. None: the EMA makes the targets."""

    def __post_init__(self) -> None:
        if not 0 <= self.still_share <= 1:
            raise ConfigError(f"still_share must be from 0 to 1; got {self.still_share}")


PAPER_LATENT = LatentConfig()
LABELLED = ("supervised", "contrastive")
"""Objectives that learn from labels of whole clips."""


@dataclass(frozen=True)
class PretrainConfig:
    """Pretrain an encoder to predict latents or pixels of hidden tubelets or, as a control, labels."""

    data: Path
    """Data set made by `echojepa ingest`; only training patients' cine loops are used."""
    out: Path
    """The run's folder: config, metrics, events, checkpoints, `encoder.safetensors`."""
    objective: Literal["jepa", "videomae", "supervised", "contrastive"] = "jepa"
    """`jepa` predicts latent embeddings of hidden tubelets, `videomae` their pixels. The others hide nothing
    and learn from training patients' labels: `supervised` from LVEF, RVSP and view, `contrastive` from a
    report in graded phrases."""
    start: Path | None = None
    """Weights to start from (encoder, target encoder and predictor): a V-JEPA 2 file, a Hugging Face folder,
    or a finished run. None starts from random weights."""
    architecture: Architecture = field(default_factory=Architecture)
    """Size, tubelets and positions of the encoder."""
    spec: InputSpec = field(default_factory=InputSpec)
    """Resolution, frames and time span of a clip."""
    masks: tuple[MaskConfig, ...] = PAPER_MASKS
    """Mask types; each one costs a pass of the context encoder."""
    targets: Literal["all", "sector"] = "all"
    """Hidden tokens to predict: all (as in the paper), or only those that touch the sector of their clip.
    Half of a cine's image can be black."""
    latent: LatentConfig = PAPER_LATENT
    """JEPA's targets."""
    augment: Literal["crop", "shift"] = "crop"
    """Augmentation of training clips: a random crop of at least half the image area, or a random shift by up
    to a twelfth of the side, which keeps the scale."""
    predictor_width: int = 384
    """Width of the predictor; for `contrastive`, width of its text encoder."""
    predictor_depth: int = 12
    """Blocks of the predictor or text encoder."""
    predictor_heads: int = 12
    """Attention heads of the predictor or text encoder."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimiser, its schedule, and the EMA."""
    batch_size: int = 32
    """Clips in a step, over all processes."""
    steps: int = 300
    """Steps of the whole run."""
    max_clips: int | None = None
    """Stop earlier, after this number of clips."""
    max_flops: float | None = None
    """Stop earlier, after this number of FLOPs (matched compute)."""
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """Numeric precision of the forward pass; auto takes bf16 if the CPU has instructions for it."""
    microbatch: int | None = None
    """Save memory: clips in one forward and backward pass of a process. None takes its whole share."""
    parallel: Literal["replicate", "shard"] = "replicate"
    """Under torchrun: every process holds the whole model (DDP), or a shard of it (FSDP2)."""
    recompute: bool = False
    """Save memory: keep only the inputs of blocks and recompute the rest in the backward pass."""
    workers: int = 0
    """Processes for each training process that read clips ahead; 0 reads clips between steps."""
    pictures: Path | None = None
    """Folder for the training loops' decoded images, for later runs with the same data and input. By default,
    a run that reads each loop four times or more keeps them in its own folder until it ends. Clips are the
    same either way."""
    pictures_gb: float = 4.0
    """Maximum memory for decoded images, in GB; 0 keeps none. A larger set is decoded at each step, or is
    refused if `pictures` names a folder."""
    checkpoint_every: int = 50
    """Steps between checkpoints; the newest two are kept."""
    monitor_every: int = 25
    """Steps between checks of the features for signs of collapse."""
    validate: int = 0
    """Maximum number of training loops, and of validation loops, to evaluate the encoder on after every 5 %
    of the run. The best encoder is kept in `best/`. 0 turns this off. Test patients are never used."""
    faults: FaultConfig = field(default_factory=FaultConfig)
    """Which faults the run tolerates, and which end it."""
    seed: int = 0
    """Seed of the starting weights, the order of clips, the crops and the masks."""

    def __post_init__(self) -> None:
        self.architecture.grid(self.spec)
        if self.architecture.position == "table" and self.start is None:
            raise ConfigError("position `table` comes from a weights file; name that file with --start")
        check_least(self, 1, "batch_size", "steps", "checkpoint_every", "monitor_every")
        check_least(self, 1, "max_clips", "max_flops", "microbatch")
        check_least(self, 0, "workers", "validate")
        if not self.masks:
            raise ConfigError("masks need at least one mask type")
        if self.objective != "jepa" and self.latent != PAPER_LATENT:
            raise ConfigError(
                f"the latent settings are for objective jepa only; got {self.objective}. Leave them out"
            )
        self.check_labelled()
        if self.predictor_width % self.predictor_heads:
            raise ConfigError(
                f"predictor_width {self.predictor_width} must be a multiple of predictor_heads "
                f"{self.predictor_heads}"
            )

    def check_labelled(self) -> None:
        """ConfigError for masks or targets that do not suit the objective."""
        labelled = self.objective in LABELLED
        if any((mask.scale == 0) != labelled for mask in self.masks):
            raise ConfigError(
                f"the masks do not suit objective {self.objective}: {' and '.join(LABELLED)} see whole "
                f"clips and need the mask {NO_MASK}, the others need a mask that hides tokens. Take a "
                "recipe of that objective"
            )
        if labelled and (len(self.masks) > 1 or self.targets != "all"):
            raise ConfigError(
                f"objective {self.objective} predicts no hidden tokens; give one mask and targets `all`"
            )
        if self.objective == "contrastive" and self.microbatch:
            raise ConfigError(
                "contrastive compares each clip with all others of its batch; leave microbatch out, and "
                "lower batch_size if memory is short"
            )
