"""The settings of fine-tuning: how encoder and head are trained together, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from echojepa.config.evaluate import FrozenConfig
from echojepa.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class TuningConfig:
    """How encoder and head are trained together. Defaults after MAE's appendix A.1 (arXiv 2111.06377)."""

    epochs: int = 20
    """Passes over the training loops; validation patients choose one of them."""
    batch_size: int = 16
    """Clips a step; of tasks that read several views, studies."""
    lr: float = 1e-4
    """Learning rate of the head and of the encoder's last norm."""
    layer_decay: float = 0.75
    """Learning rate of a layer over that of the layer above it; 0 trains nothing below the last norm."""
    weight_decay: float = 0.05
    """Decay of matrices; norms, biases and vectors have none."""
    crop: float = 1.0
    """Least share of the image that a training clip keeps; by default all of it, at a random time."""
    clips_per_loop: int = 1
    """Evenly spaced clips of each validation and test loop; their predictions are averaged."""
    precision: Literal["auto", "bf16", "float32"] = "auto"
    """Arithmetic of the encoder in training; auto takes bf16 where the device has instructions for it."""
    recompute: bool = False
    """Keep only the inputs of blocks and compute them again in the backward pass, to save memory."""
    workers: int = 0
    """Processes that read clips ahead; 0 reads them in between."""

    def __post_init__(self) -> None:
        if min(self.epochs, self.batch_size, self.clips_per_loop) < 1 or self.workers < 0:
            raise ConfigError(
                "epochs, batch_size and clips_per_loop must be at least 1 and workers at least 0; got "
                f"{self.epochs}, {self.batch_size}, {self.clips_per_loop} and {self.workers}"
            )
        if self.lr <= 0 or not 0 <= self.layer_decay <= 1 or self.weight_decay < 0 or not 0 < self.crop <= 1:
            raise ConfigError(
                "lr must be positive, layer_decay lie between 0 and 1, weight_decay not be negative, crop be "
                f"above 0 and up to 1; got {self.lr}, {self.layer_decay}, {self.weight_decay} and {self.crop}"
            )


@dataclass(frozen=True, kw_only=True)
class FinetuneConfig(TuningConfig):
    """Train an encoder and an attentive head together for a task; chosen on validation, scored on test."""

    data: tuple[Path, ...]
    """Data sets made by `echojepa ingest`; the sites of all of them are told apart."""
    backbone: str
    """What to start from: a run folder, JEPA weights of another layout (docs/reference/weights.md), or
    `random:` before either: the same architecture with random weights, which is training from scratch."""
    out: Path
    """Folder for the encoder, the head, their predictions and `results.parquet`; run again, it goes on."""
    task: str = "lvef"
    """Name of a task, or a JSON file with the fields of one (docs/how-to/evaluate.md)."""
    site: str = ""
    """Site to train on; every site is tested by itself then. By default all sites as one."""
    fraction: float = 1.0
    """Share of the training and of the validation patients whose labels are used."""
    resamples: int = 1000
    """Bootstrap resamples of test patients."""
    seed: int = 0
    """The head's start, the order of loops, the random clips and crops, and the share of labels."""
    cache: Path | None = None
    """Folder of features, of the frozen encoder and of the fine-tuned one, which evaluations may share;
    `OUT/frozen/features` by default."""
    cache_gb: float = 50.0
    """Size that the cache may reach; known before anything is computed."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data or not 0 < self.fraction <= 1 or self.resamples < 1:
            raise ConfigError(
                "fine-tuning needs a data set, a fraction above 0 and up to 1, and a resample at least; got "
                f"{len(self.data)} data sets, {self.fraction} and {self.resamples}"
            )

    @property
    def frozen(self) -> FrozenConfig:
        """How the frozen encoder is probed for the head's start: as `echojepa probe` does by default."""
        cache = self.cache or self.out / "frozen" / "features"
        return FrozenConfig(clips_per_loop=self.clips_per_loop, cache=cache, cache_gb=self.cache_gb)
