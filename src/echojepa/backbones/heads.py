"""A JSON file that says which heads belong to weights of others, loaded as a backbone of its own:

    {"weights": "echo_prime_encoder.pt", "heads": {"lvef": {"file": "ridge.safetensors", "unit": "%"}}}

Paths are from the folder of the JSON file. `evaluation.probes.own` reads the heads.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from echojepa.config import InputSpec
from echojepa.files.records import LATER, read_record

SUFFIX = ".json"
OFFICIAL = InputSpec(
    size=224, frames=16, seconds=None, stride=2, resized=256, interpolation="linear", clips="halves"
)
"""The input of released probe files' heads. Images have a short side of 256, of which the centre of 224 is
used. Each half of a video gives a clip of every second frame from its start; at the end, the last frame is
repeated (evals/video_classification_frozen/utils.py, src/datasets/video_dataset.py; settings frame_step 2,
num_segments 2). In training, a clip of a long half begins anywhere in it; here, at its start."""


@dataclass(frozen=True)
class HeadFile:
    """Place of a head, and facts that its tensors do not show."""

    file: str
    """Safetensors with `weight` (1, E) and `bias` (1,) on a clip's vector, or a released probe file."""
    unit: str
    """Of its values."""
    mean: float = field(default=0.0, metadata=LATER)
    """Of the targets that it was trained on, where these were z-scored."""
    std: float = field(default=1.0, metadata=LATER)
    """Their standard deviation."""


@dataclass(frozen=True)
class WeightsWithHeads:
    """The content of the file."""

    weights: str
    """Path of the weights."""
    heads: dict[str, HeadFile]
    """By the label of the task."""
    official: bool = field(default=False, metadata=LATER)
    """Whether the encoder is fed as those under released probes are, in place of what its weights say."""


def read_heads(path: Path) -> WeightsWithHeads:
    """The record of a file; ConfigError where it is none."""
    return read_record(WeightsWithHeads, path)
