"""Which clips go through which backbone, how they are shown to it, and the features that come back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from echojepa.backbones.contract import Backbone
from echojepa.config import FrozenConfig, InputSpec
from echojepa.data.clips.clips import ClipDataset, letterbox
from echojepa.data.clips.scale import at_scale
from echojepa.evaluation.features.backbones import BackboneFacts, ComparedBackbone
from echojepa.evaluation.features.cache import (
    BYTES,
    FeatureFolder,
    FeatureKey,
    fill,
    shape_of,
    stored_shape,
)
from echojepa.evaluation.features.samples import FeatureSamples, with_features
from echojepa.evaluation.features.tokens import Features, joined
from echojepa.evaluation.perturbations import PERTURBATIONS
from echojepa.evaluation.protocol.cells import CellSamples, Presentation
from echojepa.evaluation.protocol.cohort import Cohort
from echojepa.evaluation.protocol.samples import Address, Chosen
from echojepa.files.records import plain
from echojepa.progress import Progress

Needs = dict[Presentation, set[Address]]
"""Clips by how they are shown."""


class ShownClips(Dataset[tuple[Tensor, int]]):
    """Clips (row, number) of one data set, in order, as a presentation shows them; each with its row."""

    def __init__(
        self,
        cohort: Cohort,
        store: int,
        clips: Sequence[tuple[int, int]],
        spec: InputSpec,
        shown: Presentation,
        seed: int,
    ) -> None:
        self.clips, self.shown, self.seed = clips, shown, seed
        self.ids = {row: cohort.loops[store, row].loop_id for row, _ in clips}
        self.source = ClipDataset(
            cohort.stores[store], list(self.ids), spec, clips_per_loop=shown.clips_per_loop,
            perturb=self.perturb if shown.perturbation else None,
        )  # fmt: skip

    def perturb(self, pixels: Tensor, row: int) -> Tensor:
        """A whole stored loop perturbed, the same for every backbone."""
        sector = letterbox(
            at_scale(self.source.store.loop(row), self.source.spec).mask[None].astype(np.uint8)
        )[0, 0].bool()
        kind = PERTURBATIONS[self.shown.perturbation]
        return kind.apply(pixels, sector, self.shown.severity, seed=self.seed, loop_id=self.ids[row])

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, item: int) -> tuple[Tensor, int]:
        row, number = self.clips[item]
        return self.source.clip(row, number), row


def by_store(addresses: Iterable[Address]) -> dict[int, list[tuple[int, int]]]:
    """Clips (row, number) by their data set, sorted."""
    groups: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for store, row, number in sorted(set(addresses)):
        groups[store].append((row, number))
    return groups


@dataclass(frozen=True)
class CachedFeatures:
    """Where features of one backbone under one presentation lie, for whoever reads them, in any process."""

    root: Path
    keys: tuple[FeatureKey, ...]
    """Of each data set."""

    def features(self, addresses: Iterable[Address]) -> Features:
        """Features of clips that have been through the backbone."""
        parts = [
            FeatureFolder(self.root, self.keys[store]).features(clips, store)
            for store, clips in by_store(addresses).items()
        ]
        return parts[0] if len(parts) == 1 else joined(parts)

    def samples(self, cell: CellSamples, chosen: Chosen) -> FeatureSamples:
        """Some samples of a cell with the features of their clips."""
        samples = cell.samples.select(chosen)
        return with_features(samples, self.features(samples.addresses()), cell.cell.task)


@dataclass(frozen=True)
class MissingClips:
    """Clips of one data set, as one presentation shows them, that have not been through a backbone."""

    extraction: Extraction
    folder: FeatureFolder
    shown: Presentation
    store: int
    clips: list[tuple[int, int]]

    @property
    def perturbed(self) -> str:
        """How they are perturbed, for who watches."""
        return f", {self.shown.perturbation} {self.shown.severity}" if self.shown.perturbation else ""

    def dataset(self) -> ShownClips:
        """The clips, in order."""
        one = self.extraction
        return ShownClips(one.cohort, self.store, self.clips, one.backbone.spec, self.shown, one.config.seed)


class Extraction:
    """Features of a cohort's clips by one backbone, through the cache in the folder `root`."""

    def __init__(self, cohort: Cohort, backbone: ComparedBackbone, config: FrozenConfig, root: Path) -> None:
        self.cohort, self.backbone, self.config, self.root = cohort, backbone, config, root

    def key(self, shown: Presentation, store: int) -> FeatureKey:
        """What the features of one data set under one presentation depend on."""
        config = self.config
        return FeatureKey(
            self.cohort.fingerprints[store],
            self.backbone.weights,
            plain(self.backbone.spec) | {"clips_per_loop": shown.clips_per_loop},
            shown.perturbation,
            shown.severity,
            config.seed if shown.perturbation else 0,
            config.precision,
            config.engine,
            config.features_as,
        )

    def describe(self, shown: Presentation) -> BackboneFacts:
        """What tables say of the backbone, whose features of this presentation are there."""
        stores = range(len(self.cohort.stores))
        shape = next(filter(None, (stored_shape(self.root, self.key(shown, store)) for store in stores)))
        backbone = self.backbone
        return BackboneFacts(
            backbone=backbone.name, weights=backbone.weights[:12], parameters=backbone.parameters,
            tokens=shape.tokens, embed_dim=shape.width,
        )  # fmt: skip

    def missing(self, needs: Needs) -> list[MissingClips]:
        """What has not been through the backbone."""
        found = []
        for shown, addresses in sorted(needs.items(), key=lambda need: need[0]):
            for store, clips in by_store(addresses).items():
                folder = FeatureFolder(self.root, self.key(shown, store))
                left = folder.missing(clips)
                if left:
                    found.append(MissingClips(self, folder, shown, store, left))
        return found

    def bytes_needed(self, needs: Needs) -> int:
        """Size of the features that are missing."""
        missing = self.missing(needs)
        clips = sum(len(one.clips) for one in missing)
        if not clips:
            return 0
        known = next((one.folder.shape for one in missing if one.folder.shape), None)
        shape = known or shape_of(self.backbone.make())
        return clips * shape.tokens * shape.width * BYTES[self.config.features_as]

    def fill(self, needs: Needs, progress: Progress) -> None:
        """Run every missing clip through the backbone once; it is loaded only where one is missing."""
        fill_together([(self, needs)], progress)

    def cached(self, shown: Presentation) -> CachedFeatures:
        """Where features of a presentation lie."""
        keys = tuple(self.key(shown, store) for store in range(len(self.cohort.stores)))
        return CachedFeatures(self.root, keys)

    def features(self, shown: Presentation, addresses: Iterable[Address]) -> Features:
        """Features of clips that have been through the backbone."""
        return self.cached(shown).features(addresses)

    def samples(self, cell: CellSamples, chosen: Chosen, shown: Presentation) -> FeatureSamples:
        """Some samples of a cell with the features of their clips."""
        return self.cached(shown).samples(cell, chosen)


def fill_together(asked: Sequence[tuple[Extraction, Needs]], progress: Progress) -> None:
    """Run every missing clip through the backbones that need it; those that are fed alike share its reading.

    All backbones that miss a clip are in memory at once.
    """
    groups: dict[Any, list[MissingClips]] = defaultdict(list)
    for extraction, needs in asked:
        for one in extraction.missing(needs):
            alike = replace(one.folder.key, weights="").name
            groups[alike, tuple(one.clips)].append(one)
    total, done = sum(len(one.clips) for group in groups.values() for one in group), 0
    networks: dict[str, Backbone] = {}

    def tell(clips: int) -> None:
        nonlocal done
        done += clips
        progress(done, total, note)

    for group in groups.values():
        first = group[0]
        names = [one.extraction.backbone.name for one in group]
        note = f"clips through {' and '.join(dict.fromkeys(names))}{first.perturbed}"
        for one in group:
            if one.extraction.backbone.weights not in networks:
                networks[one.extraction.backbone.weights] = one.extraction.backbone.make()
        readers = [(one.folder, networks[one.extraction.backbone.weights]) for one in group]
        fill(readers, first.dataset(), first.clips, first.extraction.config.batch_size, tell)
