"""`load_backbone`: one line for every kind of weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from echojepa.backbones.compiled import CompiledTransformer
from echojepa.backbones.contract import Backbone
from echojepa.backbones.controls import Constant
from echojepa.backbones.discovr import DISCOVR
from echojepa.backbones.echoprime import EchoPrime, is_echoprime
from echojepa.backbones.heads import OFFICIAL, SUFFIX, read_heads
from echojepa.backbones.panecho import PanEcho, is_panecho
from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import Engine, InputSpec, Precision, Untold
from echojepa.errors import UserError
from echojepa.files.records import read_plain
from echojepa.shipped.by_name import ENCODER, SHIPPED, located
from echojepa.weights.discovr import is_discovr, read_discovr
from echojepa.weights.folder import CARD
from echojepa.weights.meta import ENCODERS, is_meta
from echojepa.weights.tensors import CheckpointError, load_foreign, state_of
from echojepa.weights.videomae import is_videomae, read_videomae_file, read_videomae_folder

RANDOM = "random:"
"""Before a run's folder: the weights that it started from."""
CONTROLS: dict[str, Callable[[], Backbone]] = {
    "constant": Constant,
    "untrained:echoprime": EchoPrime.untrained,
    "untrained:panecho": PanEcho.untrained,
    "untrained:videomae": lambda: VideoTransformer.untrained_videomae("large", InputSpec()),
}
"""Backbones without weights of their own."""


def load_backbone(
    name: str | Path,
    spec: InputSpec | None = None,
    *,
    precision: Precision = "float32",
    engine: Engine = "torch",
    untold: Untold | None = None,
) -> Backbone:
    """A frozen backbone by the path of its weights, or by name.

    A folder: a finished run of ours, Hugging Face's V-JEPA 2 or VideoMAE. A file: V-JEPA, V-JEPA 2, 2.1 or
    EchoJEPA, VideoMAE, DISCOVR, EchoPrime, PanEcho, told apart by what is in it; a JSON file: weights with
    heads of their own (`backbones.heads`). A name: `constant`, `untrained:...` for an architecture with
    random weights, `random:RUN` for what a run of ours started from, `shipped:small` for the encoder of the
    model that comes with the package. `spec` replaces the input that a video transformer's weights name, or
    do not; `untold` is what else no tensor of a file tells. A video transformer computes in float32 or bf16,
    by torch or, on a CPU, by OpenVINO, which has int8 too; the others in float32.

    Raises CheckpointError with what was found and what was expected; no code of a file is ever run.
    """
    backbone = find_backbone(name, spec, untold)
    if (precision, engine) == ("float32", "torch"):
        return backbone
    if not isinstance(backbone, VideoTransformer):
        raise UserError(f"{backbone.name} supports only float32 with torch; got {precision} with {engine}")
    if engine == "openvino":
        return CompiledTransformer(backbone, precision)
    backbone.set_precision(precision)
    return backbone


def find_backbone(name: str | Path, spec: InputSpec | None, untold: Untold | None) -> Backbone:
    """The backbone of a name or path, in float32."""
    if str(name) in CONTROLS:
        return fed_as_built(CONTROLS[str(name)](), spec)
    if str(name).startswith(RANDOM):
        return fed_as_built(VideoTransformer.untrained(Path(str(name).removeprefix(RANDOM))), spec)
    path = located(name) / ENCODER if str(name).startswith(SHIPPED) else Path(name)
    if path.is_dir():
        return load_folder(path, spec, untold)
    if path.is_file() and path.suffix == SUFFIX:
        record = read_heads(path)
        return find_backbone(
            path.parent / record.weights, spec or (OFFICIAL if record.official else None), untold
        )
    if not path.is_file():
        raise CheckpointError(
            f"'{name}' is not a file, a folder, or one of {', '.join(sorted(CONTROLS))}, {RANDOM}RUN, "
            f"{SHIPPED}small"
        )
    return load_file(path, spec, untold)


def fed_as_built(backbone: Backbone, spec: InputSpec | None) -> Backbone:
    """Itself; UserError where another input was asked for and cannot be given."""
    if spec is not None:
        raise UserError(f"the input of {backbone.name} is fixed to {backbone.spec}; leave `spec` out")
    return backbone


def load_folder(path: Path, spec: InputSpec | None, untold: Untold | None) -> Backbone:
    """The backbone of a folder."""
    config = path / "config.json"
    foreign = config.is_file() and not (path / CARD).is_file()
    if foreign and read_plain(config).get("model_type") == "videomae":
        return VideoTransformer.of_videomae(read_videomae_folder(path, spec))
    return VideoTransformer.from_pretrained(path, spec, untold)


def load_file(path: Path, spec: InputSpec | None, untold: Untold | None) -> Backbone:
    """The backbone of a file; which it is stands in its keys."""
    content = load_foreign(path)
    if is_meta(content):
        return VideoTransformer.from_pretrained(path, spec, untold)
    heads = heads_alone(path, untold)
    tensors = state_of(content, path.name)
    if is_discovr(tensors):
        return DISCOVR.of(read_discovr(tensors, content, path, spec, heads))
    if is_videomae(tensors):
        return VideoTransformer.of_videomae(read_videomae_file(tensors, path, spec, heads))
    if is_panecho(tensors):
        return fed_as_built(PanEcho.from_file(tensors, path), spec)
    if is_echoprime(tensors):
        return fed_as_built(EchoPrime.from_file(tensors, path), spec)
    raise CheckpointError(
        f"{path.name} has the entries {sorted(map(str, content))[:8]}. Known are V-JEPA's files (with one of "
        f"{ENCODERS}), VideoMAE and DISCOVR (`attn.q_bias`), PanEcho (`encoder.encoder.model`) and EchoPrime "
        "(`conv_proj.weight`, `head.1.weight`)"
    )


def heads_alone(path: Path, untold: Untold | None) -> int | None:
    """The attention heads that were stated; UserError where anything else was: that is of V-JEPA's files."""
    if untold is not None and replace(untold, heads=None) != Untold():
        raise UserError(
            f"{path} is not a V-JEPA file; `untold` may state only its heads. Leave the other entries out"
        )
    return untold.heads if untold else None
