"""V-JEPA 2 as `transformers.VJEPA2Model` saves it: `config.json` and safetensors, read and written.

Nothing of transformers is needed for either. Facts: its VJEPA2Config and state dict (5.24), and the tests,
which let it load what is written here.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echojepa.config import InputSpec
from echojepa.files.records import decode_plain, entry, plain, read_plain, write_record
from echojepa.models.predictor import PredictorShape
from echojepa.weights.folder import Origin, Weights, count_blocks, recognise
from echojepa.weights.meta import FRAMES_PER_SECOND
from echojepa.weights.tensors import CheckpointError, below, files_sha256, load_shards, save_tensors, shards

TENSORS = "model.safetensors"
BILINEAR = 2
"""Pillow's number of it, with which transformers' settings name it."""
NAMES = {
    "encoder": (
        ("patch_embed.", "embeddings.patch_embeddings."),
        ("blocks.", "layer."),
        ("norm.", "layernorm."),
    ),
    "predictor": (
        ("predictor_embed.", "embeddings.predictor_embeddings."),
        ("predictor_blocks.", "layer."),
        ("predictor_norm.", "layernorm."),
        ("predictor_proj.", "proj."),
    ),
}
"""What our names of a part begin with, and theirs; within a block `attn` is their `attention`."""
MODULES = ("encoder", "predictor", "pooler", "classifier")
"""Parts of their models; the last two are a fine-tuned classifier's and are left aside."""
PARTS = ("query", "key", "value")
"""What the rows of our fused projection are, in order."""
SPEC_ENTRY = "echojepa_spec"
"""Our entry in `config.json`: the whole InputSpec, which transformers keeps and does not read."""


def begun_otherwise(name: str, pairs: Iterable[tuple[str, str]]) -> str:
    """A name with the beginning that it has of the first ones replaced by the second."""
    return next((new + name.removeprefix(old) for old, new in pairs if name.startswith(old)), name)


def to_huggingface(ours: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """Our tensors of `part`, "encoder" or "predictor", under their names: qkv apart, mask tokens stacked."""
    renamed = {}
    mask_tokens = [ours[key] for key in sorted(ours) if key.startswith("mask_tokens.")]
    if mask_tokens:
        renamed[f"{part}.embeddings.mask_tokens"] = torch.stack(mask_tokens)
    for name, value in ours.items():
        theirs = f"{part}.{begun_otherwise(name, NAMES[part])}".replace(".attn.", ".attention.")
        if ".qkv." in name:
            thirds = zip(PARTS, value.chunk(3), strict=True)
            renamed |= {theirs.replace("qkv", third): rows for third, rows in thirds}
        elif not name.startswith("mask_tokens."):
            renamed[theirs] = value
    return renamed


def from_huggingface(theirs: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """Their tensors of `part`, "encoder" or "predictor", under our names; unknown names stay as they are."""
    own = below(f"{part}.", theirs)
    back = [(other, mine) for mine, other in NAMES[part]]
    renamed: dict[str, Tensor] = {}
    for name, value in own.items():
        ours = begun_otherwise(name, back).replace(".attention.", ".attn.")
        thirds = [
            own[key] for key in (name.replace(".query.", f".{third}.") for third in PARTS) if key in own
        ]
        if name == "embeddings.mask_tokens":
            renamed |= {f"mask_tokens.{number}": token for number, token in enumerate(value)}
        elif ".attn.query." in ours and len(thirds) == len(PARTS):
            renamed[ours.replace("query", "qkv")] = torch.cat(thirds)
        elif ".attn.key." not in ours and ".attn.value." not in ours:
            renamed[ours] = value
    return renamed


def read_huggingface(folder: Path) -> Weights:
    """The weights of a folder; CheckpointError for another kind of model, and where `config.json` does not
    belong to the tensors."""
    path = folder / "config.json"
    config = read_plain(path)
    if config.get("model_type") != "vjepa2":
        raise CheckpointError(f"{folder} holds a model of type '{config.get('model_type')}', not 'vjepa2'")
    check_gelu(config, path)
    files = shards(folder)
    tensors = {key.removeprefix("vjepa2."): value for key, value in load_shards(files).items()}
    foreign = sorted(key for key in tensors if key.split(".")[0] not in MODULES)
    if foreign:
        raise CheckpointError(f"{folder} holds {foreign[:5]}; a V-JEPA 2 folder has {', '.join(MODULES)}")
    encoder, predictor = from_huggingface(tensors, "encoder"), from_huggingface(tensors, "predictor")
    architecture = recognise(encoder, folder.name, heads=entry(config, "num_attention_heads", int, path))
    size, shape = architecture.dimensions, None
    agree(config, {"hidden_size": size.width, "num_hidden_layers": size.depth}, path)
    if predictor:
        depth = count_blocks(predictor, "predictor_blocks.")
        names = ("pred_hidden_size", "pred_num_hidden_layers", "pred_num_attention_heads", "hidden_size",
                 "pred_num_mask_tokens")  # fmt: skip
        agree(config, {"pred_num_hidden_layers": depth}, path)
        shape = PredictorShape(*(entry(config, name, int, path) for name in names))
    spec, sha256 = input_of(config, path), files_sha256(files)
    return Weights(architecture, spec, encoder, Origin(folder.name), sha256, shape, predictor)


def agree(config: dict[str, Any], found: dict[str, int], path: Path) -> None:
    """CheckpointError where `config.json` has other numbers than the tensors."""
    for name, number in found.items():
        said = entry(config, name, int, path)
        if said != number:
            raise CheckpointError(
                f"{path} states {said} as '{name}', but its tensors have {number}; copy both again from "
                "one source"
            )


def check_gelu(config: dict[str, Any], path: Path) -> None:
    """CheckpointError for an activation that our blocks do not have; the tensors do not tell it."""
    if config.get("hidden_act", "gelu") != "gelu":
        raise CheckpointError(
            f"{path} names the activation '{config['hidden_act']}'; only exact 'gelu' is supported"
        )


def input_of(config: dict[str, Any], path: Path) -> InputSpec:
    """What the model is fed: our own entry, or their size and frames at EchoJEPA's sampling."""
    if SPEC_ENTRY in config:
        return decode_plain(InputSpec, config[SPEC_ENTRY])
    size, frames = entry(config, "crop_size", int, path), entry(config, "frames_per_clip", int, path)
    return decode_plain(InputSpec, plain(InputSpec()) | {
        "size": size, "frames": frames, "seconds": frames / FRAMES_PER_SECOND,
    })  # fmt: skip


def write_huggingface(folder: Path, weights: Weights) -> None:
    """Write a folder for `VJEPA2Model.from_pretrained`; CheckpointError for what it cannot hold."""
    weights.check_vjepa2("Hugging Face's VJEPA2Model needs", whole=True)
    architecture, shape = weights.architecture, weights.predictor_shape
    size = architecture.dimensions
    assert shape is not None, "they are whole"
    tensors = to_huggingface(weights.encoder, "encoder") | to_huggingface(weights.predictor, "predictor")
    config = {
        "architectures": ["VJEPA2Model"],
        "model_type": "vjepa2",
        "patch_size": architecture.patch,
        "tubelet_size": architecture.tubelet,
        "crop_size": weights.spec.size,
        "frames_per_clip": weights.spec.frames,
        "hidden_size": size.width,
        "num_hidden_layers": size.depth,
        "num_attention_heads": size.heads,
        "mlp_ratio": size.hidden / size.width,
        "layer_norm_eps": 1e-6,
        "pred_hidden_size": shape.width,
        "pred_num_hidden_layers": shape.depth,
        "pred_num_attention_heads": shape.heads,
        "pred_num_mask_tokens": shape.mask_tokens,
        "pred_mlp_ratio": 4.0,
        "torch_dtype": "float32",
        SPEC_ENTRY: plain(weights.spec),
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / TENSORS, tensors)
    write_record(folder / "video_preprocessor_config.json", processor_of(weights.spec))
    write_record(folder / "config.json", config)


def processor_of(spec: InputSpec) -> dict[str, Any]:
    """Settings of transformers' processor that make a model's pixels of square pictures.

    Its class resizes the short side to int(crop * 256 / 224), whatever `size` says, and then cuts the centre,
    which is what some inputs are; of others the crop is chosen that gives their side, and nothing is cut.
    Where no crop does, or pictures are resized otherwise, it resizes nothing: give it pictures of `size`.
    """
    side, widened = spec.resized or spec.size, spec.size * 256 // 224
    crop = spec.size if side == widened else -(-side * 224 // 256)
    possible = crop * 256 // 224 == side and spec.interpolation == "bilinear" and not spec.margin
    possible &= spec.mm is None
    possible &= side in (spec.size, widened)
    return {
        "video_processor_type": "VJEPA2VideoProcessor",
        "do_resize": possible,
        "size": {"shortest_edge": side},
        "resample": BILINEAR,
        "do_center_crop": possible and side == widened,
        "crop_size": {"height": crop, "width": crop},
        "do_rescale": True,
        "rescale_factor": spec.value_max / 255,
        "do_normalize": True,
        "image_mean": spec.mean,
        "image_std": spec.std,
        "do_sample_frames": False,
    }
