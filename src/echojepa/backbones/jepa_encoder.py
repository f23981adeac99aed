"""Encoders pretrained by this package, and the same architecture with random weights beside them."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from echojepa.config import PretrainConfig, config_from_json
from echojepa.models.contract import InputSpec, TokenGrid
from echojepa.models.vit import VisionTransformer
from echojepa.training.checkpoint import load_card, load_encoder
from echojepa.training.pretrain import build_encoder


class JEPAEncoder:
    """A frozen VisionTransformer behind the backbone contract."""

    def __init__(self, name: str, encoder: VisionTransformer, spec: InputSpec) -> None:
        self.name = name
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.encoder = encoder.eval().requires_grad_(False).to(self.device)
        self.spec = spec
        self.embed_dim = encoder.width

    @classmethod
    def trained(cls, folder: Path) -> JEPAEncoder:
        """The encoder of a finished run."""
        encoder, card = load_encoder(folder)
        return cls("JEPA", encoder, card.spec)

    @classmethod
    def untrained(cls, folder: Path) -> JEPAEncoder:
        """The very weights that a run started from: what its architecture alone can do."""
        card = load_card(folder)
        config = config_from_json(PretrainConfig, (folder / "config.json").read_text(encoding="utf-8"))
        return cls("random encoder", build_encoder(config), card.spec)

    @torch.inference_mode()
    def __call__(self, clips: Tensor) -> TokenGrid:
        """Features of uint8 clips (B, 3, T, H, W), on the encoder's device."""
        return TokenGrid(self.encoder(self.spec.prepare(clips.to(self.device))), self.encoder.grid)

    @torch.inference_mode()
    def attention(self, clips: Tensor, block: int) -> Tensor:
        """Attention (B, heads, N, N) of one block for uint8 clips (B, 3, T, H, W)."""
        return self.encoder.attention(self.spec.prepare(clips.to(self.device)), block)
