"""PanEcho's video encoder: a ConvNeXt-T a frame under a transformer over frames, its tokens and their mean.

Facts: github CarDS-Yale/PanEcho (hubconf.py, src/models.py, src/dataset.py) and its file's key names; JAMA
2025, doi 10.1001/jama.2025.8731. Its code is AGPL and its weights are non-commercial: both stay with the
user; this is our own composition of torchvision's and torch's modules.

A clip of 3 x 16 planes is cut into 16 images of three *consecutive planes*, channel after channel. The
colours of image 0 are the red of frames 0, 1 and 2; those of image 5 the red of frame 15 and the green of
frames 0 and 1. Its own code reads memory this way, also in training, so its weights need it. A grey cine thus
appears three times, with three frames in each image; a token is not one frame.
"""

from __future__ import annotations

from pathlib import Path
from typing import Self

import torch
from torch import Tensor, nn

from echojepa.backbones.vision import OfTorchvision, torchvision_models
from echojepa.config import InputSpec
from echojepa.models.contract import TokenGrid
from echojepa.models.positions import sincos_table
from echojepa.weights.tensors import below

SPEC = InputSpec(size=224, frames=16, seconds=None, stride=1, resized=256, interpolation="area")
WIDTH, LAYERS, HEADS = 768, 4, 8
OWN_NAMES = {"lvef": "EF", "rvsp": "RVSP", "edv": "LVEDV", "esv": "LVESV"}
"""Its name of the labels that the package names otherwise."""
UNITS = {
    "EF": "%", "GLS": "%", "LVEDV": "mL", "LVESV": "mL", "LVSV": "mL", "LAVol": "mL",
    "RVSP": "mmHg", "TVPkGrad": "mmHg", "RVSVel": "cm/s", "AVPkVel(m|s)": "m/s", "E|EAvg": "",
    "IVSd": "cm", "LVPWd": "cm", "LVIDs": "cm", "LVIDd": "cm", "LVOTDiam": "cm", "RVIDd": "cm",
    "TAPSE": "cm", "LAIDs2D": "cm", "RADimensionM-L(cm)": "cm", "AORoot": "cm",
}  # fmt: skip
"""Its heads that give a value, and their units (content/tasks.md); its other 19 tell classes."""
NEGATED = "GLS"
"""The head whose value is minus its output."""
TIMES = "time_encoder.pe"
"""Its fixed table of times: rebuilt here, as its own loader does for another number of frames."""


class FrameTransformer(nn.Module):
    """Pictures of three planes to features, then features attend to each other."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        convnext = torchvision_models().convnext_tiny()
        convnext.classifier[2] = nn.Identity()
        self.encoder = nn.ModuleDict({"model": convnext})
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, dim_feedforward=WIDTH, dropout=0.0, batch_first=True)
        self.transformer = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        with torch.device("cpu"):
            self.register_buffer("times", sincos_table(frames, WIDTH), persistent=False)

    def forward(self, clips: Tensor) -> Tensor:
        """Prepared clips (B, 3, T, H, W) -> tokens (B, T, 768)."""
        pictures = clips.flatten(1, 2).unflatten(1, (-1, 3)).flatten(0, 1)
        tokens = self.encoder["model"](pictures).unflatten(0, (len(clips), -1))
        return self.transformer(tokens + self.get_buffer("times"))


def is_panecho(tensors: dict[str, Tensor]) -> bool:
    """Whether a file's tensors are PanEcho's: an encoder of frames in one of clips."""
    return any(key.startswith("encoder.encoder.model.") for key in tensors)


def value_head(tensors: dict[str, Tensor], label: str) -> tuple[Tensor, Tensor, str] | None:
    """Weight (1, 768), bias (1,) and unit of the head of a label, on the mean of tokens; None where there is
    none."""
    name = OWN_NAMES.get(label, label)
    weight, bias = (tensors.get(f"{name}_head.1.{part}") for part in ("weight", "bias"))
    if name not in UNITS or weight is None or bias is None:
        return None
    sign = -1.0 if name == NEGATED else 1.0
    return sign * weight.float(), sign * bias.float(), UNITS[name]


class PanEcho(OfTorchvision):
    """The frozen video encoder; `pooled` is the mean of its tokens, 768-d, that its tasks read."""

    fed, width = SPEC, WIDTH

    @classmethod
    def build(cls) -> nn.Module:
        """Its two networks."""
        return FrameTransformer(cls.fed.frames)

    @classmethod
    def from_file(cls, tensors: dict[str, Tensor], path: Path) -> Self:
        """The encoder of a user's file, its heads left out; CheckpointError where a tensor does not fit."""
        encoder = below("encoder.", tensors)
        encoder.pop(TIMES, None)
        return super().from_file(encoder, path)

    def features(self, pixels: Tensor) -> TokenGrid:
        """Sixteen tokens."""
        return TokenGrid(self.network(pixels), (self.fed.frames, 1, 1))
