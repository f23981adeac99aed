"""Claims about the cache of features: whoever fills it, a clip has its own features."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

from echojepa.backbones.contract import Backbone, TokenGrid
from echojepa.config import InputSpec
from echojepa.evaluation.features import cache
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
    cache.fill([(folder, Brightness())], Rows(clips), clips, 8, meanwhile)


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


def zeroed(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-40:-8] = bytes(32)
    file.write_bytes(content)


DAMAGE: dict[str, tuple[str, Callable[[Path], None]]] = {
    "zeros inside a shard": ("*.tokens.npy", zeroed),
    "a cut shard": ("*.tokens.npy", lambda file: os.truncate(file, file.stat().st_size // 2)),
    "an empty shard": ("*.tokens.npy", lambda file: os.truncate(file, 0)),
    "a deleted shard": ("*.tokens.npy", Path.unlink),
    "another shard": ("*.tokens.npy", lambda file: np.save(file, np.zeros((3, 2, 1), dtype=np.float32))),
    "a cut index": ("*.index.npz", lambda file: os.truncate(file, file.stat().st_size // 2)),
    "zeros in an index": ("*.index.npz", lambda file: file.write_bytes(bytes(file.stat().st_size))),
    "a deleted index": ("*.index.npz", Path.unlink),
    "a cut facts file": ("facts.json", lambda file: os.truncate(file, 30)),
    "deleted facts": ("facts.json", Path.unlink),
    "edited facts": ("facts.json", lambda file: file.write_text('{"grid": [1], "width": "wide"}')),
}


@pytest.mark.parametrize("kind", DAMAGE)
def test_what_is_damaged_is_made_again_with_a_sentence_and_gives_the_same(kind: str, tmp_path: Path) -> None:
    fill(FeatureFolder(tmp_path, KEY), range(SHARD + 10), lambda done: None)
    clips = [(row, 0) for row in range(SHARD + 10)]
    pattern, spoil = DAMAGE[kind]
    spoil(sorted(tmp_path.rglob(pattern))[0])
    quiet = "deleted" in kind and pattern == "*.index.npz"
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        found = FeatureFolder(tmp_path, KEY)
    assert quiet or any("made again" in str(one.message) for one in said)
    lost = found.missing(clips)
    assert 0 < len(lost) <= len(clips)
    cache.fill([(found, Brightness())], Rows(lost), lost, 8, lambda done: None)
    again = FeatureFolder(tmp_path, KEY)
    assert not again.missing(clips)
    features = again.features(clips, 0)
    expected = torch.arange(len(clips)) / 255
    tokens = features.tokens[torch.arange(len(clips))]
    torch.testing.assert_close(tokens, expected[:, None, None].expand(-1, 2, 1))
    torch.testing.assert_close(features.pooled, expected[:, None])


def test_features_of_before_checksums_are_read(tmp_path: Path) -> None:
    fill(FeatureFolder(tmp_path, KEY), range(5), lambda done: None)
    for index in tmp_path.rglob("*.index.npz"):
        with np.load(index) as table:
            old = {name: table[name] for name in ("rows", "clips", "pooled")}
        with index.open("wb") as out:
            np.savez(out, **old)
    assert not FeatureFolder(tmp_path, KEY).missing([(row, 0) for row in range(5)])
