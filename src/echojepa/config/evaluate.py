"""Settings of the commands that compare frozen encoders."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from echojepa.errors import ConfigError

Precision = Literal["float32", "bf16", "int8"]
Engine = Literal["torch", "openvino"]


@dataclass(frozen=True, kw_only=True)
class FrozenConfig:
    """How frozen backbones are fed, how their features are kept, and how probes are trained on them."""

    precision: Precision = "float32"
    """Arithmetic of the frozen backbone; int8 needs the openvino engine."""
    engine: Engine = "torch"
    """What runs a video transformer: torch, or OpenVINO on the CPU (extra `fast`)."""
    clips_per_loop: int = 1
    """Clips of each loop, evenly spaced; their predictions are averaged."""
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """Learning rates of the grid of heads."""
    weight_decays: tuple[float, ...] = (0.01, 0.1)
    """Weight decays of the grid of heads."""
    epochs: int = 30
    """Passes over the training clips."""
    min_steps: int = 200
    """Fewest steps of a probe: with few labels it makes more passes over them until it has made so many."""
    batch_size: int = 32
    """Clips a step of the probes, and of the frozen backbone."""
    features_as: Literal["float16", "float32"] = "float16"
    """Numbers that features are kept as."""
    cache: Path | None = None
    """Folder of features, which other evaluations may share; `OUT/features` by default."""
    cache_gb: float = 50.0
    """Size that the cache may reach; known before anything is computed."""
    seed: int = 0
    """Of the bootstrap, the heads' start, the order of clips and the perturbations; a plan's own seeds are
    added."""

    def __post_init__(self) -> None:
        least = min(self.clips_per_loop, self.epochs, self.min_steps, self.batch_size)
        if least < 1 or not self.learning_rates or not self.weight_decays:
            raise ConfigError(
                "clips_per_loop, epochs, min_steps and batch_size must be 1 at least, and the grid of heads "
                "needs a learning rate and a weight decay"
            )


@dataclass(frozen=True, kw_only=True)
class PlanConfig(FrozenConfig):
    """What a plan of any kind needs: data, backbones, and how it is scored."""

    data: tuple[Path, ...]
    """Data sets made by `echojepa ingest`; the sites of all of them are told apart."""
    out: Path
    """Folder for `results.parquet`, the trained probes and their predictions, and the cache of features."""
    backbones: tuple[str, ...]
    """Run folders, weights of other layouts (docs/reference/weights.md), or names: `constant`, `random:RUN`
    for a run's architecture with random weights, `untrained:echoprime`, ... A constant and the random start
    of every backbone are added."""
    sites: tuple[str, ...] = ()
    """Sites to use, the one that probes are trained on first; by default all, the largest first."""
    children: str = ""
    """The site of children: part of transfer alone, and not of "all sites". In the plan `transfer`, where two
    data sets are given, it is the only site of the second unless said otherwise."""
    counterfactuals: tuple[Path, ...] = ()
    """Data sets of `echojepa simulate --vary FACTOR`, one of them of `ef`, for the plan `mechanism`."""
    test_loops: int | None = None
    """Test loops of each task at most, of whole patients, always the same; 0 for all. By default all, but
    300 for backbones of over 50 million parameters on a CPU; the rows say so."""
    finetune_epochs: int = 20
    """Passes over the training loops where a plan fine-tunes encoders."""
    finetune_lr: float = 1e-4
    """Learning rate of the head and of the encoder's last norm there; lower layers have less."""
    resamples: int = 1000
    """Bootstrap resamples of patients."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data or not self.backbones:
            raise ConfigError("an evaluation needs a data set and a backbone at least")
        if min(self.finetune_epochs, self.resamples) < 1 or (self.test_loops or 0) < 0:
            raise ConfigError("finetune_epochs and resamples must be 1 at least, and test_loops 0 or more")


@dataclass(frozen=True, kw_only=True)
class ProbeConfig(PlanConfig):
    """Probe frozen backbones for tasks of your choice: chosen on validation, scored on test patients."""

    tasks: tuple[str, ...] = ("lvef", "view")
    """Names of tasks, or JSON files with the fields of one (docs/how-to/evaluate.md)."""
    probes: tuple[str, ...] = ("linear", "attentive", "ridge")
    """Names of probes."""
    calibrated: bool = False
    """Values get 90 % prediction intervals in place of scores: half of the validation patients calibrate them
    and choose nothing. `echojepa assemble` needs it."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(PlanConfig):
    """Make every number of a plan, a named table or all of them, with its interval."""

    plan: str
    """Name of a plan; `paper` is all of them."""
    without: tuple[str, ...] = ()
    """Probes of the plan to leave out, such as the two that are slow on a CPU: `attentive, depth 4` and
    `fine-tuned`."""
