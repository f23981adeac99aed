"""What a grid of heads costs beside one, the frozen pass included, and what a second run costs.

    python benchmarks/probing.py                      # ViT-L, 16 frames of 224 px, 8 clips, 20 epochs
    python benchmarks/probing.py --size base --clips 32

Random clips, random weights: the cost does not depend on either. Times are CPU seconds of this process, all
threads together, so that a busy machine does not change the ratio. The pass and the heads' training both grow
with the number of clips, so their ratio does not depend on it.
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
from echojepa.config import HarnessConfig
from echojepa.evaluation.cache import FeatureFolder, FeatureKey, weights_digest
from echojepa.evaluation.features import Features
from echojepa.evaluation.plans import PROBES
from echojepa.evaluation.probing import fit_probe
from echojepa.evaluation.samples import Labelled
from echojepa.models.contract import InputSpec
from echojepa.models.vit import Architecture, VisionTransformer
from echojepa.tasks import LVEF

HEADS = 12
"""Four learning rates times three weight decays."""


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
        folder.fill(backbone, RandomClips(count, backbone.spec), clips, 4, lambda done: None)
    return folder.features(clips, np.arange(count)), len(missing)


def labelled(features: Features) -> Labelled:
    """Noise as labels; every fourth clip chooses the head."""
    count = len(features.tokens)
    names = np.array([f"p{number}" for number in range(count)])
    splits = np.array(["val" if number % 4 == 3 else "train" for number in range(count)])
    truth = 55 + 10 * torch.randn(count, generator=torch.Generator().manual_seed(0))
    return Labelled(
        features, torch.arange(count)[:, None], truth, names, names, splits, np.full(count, "here"), ()
    )


def seconds(work: object) -> float:
    """CPU seconds of a call."""
    before = time.process_time()
    assert callable(work)
    work()
    return time.process_time() - before


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", default="large")
    parser.add_argument("--clips", type=int, default=8)
    parser.add_argument("--epochs", type=int, default=20)
    options = parser.parse_args()
    spec = InputSpec()
    encoder = VisionTransformer(Architecture(options.size), spec, torch.Generator().manual_seed(0))
    backbone = VideoTransformer(f"random {options.size}", encoder, spec)
    base = HarnessConfig(data=(Path(),), out=Path(), backbones=("",), epochs=options.epochs)
    one = replace(base, learning_rates=(1e-3,), weight_decays=(0.01,))
    many = replace(base, learning_rates=(1e-4, 3e-4, 1e-3, 3e-3), weight_decays=(0.01, 0.1, 0.4))
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        frozen = seconds(lambda: features_of(backbone, options.clips, root))
        before = time.process_time()
        features, passes = features_of(backbone, options.clips, root)
        again = time.process_time() - before
        data = labelled(features)
        single = seconds(lambda: fit_probe(data, LVEF, PROBES["attentive"], one, 0))
        grid = seconds(lambda: fit_probe(data, LVEF, PROBES["attentive"], many, 0))
    ratio = (frozen + grid) / (frozen + single)
    print(
        f"{options.size}, {options.clips} clips, {options.epochs} epochs, {torch.get_num_threads()} threads"
    )
    print(f"frozen pass: {frozen:.1f} CPU s, {frozen / options.clips:.2f} a clip")
    print(f"1 head: {single:.1f} CPU s; {HEADS} heads: {grid:.1f} CPU s")
    print(f"pass and {HEADS} heads over pass and 1 head: {ratio:.2f}")
    print(f"second run: {passes} clips through the encoder, {again:.2f} CPU s")


if __name__ == "__main__":
    main()
