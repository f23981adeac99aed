"""What a grid of heads costs beside one, the frozen pass included, and what a second run costs.

    python benchmarks/probing.py                      # ViT-L, 16 frames of 224 px
    python benchmarks/probing.py --size base

Random clips, random weights: the cost does not depend on either. Times are CPU seconds of this process, all
threads together, so that a busy machine does not change their ratio. The pass is measured on a few clips and
the heads on 32 training and 11 validation clips, a step an epoch, for a few epochs; both are then taken for
all 43 clips and the default 30 epochs, in which they are linear.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from echojepa.backbones.contract import Backbone
from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import Architecture, FrozenConfig, InputSpec
from echojepa.evaluation.features.cache import FeatureFolder, FeatureKey, fill, weights_digest
from echojepa.evaluation.features.samples import FeatureSamples
from echojepa.evaluation.features.tokens import Features, Tokens
from echojepa.evaluation.probes.fitting import fit_probe
from echojepa.evaluation.protocol.plans import PROBES
from echojepa.models.vit import VisionTransformer
from echojepa.tasks import LVEF

HEADS = 12
"""Four learning rates times three weight decays."""
CLIPS, EPOCHS = 43, 30


class RandomClips(Dataset[tuple[Tensor, int]]):
    """Noise, a function of its number."""

    def __init__(self, count: int, spec: InputSpec) -> None:
        self.count, self.spec = count, spec

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        shape = (3, self.spec.frames, self.spec.size, self.spec.size)
        generator = torch.Generator().manual_seed(number)
        return torch.randint(0, 256, shape, generator=generator, dtype=torch.uint8), number


def features_of(backbone: Backbone, count: int, root: Path) -> tuple[Features, int]:
    """Features through the cache, and how many clips went through the backbone for them."""
    key = FeatureKey("random", weights_digest(backbone), {}, "", 0, 0, "float32", "torch", "float16")
    folder = FeatureFolder(root, key)
    clips = [(number, 0) for number in range(count)]
    missing = folder.missing(clips)
    if missing:
        fill([(folder, backbone)], RandomClips(count, backbone.spec), clips, 4, lambda done: None)
    return folder.features(clips, 0), len(missing)


def labelled(features: Features) -> FeatureSamples:
    """Noise as labels; the last clips choose the head."""
    count = len(features.tokens)
    names = np.array([f"p{number}" for number in range(count)])
    splits = np.array(["train" if number < 32 else "val" for number in range(count)])
    truth = 55 + 10 * torch.randn(count, generator=torch.Generator().manual_seed(0))
    return FeatureSamples(
        items=names, patients=names, splits=splits, sites=np.full(count, "here"),
        truth=truth.double().numpy(), classes=(), features=features, places=np.arange(count)[:, None],
    )  # fmt: skip


def seconds(work: object) -> float:
    """CPU seconds of a call."""
    before = time.process_time()
    assert callable(work)
    work()
    return time.process_time() - before


def random_features(grid: tuple[int, int, int], width: int, count: int) -> Features:
    """Tokens of the shape of an encoder's, for the heads alone."""
    generator = torch.Generator().manual_seed(1)
    tokens = torch.randn(count, int(np.prod(grid)), width, generator=generator).half()
    clips = np.stack([np.zeros(count, int), np.arange(count), np.zeros(count, int)], axis=1)
    return Features(Tokens.of(tokens), tokens[:, 0].float(), grid, clips)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="large")
    parser.add_argument("--clips", type=int, default=2, help="clips that go through the encoder")
    parser.add_argument("--epochs", type=int, default=4, help="epochs that are measured")
    options = parser.parse_args()
    spec = InputSpec()
    encoder = VisionTransformer(Architecture(options.size), spec, torch.Generator().manual_seed(0))
    backbone = VideoTransformer(f"random {options.size}", encoder, spec)
    base = FrozenConfig(epochs=options.epochs, min_steps=1)
    one = replace(base, learning_rates=(1e-3,), weight_decays=(0.01,))
    many = replace(base, learning_rates=(1e-4, 3e-4, 1e-3, 3e-3), weight_decays=(0.01, 0.1, 0.4))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        frozen = seconds(lambda: features_of(backbone, options.clips, root)) / options.clips
        before = time.process_time()
        _, passes = features_of(backbone, options.clips, root)
        again = time.process_time() - before
    data = labelled(random_features(encoder.grid, encoder.width, CLIPS))
    times = EPOCHS / options.epochs
    single = times * seconds(lambda: fit_probe(data, LVEF, PROBES["attentive"], one, 0))
    grid = times * seconds(lambda: fit_probe(data, LVEF, PROBES["attentive"], many, 0))
    ratio = (CLIPS * frozen + grid) / (CLIPS * frozen + single)
    print(f"{options.size}, {CLIPS} clips, {EPOCHS} epochs, {torch.get_num_threads()} threads")
    print(f"frozen pass: {CLIPS * frozen:.0f} CPU s, {frozen:.2f} a clip")
    print(f"1 head: {single:.1f} CPU s; {HEADS} heads: {grid:.1f} CPU s")
    print(f"pass and {HEADS} heads over pass and 1 head: {ratio:.2f}")
    print(f"second run: {passes} clips through the encoder, {again:.2f} CPU s")


if __name__ == "__main__":
    main()
