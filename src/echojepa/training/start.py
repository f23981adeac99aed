"""What a run starts from when not from random weights: networks of a file, or of another run."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from echojepa.config import Architecture, PretrainConfig
from echojepa.files.records import read_record
from echojepa.models.jepa import JEPA
from echojepa.models.objective import Objective
from echojepa.training import rotation
from echojepa.weights.layouts import read_weights
from echojepa.weights.meta import OURS, read_online
from echojepa.weights.tensors import CheckpointError, below, load_strictly


@dataclass(frozen=True)
class Start:
    """Tensors under our names. Rotary positions are no weights: another resolution or length takes them."""

    name: str
    architecture: Architecture
    encoder: dict[str, Tensor]
    target_encoder: dict[str, Tensor]
    predictor: dict[str, Tensor] = field(default_factory=dict)
    """Empty where there is none."""


def start_of_run(run: Path) -> Start:
    """All networks of a run's newest whole checkpoint, be it finished or not; CheckpointError without one."""
    found = rotation.find(run)
    if found.path is None:
        raise CheckpointError(f"{run} has no checkpoint to start from")
    config = read_record(PretrainConfig, run / "config.json")
    tensors = rotation.read(found.path, "model.")
    encoder, target, predictor = (
        below(f"model.{part}.", tensors) for part in ("encoder", "target_encoder", "predictor")
    )
    name = f"{run.name}, step {found.facts.step}"
    return Start(name, config.architecture, encoder, target or encoder, predictor)


def read_start(path: Path) -> Start:
    """The start of a run: the newest checkpoint of a run, finished or not, or weights of any layout.

    A file with encoder and moving average gives both; other files use the one they have for both.
    """
    if (path / rotation.FOLDER).is_dir():
        return start_of_run(path)
    weights = read_weights(path)
    online = read_online(path) if path.is_file() else {}
    if online and OURS in weights.encoder:
        online[OURS] = weights.encoder[OURS]
    return Start(
        path.name, weights.architecture, online or weights.encoder, weights.encoder, weights.predictor
    )


def take_start(model: Objective, start: Start, architecture: Architecture) -> None:
    """Copy a start's networks into an objective's; CheckpointError where they do not fit.

    If the start has no predictor, the objective's keeps its random weights; an objective without a predictor
    ignores the start's. The first of V-JEPA 2's ten mask tokens is used, because only that one was trained.
    """
    check_architecture(start, architecture)
    load_strictly(model.encoder, start.encoder, start.name)
    if isinstance(model, JEPA):
        load_strictly(model.target_encoder, start.target_encoder, start.name)
    others = {f"mask_tokens.{number}" for number in range(1, len(start.predictor))}
    predictor = {name: value for name, value in start.predictor.items() if name not in others}
    if predictor and model.predictor:
        load_strictly(model.predictor, predictor, f"the predictor of {start.name}")


def take_weights(model: Objective, config: PretrainConfig) -> None:
    """Before the first step: the networks that the config starts from, and the teacher that makes targets."""
    if config.start:
        take_start(model, read_start(config.start), config.architecture)
    if config.latent.teacher and isinstance(model, JEPA):
        teacher = read_start(config.latent.teacher)
        check_architecture(teacher, config.architecture)
        load_strictly(model.target_encoder, teacher.target_encoder, teacher.name)


def check_architecture(start: Start, architecture: Architecture) -> None:
    """CheckpointError for networks of another architecture than the run's."""
    if start.architecture != architecture:
        raise CheckpointError(
            f"{start.name} has the architecture {start.architecture}, but this run has {architecture}; "
            "set the run's --architecture to that of the weights"
        )
