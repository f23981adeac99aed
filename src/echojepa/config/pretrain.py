"""The settings of pretraining: optimiser, faults, and the run as a whole."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

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
    """Learning rate that it falls to."""
    cooldown_shape: Literal["linear", "cosine"] = "linear"
    """How it falls."""
    beta2: float = 0.999
    """Decay of AdamW's mean of squared gradients."""
    weight_decay: float = 0.04
    """Decay of matrices; biases and norms have none."""
    ema_start: float = 0.99
    """Momentum of the target encoder at the first step."""
    ema_end: float = 0.999
    """Momentum at the last step, reached linearly."""

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
    """What a pretraining run bears, and what ends it; every fault is written to `events.jsonl`."""

    on_collapse: Literal["warn", "stop", "rollback"] = "stop"
    """At a sudden drop of the loss of moving targets or of the effective rank: go on, stop, or go back to
    the checkpoint before the last one with new draws of clips, crops and masks."""
    window: int = 50
    """Steps whose mean loss is compared with that of as many steps before them."""
    loss_drop: float = 0.75
    """A mean loss below this share of the one before is a sudden drop."""
    rank_drop: float = 0.4
    """An effective rank below this share of the look before is a sudden drop."""
    max_rollbacks: int = 2
    """Rollbacks of a run; the next sudden drop stops it."""
    max_nonfinite: int = 3
    """Steps whose loss or gradient is not finite: each is left out; one more ends the run."""
    max_damaged: int = 10
    """Cine loops that cannot be read: each is left out of its batch; one more ends the run."""

    def __post_init__(self) -> None:
        if not (0 < self.loss_drop < 1 and 0 < self.rank_drop < 1 and self.window >= 1):
            raise ConfigError(f"loss_drop and rank_drop must lie between 0 and 1, window >= 1; got {self}")
        if min(self.max_rollbacks, self.max_nonfinite, self.max_damaged) < 0:
            raise ConfigError(f"max_rollbacks, max_nonfinite and max_damaged must be >= 0; got {self}")


@dataclass(frozen=True)
class LatentConfig:
    """What JEPA's targets are made of; the defaults are the paper's."""

    layers: Literal["last", "all"] = "last"
    """The target encoder's last layer, or the mean of all its blocks' outputs, each layer-normalised, as in
    data2vec (arXiv 2202.03555)."""
    still_share: float = 1.0
    """Share that stays of what is the same through a clip, each place's mean over time. At 0 only what
    changes is inferred, and what can be copied from another time is no task."""
    centred: bool = False
    """Take each position's running mean over clips out of them."""
    scaled: bool = False
    """Divide each channel by its running spread over clips and positions, so that targets cannot shrink."""
    teacher: Path | None = None
    """Weights, as for `start` and of this run's architecture, that make the targets and stay as they are,
    as in SALT (arXiv 2509.24317); the run then makes the encoder itself. None: the EMA makes them."""

    def __post_init__(self) -> None:
        if not 0 <= self.still_share <= 1:
            raise ConfigError(f"still_share is a share from 0 to 1; got {self.still_share}")


PAPER_LATENT = LatentConfig()
LABELLED = ("supervised", "contrastive")
"""Objectives that learn from labels of whole clips."""


@dataclass(frozen=True)
class PretrainConfig:
    """Pretrain an encoder by predicting hidden tubelets, their latent embeddings or their pixels; or, as a
    control, by labels."""

    data: Path
    """Data set made by `echojepa ingest`; only training patients' cine loops are used."""
    out: Path
    """The run's folder: config, metrics, events, checkpoints, `encoder.safetensors`."""
    objective: Literal["jepa", "videomae", "supervised", "contrastive"] = "jepa"
    """What is predicted of hidden tubelets: their latent embeddings, or their pixels. The last two hide
    nothing and learn from training patients' labels: LVEF, RVSP and view, or a report in graded phrases."""
    start: Path | None = None
    """Weights to start from, encoder, target encoder and predictor: a V-JEPA 2 file, a Hugging Face folder,
    or a finished run; random ones if None."""
    architecture: Architecture = field(default_factory=Architecture)
    """Size, tubelets and positions of the encoder."""
    spec: InputSpec = field(default_factory=InputSpec)
    """Resolution, frames and time span of a clip."""
    masks: tuple[MaskConfig, ...] = PAPER_MASKS
    """Mask types; each is one pass of the context encoder."""
    targets: Literal["all", "sector"] = "all"
    """Which hidden tokens are inferred: all, or those that touch the sector of their clip; in a cine half of
    the picture can be black. The paper infers all."""
    latent: LatentConfig = PAPER_LATENT
    """JEPA's targets."""
    augment: Literal["crop", "shift"] = "crop"
    """How a training clip's pictures are moved: a random crop of half their area or more, or a random shift
    by up to a twelfth of their side, which keeps their scale."""
    predictor_width: int = 384
    """Width of the predictor; of `contrastive`, whose predictor reads reports, of its text encoder."""
    predictor_depth: int = 12
    """Blocks of the same."""
    predictor_heads: int = 12
    """Attention heads of the same."""
    optim: OptimConfig = field(default_factory=OptimConfig)
    """Optimiser, its schedule, and the EMA."""
    batch_size: int = 32
    """Clips a step, of all processes together."""
    steps: int = 300
    """Steps of the whole run."""
    max_clips: int | None = None
    """Fewer steps where these clips are spent earlier."""
    max_flops: float | None = None
    """Fewer steps where this arithmetic is spent earlier (matched compute)."""
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """Arithmetic of the forward pass; auto takes bf16 where the CPU has instructions for it."""
    microbatch: int | None = None
    """Clips of one forward and backward pass of a process, to save memory; all of its share if None."""
    parallel: Literal["replicate", "shard"] = "replicate"
    """Under torchrun: every process holds the whole model (DDP), or a shard of it (FSDP2)."""
    recompute: bool = False
    """Keep only the inputs of blocks and compute them again in the backward pass, to save memory."""
    workers: int = 0
    """Processes that read clips ahead, beside each training process; 0 reads between steps."""
    pictures: Path | None = None
    """Folder for the training loops' pictures, decoded once at the size that clips are cut from and read
    through memory; a later run of the same data and input finds them. By default a run that reads each loop
    four times or more keeps them in its own folder until it ends. Clips are the same either way."""
    pictures_gb: float = 4.0
    """Memory that they may take. A set that needs more is decoded at each step, or refused where a folder is
    named; 0 keeps none."""
    checkpoint_every: int = 50
    """Steps between checkpoints; the newest two are kept."""
    monitor_every: int = 25
    """Steps between looks at the features for signs of collapse."""
    validate: int = 0
    """Training and validation loops, so many of each at most, that the encoder is read out on every 5 % of
    the run; the one that reads best is kept in `best/`. 0 reads none; test patients are never read."""
    faults: FaultConfig = field(default_factory=FaultConfig)
    """What the run bears, and what ends it."""
    seed: int = 0
    """Start of weights, order of clips, crops and masks."""

    def __post_init__(self) -> None:
        self.architecture.grid(self.spec)
        if self.architecture.position == "table" and self.start is None:
            raise ConfigError("positions of a table are those of a file of weights; give one to --start from")
        counts = (self.batch_size, self.steps, self.checkpoint_every, self.monitor_every)
        budgets = (self.max_clips or 1, self.max_flops or 1, self.microbatch or 1)
        if not self.masks or min(counts) < 1 or min(budgets) <= 0 or min(self.workers, self.validate) < 0:
            raise ConfigError(
                "masks, batch_size, steps, checkpoint_every, monitor_every, max_clips, max_flops and "
                "microbatch must be positive, workers and validate not negative"
            )
        if self.objective != "jepa" and self.latent != PAPER_LATENT:
            raise ConfigError("latent says what JEPA's targets are; leave it out for other objectives")
        self.check_labelled()
        if self.predictor_width % self.predictor_heads:
            raise ConfigError(
                f"predictor_width {self.predictor_width} is no multiple of its {self.predictor_heads} heads"
            )

    def check_labelled(self) -> None:
        """ConfigError for masks or targets that do not go with what the objective learns from."""
        labelled = self.objective in LABELLED
        if any((mask.scale == 0) != labelled for mask in self.masks):
            raise ConfigError(
                f"{' and '.join(LABELLED)} see whole clips, the others infer what is hidden; take a recipe "
                f"of that objective: its mask is {NO_MASK}, or any but that"
            )
        if labelled and (len(self.masks) > 1 or self.targets != "all"):
            raise ConfigError(f"objective {self.objective} has one mask and no hidden targets to choose from")
        if self.objective == "contrastive" and self.microbatch:
            raise ConfigError(
                "contrastive tells a clip from all others of its batch; leave microbatch out, and lower "
                "batch_size where memory is short"
            )
