"""DISCOVR's video encoder: a ViT with a class token, whose last state is its vector of a clip.

Facts: github mdivyanshu97/DISCOVR (models/modeling_finetune.py and modeling_pretrain.py); arXiv 2506.11777.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from echojepa.backbones.contract import Backbone
from echojepa.config import Architecture, InputSpec
from echojepa.models.contract import TokenGrid
from echojepa.models.positions import sincos_table
from echojepa.models.vit import VisionTransformer, through
from echojepa.weights.tensors import build_from
from echojepa.weights.videomae import VideoMAEWeights


class ClassTokenTransformer(VisionTransformer):
    """A VisionTransformer with a token more, before the others, of no place."""

    def __init__(self, architecture: Architecture, spec: InputSpec, *, normed: bool = True) -> None:
        super().__init__(architecture, spec, torch.Generator().manual_seed(0))
        self.architecture = architecture
        tokens = self.positions.get_buffer("table").shape[0]
        self.cls_token = nn.Parameter(torch.zeros(1, 1, self.width))
        with torch.device("cpu"):
            table = torch.cat([torch.zeros(1, self.width), sincos_table(tokens, self.width)])
        self.positions.register_buffer("table", table)
        if not normed:
            self.norm = nn.Identity()

    def forward(self, clips: Tensor, ids: Tensor | None = None, mean_of_layers: bool = False) -> Tensor:
        """Prepared clips (B, 3, T, H, W) -> the class token and all others (B, 1 + N, D)."""
        assert ids is None and not mean_of_layers
        tokens = self.patch_embed(clips, None)
        x = torch.cat([self.cls_token.expand(len(tokens), -1, -1), tokens], dim=1)
        return self.norm(through(self.blocks, self.positions.add(x, None), None, False))


class DISCOVR(Backbone):
    """The frozen video encoder; `pooled` is its class token, or what a fine-tuned one classified with."""

    def __init__(
        self,
        name: str,
        model: ClassTokenTransformer,
        spec: InputSpec,
        pool_norm: nn.LayerNorm | None = None,
        sha256: str = "",
    ) -> None:
        parts = {"encoder": model} | ({"pool_norm": pool_norm} if pool_norm else {})
        super().__init__(name, nn.ModuleDict(parts), spec, model.width, sha256)
        self.encoder, self.pool_norm = model, pool_norm

    @classmethod
    def of(cls, weights: VideoMAEWeights) -> DISCOVR:
        """The encoder of a file; CheckpointError where a tensor does not fit."""
        normed = "norm.weight" in weights.encoder
        model = build_from(
            lambda: ClassTokenTransformer(weights.architecture, weights.spec, normed=normed),
            weights.encoder, weights.name,
        )  # fmt: skip
        return cls(weights.name, model, weights.spec, weights.build_pool_norm(), weights.sha256)

    def random_start(self) -> DISCOVR:
        """The same architecture with random weights."""
        model = ClassTokenTransformer(self.encoder.architecture, self.spec)
        return DISCOVR("untrained architecture (DISCOVR)", model, self.spec)

    def features(self, pixels: Tensor) -> TokenGrid:
        """The tokens of a clip's places, and its vector: the class token, or the norm of the mean of all."""
        x = torch.cat([self.encoder(clip) for clip in pixels.split(1 if self.device.type == "cpu" else 64)])
        vector = self.pool_norm(x.mean(dim=1)) if self.pool_norm else x[:, 0]
        return TokenGrid(x[:, 1:], self.encoder.grid, vector)
