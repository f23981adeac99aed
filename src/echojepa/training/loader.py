"""What a step is fed: clips and masks, functions of (config, branch, step), read ahead by other processes."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from echojepa.config import ConfigError, PretrainConfig
from echojepa.data.clips.clips import AUGMENTATIONS, ClipDataset
from echojepa.data.clips.pictures import UNREADABLE, Pictures, bytes_needed, keep_pictures, side_of
from echojepa.data.store.loop_store import LoopStore
from echojepa.models.building import generator_for
from echojepa.models.masking import Mask, inside_sector, sample_mask, touches_sector
from echojepa.processes.ahead import read_ahead
from echojepa.randomness import derive_seed
from echojepa.training.distributed import World
from echojepa.training.labels import RowLabels

OWN_PICTURES = "pictures"
"""Where a run keeps its decoded pictures until it ends, if no other folder is named."""
WORTH_KEEPING = 4
"""Clips of a loop from which on it pays to decode all its frames: it has some four times a clip's."""


@dataclass(frozen=True)
class Batch:
    """A rank's share of a step."""

    clips: Tensor
    """(B, 3, T, H, W) uint8: those that could be read."""
    masks: list[Mask]
    """Of each mask type, for these clips."""
    planned: int
    """Clips that this share should have had."""
    damaged: tuple[tuple[int, str], ...] = ()
    """Rows of the store that could not be read, and the kind of error."""
    labels: Tensor | None = None
    """(B, columns) of these clips, for objectives that learn from them alone."""

    def pin_memory(self) -> Batch:
        """The same in memory that a GPU copies from while it computes."""
        labels = None if self.labels is None else self.labels.pin_memory()
        return replace(self, clips=self.clips.pin_memory(), labels=labels)

    def to(self, device: torch.device) -> Batch:
        """The same on a device."""
        clips = self.clips.to(device, non_blocking=True)
        labels = None if self.labels is None else self.labels.to(device, non_blocking=True)
        return replace(self, clips=clips, masks=[mask.to(device) for mask in self.masks], labels=labels)

    def part(self, start: int, stop: int) -> Batch:
        """Some of its clips."""
        masks = [mask.rows(slice(start, stop)) for mask in self.masks]
        labels = None if self.labels is None else self.labels[start:stop]
        return replace(self, clips=self.clips[start:stop], masks=masks, labels=labels)


class Steps(Dataset[Batch]):
    """The batches of a run: item k is this rank's share of step k. Picklable; opens the store in place."""

    def __init__(
        self,
        store: LoopStore,
        rows: NDArray[np.int64],
        config: PretrainConfig,
        world: World,
        branch: int = 0,
        pictures: Pictures | None = None,
        labels: RowLabels | None = None,
    ) -> None:
        """`labels` are those of `rows`, in their order; after each rollback, a `branch`, draws are others."""
        self.seed = derive_seed(config.seed, "branch", branch) if branch else config.seed
        self.labels, augment = labels, AUGMENTATIONS[config.augment]
        self.clips = ClipDataset(store, rows, config.spec, augment=augment, seed=self.seed, pictures=pictures)
        self.config, self.grid = config, config.architecture.grid(config.spec)
        self.share = world.share(config.batch_size)
        self.epoch, self.order = -1, torch.empty(0)

    def keys(self, step: int) -> list[tuple[int, int]]:
        """(epoch, loop) of each clip of a whole step: each epoch visits every loop once, in its own order."""
        found = []
        for position in range(step * self.config.batch_size, (step + 1) * self.config.batch_size):
            epoch, place = divmod(position, len(self.clips))
            if epoch != self.epoch:
                draws = generator_for(self.seed, "order", epoch)
                self.order, self.epoch = torch.randperm(len(self.clips), generator=draws), epoch
            found.append((epoch, int(self.order[place])))
        return found

    def masks(self, step: int) -> list[Mask]:
        """Each mask type of a whole step: all ranks' masks have the same number of tokens."""
        draws = generator_for(self.seed, "mask", step)
        return [sample_mask(mask, self.grid, self.config.batch_size, draws) for mask in self.config.masks]

    def told(self, step: int, places: list[int]) -> Tensor | None:
        """Labels of the clips at these places of a whole step, where the objective learns from them."""
        if self.labels is None:
            return None
        loops = [loop for _, loop in self.keys(step)]
        return self.labels.of(loops, generator_for(self.seed, "labels", step))[places]

    def __getitem__(self, step: int) -> Batch:
        clips, kept, damaged = [], [], []
        wanted = self.keys(step)[self.share]
        for place, key in enumerate(wanted):
            try:
                clips.append(self.clips[key][0])
                kept.append(self.share.start + place)
            except UNREADABLE as error:
                damaged.append((int(self.clips.rows[key[1]]), type(error).__name__))
        masks = [mask.rows(torch.tensor(kept, dtype=torch.long)) for mask in self.masks(step)]
        stacked = torch.stack(clips) if clips else torch.empty(0, dtype=torch.uint8)
        if self.config.targets == "sector" and clips:
            inside, draws = touches_sector(stacked, self.grid), generator_for(self.seed, "sector", step)
            masks = [inside_sector(mask, inside, draws) for mask in masks]
        return Batch(stacked, masks, len(wanted), tuple(damaged), self.told(step, kept))


def load_steps(steps: Steps, start: int, stop: int) -> DataLoader[Batch]:
    """The batches of steps `start` to `stop`, in order, read ahead by the config's workers."""
    return read_ahead(steps, steps.config.workers, batch_size=None, sampler=range(start, stop))


def run_pictures(
    store: LoopStore, rows: NDArray[np.int64], config: PretrainConfig, world: World, clips: int
) -> Pictures | None:
    """The decoded pictures that a run of so many clips reads, made by its first process; None where it
    decodes as it goes: where no folder is named and keeping them does not pay or does not fit."""
    folder, reduced = config.pictures or config.out / OWN_PICTURES, config.augment == "shift"
    if config.pictures is None and (
        clips < WORTH_KEEPING * len(rows)
        or bytes_needed(store, rows, side_of(config.spec, reduced)) > 1e9 * config.pictures_gb
    ):
        return None
    if not world.first:
        world.barrier()  # until the first process has made them
    found = keep_pictures(store, rows, config.spec, folder, reduced=reduced, limit_gb=config.pictures_gb)
    if world.first:
        world.barrier()
    return found


def check_share(config: PretrainConfig, world: World) -> None:
    """ConfigError unless the batch can be dealt to the ranks, and none needs to know the others' clips."""
    asked = {
        "latent.centred": config.latent.centred,
        "latent.scaled": config.latent.scaled,
        "targets": config.targets != "all",
        "objective contrastive": config.objective == "contrastive",
    }
    alone = [name for name, there in asked.items() if there]
    if alone and world.ranks > 1:
        raise ConfigError(
            f"{' and '.join(alone)} need all clips of a step in one process, and there are {world.ranks}; "
            "start one process, or leave it out"
        )
    if config.batch_size % world.ranks:
        raise ConfigError(
            f"batch_size {config.batch_size} must be a multiple of the {world.ranks} processes; change "
            "one of them"
        )
