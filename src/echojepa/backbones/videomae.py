"""The original VideoMAE: MCG-NJU's files and Hugging Face folders, as the un-pooled grid of tokens.

Its encoder is our VisionTransformer with fixed sine-cosine positions. It has no bias on keys: such a bias
adds the same number to every score of a query, so softmax does not see it; ours is zero there. Facts: github
MCG-NJU/VideoMAE (modeling_pretrain.py, modeling_finetune.py), transformers 5.24 (modeling_videomae.py).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from echojepa.backbones.transformer import VideoTransformer
from echojepa.models.contract import InputSpec
from echojepa.models.vit import SIZES, Architecture, SizeName, VisionTransformer
from echojepa.training.checkpoint import CheckpointError, build_from, file_sha256, load_safetensors
from echojepa.training.weights import recognise

LEFT_OUT = ("decoder.", "encoder_to_decoder.", "mask_token", "head.", "classifier.")
"""What pretraining and classification add to the encoder."""
RENAMED = (
    ("embeddings.patch_embeddings.projection", "patch_embed.proj"),
    ("encoder.layer.", "blocks."),
    ("attention.attention.query.weight", "attn.q.weight"),
    ("attention.attention.key.weight", "attn.k.weight"),
    ("attention.attention.value.weight", "attn.v.weight"),
    ("attention.attention.query.bias", "attn.q_bias"),
    ("attention.attention.value.bias", "attn.v_bias"),
    ("attention.attention.q_bias", "attn.q_bias"),
    ("attention.attention.v_bias", "attn.v_bias"),
    ("attention.output.dense", "attn.proj"),
    ("intermediate.dense", "mlp.fc1"),
    ("output.dense", "mlp.fc2"),
    ("layernorm_before", "norm1"),
    ("layernorm_after", "norm2"),
    ("layernorm.", "norm."),
)
"""Parts of Hugging Face's names, in order of replacement, and of MCG-NJU's."""


def is_videomae(content: dict[str, Any]) -> bool:
    """Whether a file's dictionary is MCG-NJU's: an entry `model` with biases of queries alone."""
    model = content.get("model")
    return isinstance(model, dict) and any(key.endswith("attn.q_bias") for key in model)


def read_videomae_file(
    content: dict[str, Any], path: Path, spec: InputSpec | None = None
) -> VideoTransformer:
    """The encoder of a pretrained or fine-tuned file of MCG-NJU's code."""
    tensors = {key.removeprefix("encoder."): value for key, value in content["model"].items()}
    return build(tensors, path.name, file_sha256(path), spec or InputSpec())


def read_videomae_folder(folder: Path, spec: InputSpec | None = None) -> VideoTransformer:
    """The encoder of a Hugging Face VideoMAE folder, for pretraining, classification or bare."""
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    files = sorted(folder.glob("*.safetensors"))
    theirs = {key: value for file in files for key, value in load_safetensors(file).items()}
    tensors = {}
    for name, value in theirs.items():
        ours = name.removeprefix("videomae.")
        if not ours.startswith(LEFT_OUT):
            for old, new in RENAMED:
                ours = ours.replace(old, new)
        tensors[ours] = value
    spec = spec or InputSpec(size=config["image_size"], frames=config["num_frames"])
    backbone = build(tensors, folder.name, file_sha256(files[0]), spec)
    heads = SIZES[recognise(fuse(tensors), folder.name).size].heads
    if config["num_attention_heads"] != heads:
        raise CheckpointError(f"{folder} has {config['num_attention_heads']} attention heads, not {heads}")
    return backbone


def fuse(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """One qkv projection a block, with a bias that is zero for keys, from MCG-NJU's names."""
    fused = {}
    for name, value in tensors.items():
        if name.endswith("attn.q_bias"):
            other = tensors.get(name.replace("q_bias", "v_bias"))
            if other is not None:
                fused[name.replace("q_bias", "qkv.bias")] = torch.cat([value, torch.zeros_like(value), other])
        elif name.endswith("attn.q.weight"):
            parts = [tensors.get(name.replace(".q.", f".{part}.")) for part in "qkv"]
            fused[name.replace(".q.", ".qkv.")] = torch.cat([part for part in parts if part is not None])
        elif not name.endswith(("attn.v_bias", "attn.k.weight", "attn.v.weight")):
            fused[name] = value
    return fused


def build(tensors: dict[str, Tensor], name: str, sha256: str, spec: InputSpec) -> VideoTransformer:
    """The backbone of an encoder's tensors under MCG-NJU's names; CheckpointError where they do not fit.

    A fine-tuned model normalises the mean of its tokens (`fc_norm`) and not the tokens: that mean is its
    vector. A pretrained one has its last `norm` on the tokens, or in some Hugging Face folders none at all.
    """
    plain = {key: value for key, value in fuse(tensors).items() if not key.startswith(LEFT_OUT)}
    pool = {key.removeprefix("fc_norm."): plain.pop(key) for key in list(plain) if key.startswith("fc_norm.")}
    architecture = recognise(plain, name, position="sincos")
    encoder = build_from(lambda: blank(architecture, spec, "norm.weight" in plain), plain, name)
    pool_norm = None
    if pool:
        pool_norm = build_from(lambda: nn.LayerNorm(encoder.width, eps=1e-6), pool, f"{name}, fc_norm")
    return VideoTransformer(name, encoder, spec, pool_norm=pool_norm, sha256=sha256)


def blank(architecture: Architecture, spec: InputSpec, normed: bool) -> VisionTransformer:
    """The encoder's architecture, for weights to come, with or without a norm on its last tokens."""
    encoder = VisionTransformer(architecture, spec, torch.Generator())
    if not normed:
        encoder.norm = nn.Identity()
    return encoder


def untrained_videomae(size: SizeName, spec: InputSpec) -> VideoTransformer:
    """The architecture of the original VideoMAE with random weights."""
    architecture = Architecture(size, position="sincos")
    encoder = VisionTransformer(architecture, spec, torch.Generator().manual_seed(0))
    return VideoTransformer(f"untrained architecture (VideoMAE, {size})", encoder, spec, random=True)
