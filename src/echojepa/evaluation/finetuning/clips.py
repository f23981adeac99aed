"""What an encoder that is trained is fed: clips of samples, random ones, or evenly spaced to be tested."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor
from torch.utils.data import Dataset

from echojepa.config import InputSpec, TuningConfig
from echojepa.data.clips.clips import Augment, ClipDataset
from echojepa.evaluation.protocol.cells import CellSamples
from echojepa.evaluation.protocol.cohort import Cohort
from echojepa.models.probe import Probes
from echojepa.processes.ahead import read_ahead

Key = tuple[int, int]
"""Epoch of a random clip, or EVEN, and number of the sample."""
EVEN = -1
"""In place of an epoch: evenly spaced clips of whole images, as frozen backbones see them."""
Encode = Callable[[Tensor], Tensor]
"""uint8 clips (m, 3, T, H, W) to tokens (m, N, D)."""


class SampleClips(Dataset[Tensor]):
    """Clips of samples: item (epoch, i) is uint8 (S, 3, T, size, size), black where a slot is absent."""

    def __init__(self, cohort: Cohort, cell: CellSamples, spec: InputSpec, crop: float, seed: int) -> None:
        """`crop` is the least share of the image that random clips keep; 1 leaves them whole."""
        self.clips, self.spec = cell.samples.clips, spec
        augment = Augment(scale=(crop, 1.0)) if crop < 1 else None
        each = cell.presentation.clips_per_loop
        self.sources = [
            ClipDataset(store, (), spec, augment=augment, seed=seed, clips_per_loop=each)
            for store in cohort.stores
        ]

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, key: Key) -> Tensor:
        (epoch, sample), spec, slots = key, self.spec, self.clips.shape[1]
        found = torch.zeros(slots, 3, spec.frames, spec.size, spec.size, dtype=torch.uint8)
        for slot, (store, row, number) in enumerate(self.clips[sample].tolist()):
            if store >= 0 and epoch == EVEN:
                found[slot] = self.sources[store].clip(row, number)
            elif store >= 0:
                found[slot] = self.sources[store].random_clip(row, epoch, sample * slots + slot)
        return found

    def batches(
        self, epoch: int, parts: Iterable[Tensor], workers: int
    ) -> Iterable[tuple[Tensor, Tensor, Tensor]]:
        """Samples (B,) of each part, their clips (B, S, 3, T, H, W), and which are present (B, S)."""
        parts = list(parts)
        batches = [[(epoch, sample) for sample in part.tolist()] for part in parts]
        loader = read_ahead(self, workers, batch_sampler=batches)
        for part, clips in zip(parts, loader, strict=True):
            yield part, clips, torch.from_numpy(self.clips[part.numpy(), :, 0] >= 0)


def encoded(encode: Encode, clips: Tensor, present: Tensor) -> Tensor:
    """Tokens (B, S, N, D) of clips (B, S, 3, T, H, W), zero where not present (B, S)."""
    tokens = encode(clips[present])
    blank = tokens.new_zeros(*present.shape, *tokens.shape[1:])
    return blank.index_put((present.to(tokens.device),), tokens)


@torch.no_grad()
def outputs_of(
    encode: Encode, head: Probes, dataset: SampleClips, samples: Tensor, config: TuningConfig
) -> Tensor:
    """The head's outputs (n, outputs) for samples (n,), in clinical units, or logits; on the CPU."""
    made = []
    for _, clips, present in dataset.batches(EVEN, samples.split(config.batch_size), config.workers):
        tokens = encoded(encode, clips, present).to(head.target.device)
        made.append(head.predict(tokens, None if present.all() else present.to(tokens.device))[0].cpu())
    return torch.cat(made)
