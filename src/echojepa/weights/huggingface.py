"""V-JEPA 2 as `transformers.VJEPA2Model` saves it: `config.json` and safetensors, read and written.

Nothing of transformers is needed for either. Facts: its VJEPA2Config and state dict (5.24), and the tests,
which let it load what is written here.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from echojepa.config import SIZES, InputSpec
from echojepa.files.records import decode_plain, read_plain, write_record
from echojepa.models.predictor import PredictorShape
from echojepa.weights.folder import Origin, Weights, recognise
from echojepa.weights.tensors import CheckpointError, file_sha256, load_safetensors, save_tensors

TENSORS = "model.safetensors"
FRAMES_PER_SECOND = 8
"""EchoJEPA's sampling, for folders that do not name their own."""
RENAMED = (
    ("patch_embed.proj", "embeddings.patch_embeddings.proj"),
    ("predictor_blocks.", "layer."),
    ("blocks.", "layer."),
    ("predictor_embed", "embeddings.predictor_embeddings"),
    ("predictor_norm", "layernorm"),
    ("predictor_proj", "proj"),
    ("attn.proj", "attention.proj"),
)
"""Parts of our names and of theirs."""
MODULES = ("encoder", "predictor", "pooler", "classifier")
"""Parts of their models; the last two are a fine-tuned classifier's and are left aside."""
PARTS = ("query", "key", "value")
"""What the rows of our fused projection are, in order."""
SPEC_ENTRY = "echojepa_spec"
"""Our entry in `config.json`: the whole InputSpec, which transformers keeps and does not read."""


def to_huggingface(ours: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Our tensors of an encoder or a predictor under their names, qkv apart and mask tokens stacked."""
    renamed = {}
    mask_tokens = [ours[key] for key in sorted(ours) if key.startswith("mask_tokens.")]
    if mask_tokens:
        renamed[f"{prefix}.embeddings.mask_tokens"] = torch.stack(mask_tokens)
    for name, value in ours.items():
        if name.startswith("mask_tokens."):
            continue
        theirs = "layernorm" + name.removeprefix("norm") if name.startswith("norm.") else name
        for mine, other in RENAMED:
            theirs = theirs.replace(mine, other)
        if ".attn.qkv." in theirs:
            for part, third in zip(PARTS, value.chunk(3), strict=True):
                renamed[f"{prefix}.{theirs.replace('attn.qkv', f'attention.{part}')}"] = third
        else:
            renamed[f"{prefix}.{theirs}"] = value
    return renamed


def from_huggingface(theirs: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """Their tensors of `part`, "encoder" or "predictor", under our names; unknown names stay as they are."""
    own = {key.removeprefix(f"{part}."): value for key, value in theirs.items() if key.startswith(f"{part}.")}
    blocks, norm = ("predictor_blocks.", "predictor_norm.") if part == "predictor" else ("blocks.", "norm.")
    renamed: dict[str, Tensor] = {}
    for name, value in own.items():
        if name == "embeddings.mask_tokens":
            renamed |= {f"mask_tokens.{number}": token for number, token in enumerate(value)}
            continue
        ours = name.replace("layer.", blocks, 1) if name.startswith("layer.") else name
        ours = ours.replace("layernorm.", norm, 1) if ours.startswith("layernorm.") else ours
        ours = ours.replace("proj.", "predictor_proj.", 1) if ours.startswith("proj.") else ours
        ours = ours.replace("embeddings.patch_embeddings", "patch_embed").replace(
            ".attention.proj", ".attn.proj"
        )
        ours = ours.replace("embeddings.predictor_embeddings", "predictor_embed")
        if ".attention.query." in ours:
            thirds = [own.get(name.replace(".query.", f".{third}.")) for third in PARTS]
            if all(third is not None for third in thirds):
                ours = ours.replace("attention.query", "attn.qkv")
                value = torch.cat([third for third in thirds if third is not None])
        elif ".attention.key." in ours or ".attention.value." in ours:
            continue
        renamed[ours] = value
    return renamed


def read_huggingface(folder: Path) -> Weights:
    """The weights of a folder; CheckpointError for another kind of model or an unknown size."""
    config = read_plain(folder / "config.json")
    if config.get("model_type") != "vjepa2":
        raise CheckpointError(f"{folder} holds a model of type '{config.get('model_type')}', not 'vjepa2'")
    files = sorted(folder.glob("*.safetensors"))
    tensors = {key.removeprefix("vjepa2."): v for file in files for key, v in load_safetensors(file).items()}
    foreign = sorted(key for key in tensors if key.split(".")[0] not in MODULES)
    if foreign:
        raise CheckpointError(f"{folder} holds {foreign[:5]}; a V-JEPA 2 folder has {', '.join(MODULES)}")
    encoder, predictor = from_huggingface(tensors, "encoder"), from_huggingface(tensors, "predictor")
    architecture = recognise(encoder, folder.name)
    heads = SIZES[architecture.size].heads
    if config["num_attention_heads"] != heads:
        raise CheckpointError(
            f"{folder} has {config['num_attention_heads']} attention heads; '{architecture.size}' has {heads}"
        )
    shape = None
    if predictor:
        shape = PredictorShape(
            config["pred_hidden_size"],
            config["pred_num_hidden_layers"],
            config["pred_num_attention_heads"],
            config["hidden_size"],
            config["pred_num_mask_tokens"],
        )
    return Weights(
        architecture,
        input_of(config),
        encoder,
        Origin(folder.name),
        file_sha256(files[0]),
        shape,
        predictor,
    )


def input_of(config: dict[str, Any]) -> InputSpec:
    """What the model is fed: our own entry, or their size and frames at EchoJEPA's sampling."""
    if SPEC_ENTRY in config:
        return decode_plain(InputSpec, config[SPEC_ENTRY])
    frames = config["frames_per_clip"]
    return InputSpec(size=config["crop_size"], frames=frames, seconds=frames / FRAMES_PER_SECOND)


def write_huggingface(folder: Path, weights: Weights) -> None:
    """Write a folder for `VJEPA2Model.from_pretrained`; CheckpointError for what it cannot hold."""
    architecture, shape = weights.architecture, weights.predictor_shape
    size = SIZES[architecture.size]
    stretched = architecture.position != "vjepa2" or architecture.trained_side is not None
    if stretched or shape is None or shape.outputs != size.width:
        raise CheckpointError(
            "Hugging Face's VJEPA2Model needs V-JEPA 2's rotary positions and a JEPA predictor; these "
            f"weights have {architecture} and the predictor {shape}; write --to echojepa"
        )
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
        SPEC_ENTRY: asdict(weights.spec),
    }
    processor = {
        "video_processor_type": "VJEPA2VideoProcessor",
        "image_mean": weights.spec.mean,
        "image_std": weights.spec.std,
        "crop_size": {"height": weights.spec.size, "width": weights.spec.size},
        "size": {"shortest_edge": weights.spec.resized or weights.spec.size},
        "rescale_factor": weights.spec.value_max / 255,
    }
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / TENSORS, tensors)
    write_record(folder / "video_preprocessor_config.json", processor)
    write_record(folder / "config.json", config)
