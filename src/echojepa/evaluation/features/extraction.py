"""Which clips go through which backbone under which damage, and the features that come back."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from echojepa.config import HarnessConfig
from echojepa.data.clips import ClipDataset, letterbox
from echojepa.evaluation.features.backbones import Contender
from echojepa.evaluation.features.cache import BYTES, FeatureFolder, FeatureKey, check_room, shape_of
from echojepa.evaluation.features.tokens import Features, joined
from echojepa.evaluation.perturbations import PERTURBATIONS
from echojepa.evaluation.progress import Progress
from echojepa.evaluation.protocol.cohort import Cohort
from echojepa.models.contract import InputSpec

Pair = tuple[int, int]
"""Number of the cohort's loop, and of the clip in it."""


@dataclass(frozen=True, order=True)
class Look:
    """How loops are looked at: clips of each, and the damage done to them."""

    clips_per_loop: int
    perturbation: str = ""
    severity: int = 0


class LookedAt(Dataset[tuple[Tensor, int]]):
    """Chosen clips of a data set, in order, damaged or not."""

    def __init__(self, cohort: Cohort, pairs: Sequence[Pair], spec: InputSpec, look: Look, seed: int) -> None:
        loops = sorted({loop for loop, _ in pairs})
        self.cohort, self.look, self.seed = cohort, look, seed
        self.loops = [cohort.loops[number] for number in loops]
        place = {number: n for n, number in enumerate(loops)}
        self.items = [place[loop] * look.clips_per_loop + clip for loop, clip in pairs]
        store = cohort.stores[self.loops[0].store]
        self.by_row = {loop.row: loop["loop_id"] for loop in self.loops}
        damage = self.damage if look.perturbation else None
        self.clips = ClipDataset(
            store, list(self.by_row), spec, clips_per_loop=look.clips_per_loop, damage=damage
        )

    def damage(self, pixels: Tensor, row: int) -> Tensor:
        """The look's damage to a whole stored loop, the same whichever backbone looks."""
        sector = letterbox(self.clips.store.mask(row)[None].astype(np.uint8))[0, 0].bool()
        kind = PERTURBATIONS[self.look.perturbation]
        return kind.apply(pixels, sector, self.look.severity, seed=self.seed, loop_id=self.by_row[row])

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> tuple[Tensor, int]:
        return self.clips[self.items[number]]


class Extraction:
    """Features of a cohort, through the cache."""

    def __init__(self, cohort: Cohort, config: HarnessConfig) -> None:
        self.cohort, self.config = cohort, config
        self.root: Path = config.cache or config.out / "features"
        self.fingerprints = [store.fingerprint() for store in cohort.stores]

    def folder(self, contender: Contender, look: Look, store: int) -> FeatureFolder:
        """The cache's folder for one data set under one look."""
        seed = self.config.seed if look.perturbation else 0
        key = FeatureKey(
            self.fingerprints[store],
            contender.weights,
            asdict(contender.spec) | {"clips_per_loop": look.clips_per_loop},
            look.perturbation,
            look.severity,
            seed,
            self.config.precision,
            self.config.engine,
            self.config.features_as,
        )
        return FeatureFolder(self.root, key)

    def by_store(self, pairs: Iterable[Pair]) -> dict[int, list[Pair]]:
        """Pairs by the number of their data set, sorted."""
        groups: dict[int, list[Pair]] = defaultdict(list)
        for pair in sorted(set(pairs)):
            groups[self.cohort.loops[pair[0]].store].append(pair)
        return groups

    def rows(self, pairs: Sequence[Pair]) -> list[tuple[int, int]]:
        """(row of the data set, clip) of pairs."""
        return [(self.cohort.loops[loop].row, clip) for loop, clip in pairs]

    def missing(
        self, contender: Contender, needs: dict[Look, set[Pair]]
    ) -> list[tuple[FeatureFolder, Look, list[Pair]]]:
        """What has not been through the backbone: folder, look and clips."""
        found = []
        for look, pairs in sorted(needs.items()):
            for store, group in self.by_store(pairs).items():
                folder = self.folder(contender, look, store)
                left = set(folder.missing(self.rows(group)))
                wanted = [pair for pair, clip in zip(group, self.rows(group), strict=True) if clip in left]
                if wanted:
                    found.append((folder, look, wanted))
        return found

    def bytes_needed(self, contender: Contender, needs: dict[Look, set[Pair]]) -> int:
        """Size of the features that are missing."""
        missing = self.missing(contender, needs)
        clips = sum(len(pairs) for _, _, pairs in missing)
        if not clips:
            return 0
        known = next((folder.shape for folder, _, _ in missing if folder.shape), None)
        shape = known or shape_of(contender.make())
        return clips * shape.tokens * shape.width * BYTES[self.config.features_as]

    def fill(self, contender: Contender, needs: dict[Look, set[Pair]], progress: Progress) -> None:
        """Run every missing clip through the backbone once; it is loaded only where one is missing."""
        missing = self.missing(contender, needs)
        if not missing:
            return
        backbone = contender.make()
        total, done = sum(len(pairs) for _, _, pairs in missing), 0
        for folder, look, pairs in missing:
            note = f"clips through {contender.name}" + (
                f", {look.perturbation} {look.severity}" if look.perturbation else ""
            )

            def tell(clips: int, note: str = note) -> None:
                nonlocal done
                done += clips
                progress(done, total, note)

            dataset = LookedAt(self.cohort, pairs, backbone.spec, look, self.config.seed)
            folder.fill(backbone, dataset, self.rows(pairs), self.config.batch_size, tell)

    def features(self, contender: Contender, look: Look, pairs: Iterable[Pair]) -> Features:
        """Features of clips that have been through the backbone."""
        parts = []
        for store, group in self.by_store(pairs).items():
            folder = self.folder(contender, look, store)
            loops = np.array([loop for loop, _ in group], dtype=np.int64)
            parts.append(folder.features(self.rows(group), loops))
        if len(parts) == 1:
            return parts[0]
        return Features(
            joined([part.tokens for part in parts]),
            torch.cat([part.pooled for part in parts]),
            parts[0].grid,
            np.concatenate([part.loops for part in parts]),
            np.concatenate([part.clips for part in parts]),
        )


def check_all_fits(needed: int, config: HarnessConfig) -> None:
    """CacheError when all that is missing, of every backbone, does not fit."""
    check_room(config.cache or config.out / "features", needed, config.cache_gb)
