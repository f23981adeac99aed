"""The settings of fine-tuning: how encoder and head are trained together, and the data for it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from echojepa.config.checks import check_least
from echojepa.config.evaluate import FrozenConfig
from echojepa.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """How encoder and head are trained together. Defaults after MAE's appendix A.1 (arXiv 2111.06377)."""

    epochs: int = 20
    """Passes over the training loops; validation patients choose the best one."""
    batch_size: int = 16
    """Clips in a step; studies, for tasks that read several views."""
    lr: float = 1e-4
    """Learning rate of the head and of the encoder's last norm."""
    layer_decay: float = 0.75
    """Ratio of a layer's learning rate to that of the layer above; 0 trains nothing below the last norm."""
    weight_decay: float = 0.05
    """Weight decay of matrices; norms, biases and vectors have none."""
    crop: float = 1.0
    """Smallest share of the image that a random training crop keeps; by default the whole image."""
    clips_per_loop: int = 1
    """Evenly spaced clips of each validation and test loop; their predictions are averaged."""
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """Numeric precision of the encoder in training; auto takes bf16 if the device has bf16 instructions."""
    recompute: bool = False
    """Save memory: keep only the inputs of blocks and recompute the rest in the backward pass."""
    workers: int = 0
    """Processes that read clips ahead; 0 reads clips in the main process."""

    def __post_init__(self) -> None:
        check_least(self, 1, "epochs", "batch_size", "clips_per_loop")
        check_least(self, 0, "workers")
        if self.lr <= 0 or not 0 <= self.layer_decay <= 1 or self.weight_decay < 0 or not 0 < self.crop <= 1:
            raise ConfigError(
                "lr must be above 0, layer_decay from 0 to 1, weight_decay at least 0, and crop above 0 "
                f"and at most 1; got {self.lr}, {self.layer_decay}, {self.weight_decay} and {self.crop}"
            )


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(TuningConfig):
    """Train an encoder and an attentive head together for a task. Validation patients choose the epoch."""

    data: tuple[Path, ...]
    """Data sets made by `echojepa ingest`; their sites are kept apart."""
    backbone: str
    """Start: a run folder, or JEPA weights of another layout (docs/reference/weights.md). With `random:`
    before it, the same architecture trains from random weights."""
    out: Path
    """Folder for encoder, head, predictions and `results.parquet`. A second run resumes the first."""
    task: str = "lvef"
    """Name of a task, or a JSON file with the fields of one (docs/how-to/evaluate.md)."""
    site: str = ""
    """Site to train on; each site is then tested separately. By default all sites count as one."""
    fraction: float = 1.0
    """Share of the training and validation patients whose labels are used."""
    resamples: int = 1000
    """Bootstrap resamples of test patients."""
    seed: int = 0
    """Seed of the head's start, the order of loops, the random clips and crops, and the choice of labels."""
    cache: Path | None = None
    """Folder of features of the frozen and the fine-tuned encoder; several evaluations may share it.
    `OUT/frozen/features` by default."""
    cache_gb: float = 50.0
    """Maximum size of the cache, in GB; it is checked before anything is computed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_least(self, 1, "resamples")
        if not self.data or not 0 < self.fraction <= 1:
            raise ConfigError(
                "fine-tuning needs at least one data set, and a fraction above 0 and at most 1; got "
                f"{len(self.data)} data sets and {self.fraction}"
            )

    @property
    def frozen(self) -> FrozenConfig:
        """How the frozen encoder is probed for the head's start: as by default in `echojepa probe`."""
        cache = self.cache or self.out / "frozen" / "features"
        return FrozenConfig(clips_per_loop=self.clips_per_loop, cache=cache, cache_gb=self.cache_gb)
