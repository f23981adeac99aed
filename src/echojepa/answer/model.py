"""A model that answers: one folder with its encoder, its probes, their calibration and a card.

`model.json` is written last and holds the checksum of every other file. An encoder of our layout lies in
`encoder/`; weights of another package stay where they are, and the card holds their path and checksum.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

from echojepa.answer.quality import Thresholds
from echojepa.answer.values import ModelFacts
from echojepa.backbones.contract import Backbone
from echojepa.backbones.loading import load_backbone
from echojepa.config import ConfigError, Engine, InputSpec, Precision
from echojepa.evaluation.features.cache import StoredAs, weights_digest
from echojepa.evaluation.features.likeness import Likeness
from echojepa.evaluation.probes.fitting import Readout
from echojepa.evaluation.probes.stored import TENSORS, StoredProbe
from echojepa.evaluation.statistics.conformal import Conformal
from echojepa.files.records import LATER, read_record
from echojepa.shipped.by_name import MODEL, located
from echojepa.tasks import Task
from echojepa.version import __version__
from echojepa.weights.tensors import CheckpointError, file_sha256, load_safetensors

TRAINING = "training.safetensors"
FORMAT_VERSION = 1


@dataclass(frozen=True)
class EncoderPart:
    """The frozen encoder."""

    name: str
    path: str
    """`encoder`, within the folder, or where the weights of another package lie."""
    digest: str
    """SHA-256 over all its tensors, as loaded."""
    spec: InputSpec
    """What it is fed."""
    precision: Precision
    engine: Engine


@dataclass(frozen=True)
class ProbePart:
    """A probe within the folder."""

    folder: str
    sha256: str
    """Checksum of its tensors."""
    probe: str
    """Name of its kind."""


@dataclass(frozen=True)
class ValuePart:
    """A task that is answered by a value."""

    task: Task
    probe: ProbePart
    intervals: Conformal | None
    """Half-widths of cells with enough patients; None where nothing was calibrated."""
    error: float
    """Mean absolute error on test patients, in the task's unit."""
    test_patients: int


@dataclass(frozen=True)
class ViewPart:
    """The probe that tells views."""

    classes: tuple[str, ...]
    probe: ProbePart
    accuracy: float
    """Share of test loops, 0 to 1."""
    test_patients: int
    sharpness: float = field(default=1.0, metadata=LATER)
    """Exponent of the probe's probabilities, chosen on validation patients: `statistics.sharpening`."""


@dataclass(frozen=True)
class TrainingPart:
    """What the probes, and where it is ours the encoder, were trained on."""

    fingerprints: tuple[str, ...]
    sites: tuple[str, ...]
    patients: int
    loops: int
    views: tuple[str, ...]
    synthetic: str
    """Whether "all", "some" or "none" of the loops are a phantom's."""
    statistics_sha256: str
    """Checksum of `training.safetensors`."""


@dataclass(frozen=True, kw_only=True)
class ModelCard:
    """`model.json`."""

    name: str
    notice: str
    encoder: EncoderPart
    tasks: tuple[ValuePart, ...]
    view: ViewPart | None
    thresholds: Thresholds
    training: TrainingPart
    clips_per_loop: int
    """Clips of a loop, for tasks that do not say so themselves."""
    features_as: StoredAs
    """Numbers that features are rounded to before the probes, as in their training."""
    max_side: int
    """Pixels that a larger sector is reduced to."""
    lossless: bool
    """Whether training frames were stored bit for bit."""
    version: str
    """Version of this package that wrote it."""
    format_version: int = FORMAT_VERSION


@dataclass(frozen=True)
class Model:
    """A model in memory; it answers any number of studies."""

    card: ModelCard
    sha256: str
    backbone: Backbone
    readouts: dict[str, Readout]
    """By the task's name."""
    view: Readout | None
    likeness: Likeness

    @property
    def facts(self) -> ModelFacts:
        """What answers say of it."""
        return ModelFacts(self.card.name, self.sha256, __version__, self.card.training.synthetic)


def read_card(folder: Path) -> ModelCard:
    """The card of a model's folder; CheckpointError where there is none, or one of another version."""
    path = folder / MODEL
    if not path.is_file():
        raise CheckpointError(f"{folder} has no {MODEL}; give a folder made by `echojepa assemble`")
    try:
        return read_record(ModelCard, path)
    except ConfigError as error:
        raise CheckpointError(
            f"{path} was not written by this version of echojepa; assemble the model again: {error}"
        ) from error


def load_model(model: Path | str) -> Model:
    """Load a model by its folder, or by the name of one that comes with the package (`shipped:small`).

    CheckpointError where a part is missing or is not the one that the card vouches for.
    """
    folder = located(model)
    card = read_card(folder)
    backbone = load_encoder(folder, card.encoder)
    tensors = load_safetensors(vouched(folder / TRAINING, card.training.statistics_sha256))
    likeness = Likeness(card.training.views, tensors["means"], tensors["whitening"])
    readouts = {part.task.name: load_probe(folder, part.probe) for part in card.tasks}
    view = load_probe(folder, card.view.probe) if card.view else None
    sha256 = hashlib.sha256((folder / MODEL).read_bytes()).hexdigest()
    return Model(card, sha256, backbone, readouts, view, likeness)


def load_encoder(folder: Path, part: EncoderPart) -> Backbone:
    """The encoder; CheckpointError where it is not the one that the probes were trained on."""
    backbone = load_backbone(folder / part.path, precision=part.precision, engine=part.engine)
    if weights_digest(backbone) != part.digest or backbone.spec != part.spec:
        raise CheckpointError(
            f"the weights at {folder / part.path}, or their input, differ from those that this model's "
            "probes were trained with; restore the right weights, or assemble the model again"
        )
    return backbone


def load_probe(folder: Path, part: ProbePart) -> Readout:
    """A probe; CheckpointError where it is damaged or another."""
    stored = StoredProbe(folder / part.folder)
    vouched(stored.folder / TENSORS, part.sha256)
    return stored.readout()


def vouched(path: Path, sha256: str) -> Path:
    """The path of a file with this checksum; CheckpointError for another or none."""
    if not path.is_file() or file_sha256(path) != sha256:
        raise CheckpointError(
            f"{path} is missing or is not the file that {MODEL} describes; copy all files together again"
        )
    return path
