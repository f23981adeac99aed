"""Video transformers: encoders pretrained here, EchoJEPA's, V-JEPA's and VideoMAE's."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from echojepa.backbones.contract import Backbone
from echojepa.config import Architecture, InputSpec, Precision, PretrainConfig, Untold
from echojepa.errors import UserError
from echojepa.files.records import read_record
from echojepa.models.building import build_encoder
from echojepa.models.contract import TokenGrid, prepare
from echojepa.models.vit import VisionTransformer, initialise
from echojepa.weights.folder import CARD, Weights, load_card, save_weights
from echojepa.weights.layouts import read_weights
from echojepa.weights.videomae import VideoMAEWeights

CPU_TOKENS = 2048
"""Tokens that a CPU is given at a time: more take more memory and no less time."""
OBJECTIVES = {"jepa": "JEPA", "videomae": "MAE", "supervised": "Supervised", "contrastive": "Contrastive"}
"""How tables call encoders that were trained here."""


class VideoTransformer(Backbone):
    """A frozen VisionTransformer behind the backbone contract."""

    def __init__(
        self,
        name: str,
        encoder: VisionTransformer,
        spec: InputSpec,
        *,
        pool_norm: nn.LayerNorm | None = None,
        sha256: str = "",
        read: Callable[[], Weights] | None = None,
        run: Path | None = None,
        random: bool = False,
    ) -> None:
        parts = {"encoder": encoder} | ({"pool_norm": pool_norm} if pool_norm else {})
        super().__init__(name, nn.ModuleDict(parts), spec, encoder.width, sha256)
        self.encoder = encoder
        self.pool_norm = pool_norm
        self.read = read
        """Reads the weights again, predictor included, which are not kept in memory."""
        self.run = run
        """The folder of the run of ours that made it, where one did."""
        self.trainable, self.random = read is not None, random

    @classmethod
    def from_pretrained(
        cls, path: Path | str, spec: InputSpec | None = None, untold: Untold | None = None
    ) -> VideoTransformer:
        """A JEPA encoder from our folder, a Hugging Face `VJEPA2Model` folder, or a file of Meta's layout.

        `spec` replaces the input that the weights name; `untold` is what a file of Meta's does not tell.
        CheckpointError where anything does not fit.
        """
        weights = read_weights(Path(path), spec, untold)
        name = OBJECTIVES.get(weights.origin.name, weights.origin.name)
        read = partial(read_weights, Path(path), spec, untold)
        ours = all((Path(path) / file).is_file() for file in (CARD, "config.json"))
        return cls(
            name, weights.build_encoder(), weights.spec, sha256=weights.sha256, read=read,
            run=Path(path) if ours else None,
        )  # fmt: skip

    @classmethod
    def of_videomae(cls, weights: VideoMAEWeights) -> VideoTransformer:
        """The original VideoMAE's encoder; CheckpointError where a tensor does not fit."""
        encoder, pool_norm = weights.build_encoder(), weights.build_pool_norm()
        return cls(weights.name, encoder, weights.spec, pool_norm=pool_norm, sha256=weights.sha256)

    @classmethod
    def untrained(cls, folder: Path) -> VideoTransformer:
        """The very weights that a run started from: what its architecture alone can do."""
        card = load_card(folder)
        config = read_record(PretrainConfig, folder / "config.json")
        return cls("random encoder", build_encoder(config), card.spec, sha256=card.sha256, random=True)

    @classmethod
    def untrained_videomae(cls, size: str, spec: InputSpec) -> VideoTransformer:
        """The architecture of the original VideoMAE with random weights."""
        architecture = Architecture(size, position="sincos")
        encoder = VisionTransformer(architecture, spec, torch.Generator().manual_seed(0))
        return cls(f"untrained architecture (VideoMAE, {size})", encoder, spec, random=True)

    def random_start(self) -> VideoTransformer:
        """What its run started from; of others their architecture, with such weights (seed 0)."""
        if self.run:
            return VideoTransformer.untrained(self.run)
        encoder = copy.deepcopy(self.encoder).float().cpu()
        for module in encoder.modules():
            if isinstance(module, nn.LayerNorm):
                module.reset_parameters()
        initialise(encoder, encoder.blocks, torch.Generator().manual_seed(0))
        return VideoTransformer("random encoder", encoder, self.spec, random=True)

    def set_precision(self, precision: Precision) -> None:
        """Compute in bf16 from now on, or stay in float32; UserError for int8, which needs openvino."""
        if precision == "int8":
            raise UserError("int8 needs --engine openvino (pip install 'echojepa[fast]')")
        if precision == "bf16":
            self.encoder.to(torch.bfloat16)
            self.name += " (bf16)"

    def save_pretrained(self, folder: Path | str) -> None:
        """Write our folder of the weights, predictor included, for `from_pretrained`.

        UserError for one that `from_pretrained` did not make, and where its file has changed since.
        """
        if self.read is None:
            raise UserError(f"{self.name} is not a pretrained JEPA encoder; only these can be saved")
        weights = self.read()
        if weights.sha256 != self.sha256:
            raise UserError(f"the weights file of {self.name} has changed since it was loaded; load it again")
        save_weights(Path(folder), weights)

    def features(self, pixels: Tensor) -> TokenGrid:
        """Tokens of prepared clips, and the vector that a fine-tuned VideoMAE classified with."""
        tokens = torch.cat([self.encoder(part) for part in self.parts(pixels)]).float()
        vector = self.pool_norm(tokens.mean(dim=1)) if self.pool_norm else None
        return TokenGrid(tokens, self.encoder.grid, vector)

    def parts(self, pixels: Tensor) -> tuple[Tensor, ...]:
        """Clips in the encoder's precision, in lots of a size that suits the device."""
        pixels = pixels.to(self.encoder.patch_embed.proj.weight.dtype)
        if self.device.type != "cpu":
            return (pixels,)
        return pixels.split(max(1, CPU_TOKENS // math.prod(self.encoder.grid)))

    @torch.inference_mode()
    def attention(self, clips: Tensor, block: int) -> Tensor:
        """Attention (B, heads, N, N) of one block for uint8 clips (B, 3, T, H, W)."""
        parts = self.parts(prepare(self.spec, clips.to(self.device)))
        return torch.cat([self.encoder.attention(part, block) for part in parts]).float()

    @torch.inference_mode()
    def attentions(self, clips: Tensor) -> Iterator[Tensor]:
        """The same of every block in order, one at a time."""
        pixels = prepare(self.spec, clips.to(self.device)).to(self.encoder.patch_embed.proj.weight.dtype)
        for attention in self.encoder.attentions(pixels):
            yield attention.float()
