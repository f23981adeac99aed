"""Claims about the cache of features: whoever fills it, a clip has its own features."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from echojepa.backbones.contract import Backbone, TokenGrid
from echojepa.config import InputSpec
from echojepa.evaluation.features.cache import SHARD, FeatureFolder, FeatureKey

SPEC = InputSpec(size=16, frames=2, mean=(0.0, 0.0, 0.0), std=(1.0, 1.0, 1.0))
KEY = FeatureKey("data", "weights", {}, "", 0, 0, "float32", "torch", "float32")


class Brightness(Backbone):
    """The mean pixel of each half of a clip."""

    def __init__(self) -> None:
        super().__init__("brightness", nn.Identity(), SPEC, 1)

    def features(self, pixels: Tensor) -> TokenGrid:
        return TokenGrid(pixels.mean((1, 3, 4))[..., None], (2, 1, 1))


class Rows(Dataset[tuple[Tensor, int]]):
    """Clips as bright as their row's number."""

    def __init__(self, clips: list[tuple[int, int]]) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return torch.full((3, 2, 16, 16), self.clips[number][0], dtype=torch.uint8), number


def fill(folder: FeatureFolder, rows: range, meanwhile: Callable[[int], None]) -> None:
    clips = [(row, 0) for row in rows]
    folder.fill(Brightness(), Rows(clips), clips, 8, meanwhile)


def test_evaluations_that_fill_one_folder_at_once_do_not_mix_their_clips(tmp_path: Path) -> None:
    others = [FeatureFolder(tmp_path, KEY)]

    def meanwhile(done: int) -> None:
        if others:  # once: a second evaluation comes and goes before the first has written its first shard
            fill(others.pop(), range(40, 40 + SHARD + 20), lambda done: None)

    fill(FeatureFolder(tmp_path, KEY), range(SHARD + 10), meanwhile)
    rows = range(40 + SHARD + 20)
    found = FeatureFolder(tmp_path, KEY)
    assert not found.missing([(row, 0) for row in rows])
    features = found.features([(row, 0) for row in rows], 0)
    tokens, expected = features.tokens[torch.arange(len(rows))], torch.arange(len(rows)) / 255
    torch.testing.assert_close(tokens, expected[:, None, None].expand(-1, 2, 1))
    torch.testing.assert_close(features.pooled, expected[:, None])
