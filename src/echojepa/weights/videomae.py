"""The original VideoMAE: MCG-NJU's files and Hugging Face folders, as the un-pooled grid of tokens.

Its encoder is our VisionTransformer with fixed sine-cosine positions. It has no bias on keys: such a bias
adds the same number to every score of a query, so softmax does not see it; ours is zero there. Facts: github
MCG-NJU/VideoMAE (modeling_pretrain.py, modeling_finetune.py), transformers 5.24 (modeling_videomae.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from echojepa.config import Architecture, InputSpec
from echojepa.files.records import decode_plain, entry, plain, read_plain
from echojepa.models.vit import VisionTransformer
from echojepa.weights.folder import recognise
from echojepa.weights.huggingface import agree, check_gelu
from echojepa.weights.meta import OURS, TABLE
from echojepa.weights.tensors import (
    below,
    build_from,
    file_sha256,
    files_sha256,
    load_shards,
    renamed,
    shards,
)

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
POOL = "fc_norm."
"""Before the norm of a fine-tuned model's mean token."""
CONFIG = ("image_size", "num_frames", "num_attention_heads")
"""What `config.json` tells and the tensors do not."""


def is_videomae(tensors: dict[str, Tensor]) -> bool:
    """Whether a file's tensors are MCG-NJU's: they have biases of queries alone."""
    return any(key.endswith("attn.q_bias") for key in tensors)


@dataclass(frozen=True)
class VideoMAEWeights:
    """An encoder's tensors under our names, and the norm of a fine-tuned model's mean token."""

    name: str
    sha256: str
    architecture: Architecture
    spec: InputSpec
    encoder: dict[str, Tensor]
    pool: dict[str, Tensor]
    """Empty for a pretrained model."""

    def build_encoder(self) -> VisionTransformer:
        """The encoder; CheckpointError where a tensor does not fit.

        A pretrained model has its last `norm` on the tokens; a fine-tuned one, and some Hugging Face folders,
        have none there.
        """

        def blank() -> VisionTransformer:
            encoder = VisionTransformer(self.architecture, self.spec, torch.Generator())
            if "norm.weight" not in self.encoder:
                encoder.norm = nn.Identity()
            return encoder

        return build_from(blank, self.encoder, self.name)

    def build_pool_norm(self) -> nn.LayerNorm | None:
        """The norm of the mean token, whose output is the model's vector; None for a pretrained model."""
        width = self.architecture.dimensions.width
        norm = f"{self.name}, fc_norm"
        return build_from(lambda: nn.LayerNorm(width, eps=1e-6), self.pool, norm) if self.pool else None


def read_videomae_file(
    state: dict[str, Tensor], path: Path, spec: InputSpec | None = None, heads: int | None = None
) -> VideoMAEWeights:
    """The encoder of a pretrained or fine-tuned file of MCG-NJU's code, whose tensors are `state`."""
    tensors = {key.removeprefix("backbone.").removeprefix("encoder."): value for key, value in state.items()}
    return sorted_out(tensors, path.name, file_sha256(path), spec or InputSpec(), heads)


def read_videomae_folder(folder: Path, spec: InputSpec | None = None) -> VideoMAEWeights:
    """The encoder of a Hugging Face VideoMAE folder, for pretraining, classification or bare."""
    path = folder / "config.json"
    config = read_plain(path)
    check_gelu(config, path)
    files = shards(folder)
    theirs = load_shards(files)
    tensors = {}
    for name, value in theirs.items():
        ours = name.removeprefix("videomae.")
        tensors[ours if ours.startswith(LEFT_OUT) else renamed(ours, RENAMED)] = value
    size, frames, heads = (entry(config, name, int, path) for name in CONFIG)
    spec = spec or decode_plain(InputSpec, plain(InputSpec()) | {"size": size, "frames": frames})
    weights = sorted_out(tensors, folder.name, files_sha256(files), spec, heads)
    found = weights.architecture.dimensions
    agree(config, {"hidden_size": found.width, "num_hidden_layers": found.depth}, path)
    return weights


def sorted_out(
    tensors: dict[str, Tensor],
    name: str,
    sha256: str,
    spec: InputSpec,
    heads: int | None,
    beside: tuple[str, ...] = LEFT_OUT,
) -> VideoMAEWeights:
    """Tensors under MCG-NJU's names, sorted, but for those that begin as one `beside` the encoder;
    CheckpointError for an architecture that is none of ours. A table of positions that a file holds, learned
    ones for example, is the one that is added."""
    fused = fuse(tensors)
    ours = {key: value for key, value in fused.items() if not key.startswith((*beside, POOL))}
    table = ours.pop(TABLE, None)
    if table is not None:
        ours[OURS] = table.flatten(0, -2)
    architecture = recognise(ours, name, "sincos" if table is None else "table", heads=heads)
    return VideoMAEWeights(name, sha256, architecture, spec, ours, below(POOL, fused))


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
