"""A pretrained encoder, with its predictor where there is one, as plain tensors; and our folder of them.

`encoder.safetensors`, `predictor.safetensors` and, written last, `encoder.json` that vouches for both.
Other layouts are read into the same thing and written from it (`weights.layouts`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from echojepa.config import SIZES, Architecture, ConfigError, InputSpec, PositionKind, Size
from echojepa.files.records import LATER, read_record, write_record
from echojepa.models.predictor import Predictor, PredictorShape
from echojepa.models.vit import VisionTransformer
from echojepa.version import __version__
from echojepa.weights.tensors import (
    CheckpointError,
    build_from,
    check_fit,
    file_sha256,
    load_safetensors,
    save_tensors,
)

CARD, ENCODER, PREDICTOR = "encoder.json", "encoder.safetensors", "predictor.safetensors"


@dataclass(frozen=True)
class Origin:
    """Where weights come from."""

    name: str
    """The objective they were trained with here, or the file they were converted from."""
    steps: int | None = None
    """Training steps behind the weights, where we ran them."""
    clips: int | None = None
    """Training clips behind the weights, where we ran them."""
    data_fingerprint: str | None = None
    """Fingerprint of the data set, where we ran them."""
    flops: float | None = None
    """Arithmetic of those steps, forward and backward, where we ran them."""
    computed_on: tuple[str, ...] = field(default=(), metadata=LATER)
    """Device and precision of those steps, where we ran them; several where the run went on elsewhere."""


@dataclass(frozen=True)
class WeightsCard:
    """`encoder.json`: what travels beside the tensors."""

    architecture: Architecture
    """Size, tubelets and positions of the encoder."""
    spec: InputSpec
    """How to feed it."""
    predictor: PredictorShape | None
    """Its predictor, in `predictor.safetensors`."""
    origin: Origin
    """Where the weights come from."""
    version: str
    """Version of this package that wrote them."""
    sha256: str
    """Checksum of `encoder.safetensors`."""
    predictor_sha256: str | None
    """Checksum of `predictor.safetensors`."""


@dataclass(frozen=True)
class Weights:
    """Tensors under our names (Meta's) and all that is needed to rebuild the networks."""

    architecture: Architecture
    spec: InputSpec
    encoder: dict[str, Tensor]
    origin: Origin
    sha256: str = ""
    """Checksum of the file they were read from."""
    predictor_shape: PredictorShape | None = None
    predictor: dict[str, Tensor] = field(default_factory=dict)

    def blank_encoder(self) -> VisionTransformer:
        """The encoder's architecture, for weights to come."""
        return VisionTransformer(self.architecture, self.spec, torch.Generator())

    def blank_predictor(self) -> Predictor:
        """The predictor's architecture, for weights to come; CheckpointError where there is none."""
        shape = self.predictor_shape
        if shape is None:
            raise CheckpointError(f"{self.origin.name} has no predictor; give a complete pretraining file")
        return Predictor.of(self.architecture, self.spec, shape, torch.Generator())

    def build_encoder(self) -> VisionTransformer:
        """The encoder; CheckpointError where a tensor is missing, unknown or misshapen."""
        return build_from(self.blank_encoder, self.encoder, self.origin.name)

    def check_vjepa2(self, holder: str, *, whole: bool) -> None:
        """CheckpointError where V-JEPA 2's own code cannot hold them; `whole`: nor without a predictor."""
        architecture, shape = self.architecture, self.predictor_shape
        fits = not whole if shape is None else shape.outputs == architecture.dimensions.width
        if not fits or architecture.position != "vjepa2" or architecture.trained_side is not None:
            raise CheckpointError(
                f"{holder} V-JEPA 2's rotary positions and a JEPA predictor; these weights have "
                f"{architecture} and the predictor {shape}; use --to echojepa"
            )

    def check(self) -> Weights:
        """Itself, once every tensor is known to be there; CheckpointError otherwise."""
        with torch.device("meta"):
            check_fit(self.blank_encoder(), self.encoder, self.origin.name)
            if self.predictor_shape:
                check_fit(self.blank_predictor(), self.predictor, self.origin.name)
        return self


EMBEDDING, MLP = "patch_embed.proj.weight", "blocks.0.mlp.fc1.weight"
HEAD_WIDTH = 64
"""Channels of an attention head in every released encoder."""


def recognise(
    tensors: dict[str, Tensor],
    name: str,
    position: PositionKind = "vjepa2",
    trained_side: int | None = None,
    heads: int | None = None,
) -> Architecture:
    """The architecture that an encoder's tensors under our names belong to, of any size.

    CheckpointError where they do not tell it, and where their number of attention `heads` is neither given
    nor that of 64 channels each.
    """
    for key, axes in ((EMBEDDING, 5), (MLP, 2)):
        if not isinstance(tensors.get(key), Tensor) or tensors[key].ndim != axes:
            raise CheckpointError(f"{name} has no {key} of {axes} dimensions; found {sorted(tensors)[:5]}")
    width, _, tubelet, patch, _ = tensors[EMBEDDING].shape
    depth = count_blocks(tensors, "blocks.")
    named = next((size.heads for size in SIZES.values() if size.width == width), None)
    heads = heads or named or (width // HEAD_WIDTH if width % HEAD_WIDTH == 0 else None)
    if heads is None:
        raise CheckpointError(
            f"{name} has width {width}, and no tensor shows its number of attention heads; give "
            "--untold.heads"
        )
    try:
        return Architecture(
            Size(width, depth, heads, len(tensors[MLP])).name, patch, tubelet, position, trained_side
        )
    except ValueError as error:
        raise CheckpointError(f"the encoder of {name} cannot be built: {error}") from error


def count_blocks(tensors: dict[str, Tensor], prefix: str) -> int:
    """How many blocks tensors belong to."""
    return len({key.removeprefix(prefix).split(".")[0] for key in tensors if key.startswith(prefix)})


def save_weights(folder: Path, weights: Weights) -> WeightsCard:
    """Write our folder; an `encoder.json` that is there is replaced last."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / ENCODER, weights.encoder)
    if weights.predictor_shape:
        save_tensors(folder / PREDICTOR, weights.predictor)
    card = WeightsCard(
        weights.architecture,
        weights.spec,
        weights.predictor_shape,
        weights.origin,
        __version__,
        file_sha256(folder / ENCODER),
        file_sha256(folder / PREDICTOR) if weights.predictor_shape else None,
    )
    write_record(folder / CARD, card)
    return card


def load_card(folder: Path) -> WeightsCard:
    """Read `encoder.json`; CheckpointError where the run has not finished."""
    path = folder / CARD
    if not path.is_file():
        raise CheckpointError(
            f"{folder} has no {CARD}; give the folder of a finished `echojepa pretrain` run"
        )
    try:
        return read_record(WeightsCard, path)
    except ConfigError as error:
        raise CheckpointError(f"{path} was not written by this version of echojepa: {error}") from error


def load_weights(folder: Path) -> Weights:
    """Read our folder; CheckpointError if the tensors are not those that the card vouches for."""
    card = load_card(folder)
    tensors = [
        read_vouched(folder / name, sha256) if sha256 else {}
        for name, sha256 in ((ENCODER, card.sha256), (PREDICTOR, card.predictor_sha256))
    ]
    return Weights(
        card.architecture, card.spec, tensors[0], card.origin, card.sha256, card.predictor, tensors[1]
    )


def read_vouched(path: Path, sha256: str) -> dict[str, Tensor]:
    """Tensors of a file; CheckpointError if it is not the one with this checksum."""
    if not path.is_file() or file_sha256(path) != sha256:
        raise CheckpointError(
            f"{path} is missing or is not the file that {CARD} describes; copy all files together again"
        )
    return load_safetensors(path)
