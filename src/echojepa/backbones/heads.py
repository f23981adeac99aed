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
"""What the heads of released probe files were trained on: pictures whose short side is 256, their centre of
224, and two clips, of every second frame from the start of each half of a video, the last frame repeated
where it ends (evals/video_classification_frozen/utils.py, src/datasets/video_dataset.py and the settings:
frame_step 2, num_segments 2). In training a clip of a long half begins anywhere in it; here at its start."""


@dataclass(frozen=True)
class HeadFile:
    """Where a head lies, and what no tensor of it tells."""

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
