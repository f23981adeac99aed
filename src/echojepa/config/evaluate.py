"""Settings of the commands that compare frozen encoders."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from echojepa.config.checks import check_least
from echojepa.errors import ConfigError
from echojepa.files.records import LATER

Precision = Literal["float32", "bf16", "int8"]
Engine = Literal["torch", "openvino"]


@dataclass(frozen=True, kw_only=True)
class FrozenConfig:
    """How frozen backbones are fed, how their features are stored, and how probes are trained on them."""

    precision: Precision = "float32"
    """Numeric precision of the frozen backbone; int8 needs the openvino engine."""
    engine: Engine = "torch"
    """Engine that runs a video transformer: torch, or OpenVINO on the CPU (extra `fast`)."""
    clips_per_loop: int = 1
    """Number of evenly spaced clips of each loop; their predictions are averaged."""
    learning_rates: tuple[float, ...] = (3e-4, 1e-3, 3e-3)
    """Learning rates of the grid of heads."""
    weight_decays: tuple[float, ...] = (0.01, 0.1)
    """Weight decays of the grid of heads."""
    epochs: int = 30
    """Passes over the training clips."""
    min_steps: int = 200
    """Minimum number of steps of a probe; with few labels it makes more passes to reach this number."""
    batch_size: int = 32
    """Clips in one step of the probes and in one batch of the frozen backbone."""
    features_as: Literal["float16", "float32"] = "float16"
    """Number format of stored features."""
    cache: Path | None = None
    """Folder of features; several evaluations may share it. `OUT/features` by default."""
    cache_gb: float = 50.0
    """Maximum size of the cache, in GB; it is checked before anything is computed."""
    seed: int = 0
    """Seed of the bootstrap, the heads' start, the order of clips and the perturbations. A plan adds its own
    seeds."""

    def __post_init__(self) -> None:
        check_least(self, 1, "clips_per_loop", "epochs", "min_steps", "batch_size")
        if not self.learning_rates or not self.weight_decays:
            raise ConfigError("learning_rates and weight_decays need at least one value each")


@dataclass(frozen=True, kw_only=True)
class PlanConfig(FrozenConfig):
    """What every plan needs: data, backbones, and how it is scored."""

    data: tuple[Path, ...]
    """Data sets made by `echojepa ingest`; their sites are kept apart."""
    out: Path
    """Folder for `results.parquet`, the trained probes and their predictions, and the cache of features."""
    backbones: tuple[str, ...]
    """Run folders, weights of other layouts (docs/reference/weights.md), or names: `constant`, `random:RUN`
    for a run's architecture with random weights, `untrained:echoprime`, ... A constant and the random start
    of every backbone are added."""
    sites: tuple[str, ...] = ()
    """Sites to use; probes train on the first. By default all sites, the largest first."""
    children: str = ""
    """The paediatric site. Only the plan `transfer` uses it; "all sites" leaves it out. By default, if
    `transfer` has two data sets, it is the second one's only site."""
    counterfactuals: tuple[Path, ...] = ()
    """Data sets of `echojepa simulate --vary FACTOR`, one of them of `ef`, for the plan `mechanism`."""
    test_loops: int | None = None
    """Maximum number of test loops of each task: whole patients, always the same; 0 for all. By default all,
    but 300 for backbones of over 50 million parameters on a CPU; the rows note it."""
    finetune_epochs: int = 20
    """Passes over the training loops in plans that fine-tune encoders."""
    finetune_lr: float = 1e-4
    """Learning rate there of the head and the encoder's last norm; lower layers have less."""
    resamples: int = 1000
    """Bootstrap resamples of patients."""
    workers: int = field(default=0, metadata=LATER)
    """Processes that train probes, each with the features of one probe in memory; 0 uses every core, 8 at
    most."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.data or not self.backbones:
            raise ConfigError("give at least one data set with --data and one backbone with --backbones")
        check_least(self, 1, "finetune_epochs", "resamples")
        check_least(self, 0, "test_loops", "workers")


@dataclass(frozen=True, kw_only=True)
class ProbeConfig(PlanConfig):
    """Probe frozen backbones for your tasks. Validation patients choose the probe; test patients score it."""

    tasks: tuple[str, ...] = ("lvef", "view")
    """Names of tasks, or JSON files with the fields of one (docs/how-to/evaluate.md)."""
    probes: tuple[str, ...] = ("linear", "attentive", "ridge")
    """Names of probes."""
    calibrated: bool = False
    """Make 90 % prediction intervals of values instead of scores. Half of the validation patients calibrate
    them and choose nothing. `echojepa assemble` needs it."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig(PlanConfig):
    """Compute the tables of a plan; every number has an interval."""

    plan: str
    """Name of a plan; `paper` makes every table of the project page."""
    without: tuple[str, ...] = ()
    """Probes of the plan to leave out, such as the two that are slow on a CPU: `attentive, depth 4` and
    `fine-tuned`."""
