"""From features and labels to what a probe is trained on: a sample a clip, or a study of several views."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import torch
from numpy.typing import NDArray
from torch import Tensor

from echojepa.data.studies import ViewSlot, choose_slots
from echojepa.errors import UserError
from echojepa.evaluation.features.tokens import Features
from echojepa.evaluation.protocol.cohort import Cohort, share_of_patients
from echojepa.evaluation.protocol.plans import EVERYWHERE
from echojepa.tasks import Task
from echojepa.vocabulary import Split


@dataclass(frozen=True)
class Wanted:
    """What a task asks of a cohort: samples, each made of clips; no feature is known yet."""

    clips: NDArray[np.int64]
    """(n, S, 2): number of the cohort's loop and of the clip in it, for every slot; -1 where absent."""
    truth: NDArray[np.float64]
    """(n,) values, or numbers of classes."""
    items: NDArray[np.str_]
    """What predictions are averaged to: study ids or loop ids."""
    patients: NDArray[np.str_]
    splits: NDArray[np.str_]
    sites: NDArray[np.str_]
    classes: tuple[str, ...]
    """Class names; empty for regression."""
    children: str = ""
    """The paediatric site, which "all sites" does not mean; empty for none."""

    def at(self, site: str) -> NDArray[np.bool_]:
        """Which samples (n,) are of a site; for EVERYWHERE, of any but the children's."""
        return np.asarray(self.sites != self.children if site == EVERYWHERE else self.sites == site)

    def of(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Wanted:
        """Some of the samples."""
        return Wanted(
            self.clips[chosen], self.truth[chosen], self.items[chosen], self.patients[chosen],
            self.splits[chosen], self.sites[chosen], self.classes, self.children,
        )  # fmt: skip

    def pairs(self) -> list[tuple[int, int]]:
        """Every (loop, clip) once, in order."""
        flat = self.clips.reshape(-1, 2)
        return sorted({(int(loop), int(clip)) for loop, clip in flat if loop >= 0})


@dataclass(frozen=True)
class Labelled:
    """Samples of one task with their features; all fields but `features` have one entry a sample."""

    features: Features
    clips: Tensor
    """(n, S) place among the features of each slot's clip; -1 where absent."""
    truth: Tensor
    """(n,) float values, or long class numbers."""
    items: NDArray[np.str_]
    patients: NDArray[np.str_]
    splits: NDArray[np.str_]
    sites: NDArray[np.str_]
    classes: tuple[str, ...]
    views: int = 1
    """Views among the slots; S = views * clips of a view."""

    def within(self, split: Split) -> Tensor:
        """Indices of the samples of a split."""
        return torch.from_numpy(np.flatnonzero(self.splits == split))

    def tokens(self, chosen: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens (m, S, N, D) of samples, zero where a slot is absent, and which are present (m, S)."""
        places = self.clips[chosen]
        present = places >= 0
        tokens = self.features.tokens[places.clamp_min(0).flatten()].unflatten(0, places.shape)
        return tokens * present[..., None, None], present

    def of(self, chosen: NDArray[np.bool_] | NDArray[np.int64]) -> Labelled:
        """Some of the samples, with all features."""
        index = torch.from_numpy(np.flatnonzero(chosen) if chosen.dtype == bool else chosen)
        names = ("items", "patients", "splits", "sites")
        arrays = {name: getattr(self, name)[index.numpy()] for name in names}
        return replace(self, clips=self.clips[index], truth=self.truth[index], **arrays)

    def shown(self, views: Sequence[int]) -> Labelled:
        """With these views alone; samples that have none of them are left out. No views means all."""
        if not views:
            return self
        clips = self.clips.unflatten(1, (self.views, -1)).clone()
        hidden = [view for view in range(self.views) if view not in views]
        clips[:, hidden] = -1
        flat = clips.flatten(1)
        return replace(self, clips=flat).of((flat >= 0).any(1).numpy())

    def separate(self) -> Labelled:
        """Every present clip as a sample of its own, predictions to be averaged to the same items."""
        owner, slot = (self.clips >= 0).nonzero(as_tuple=True)
        alone = self.of(owner.numpy())
        return replace(alone, clips=self.clips[owner, slot].unsqueeze(1), views=1)


def want(cohort: Cohort, task: Task, clips_per_loop: int, children: str = "") -> Wanted:
    """The samples of a task; `children` names the paediatric site.

    UserError where a split has no labelled patient, and as `Cohort.value`.
    """
    numbers, clips, owners = (
        study_samples(cohort, task) if task.slots else loop_samples(cohort, task, clips_per_loop)
    )
    loops = [cohort.loops[number] for number in owners]
    truth, classes = truth_of(cohort, task, owners)
    level = "study_id" if task.level == "study" else "loop_id"
    items, patients, splits, sites = (
        np.array([loop[name] for loop in loops], dtype=str) for name in (level, "patient_id", "split", "site")
    )
    places = np.stack([numbers, clips], axis=-1)
    wanted = Wanted(places, truth, items, patients, splits, sites, classes, children)
    for split in Split:
        if not (wanted.splits == split).any():
            raise UserError(
                f"task {task.name}: no labelled loops of {split} patients; ingest more, or their labels"
            )
    return wanted


def loop_samples(
    cohort: Cohort, task: Task, clips_per_loop: int
) -> tuple[NDArray[np.int64], NDArray[np.int64], list[int]]:
    """One sample a clip: loops (n, 1), clips (n, 1), and the loop whose label it has."""
    usable = [number for number, loop in enumerate(cohort.loops) if cohort.has(loop, task)]
    loops = np.repeat(np.array(usable, dtype=np.int64), clips_per_loop)
    clips = np.tile(np.arange(clips_per_loop), len(usable))
    return loops[:, None], clips[:, None], loops.tolist()


def study_samples(cohort: Cohort, task: Task) -> tuple[NDArray[np.int64], NDArray[np.int64], list[int]]:
    """One sample a labelled study, slots filled by `data.studies`: loops (n, S), clips (n, S), loops (n,)."""
    slots = [ViewSlot(view, colour) for view, colour in task.slots]
    found, owners = [], []
    for number, store in enumerate(cohort.stores):
        of_row = {loop.row: place for place, loop in enumerate(cohort.loops) if loop.store == number}
        table: pa.Table = store.metadata(["study_id", "view", "colour", "kind"])
        chosen = choose_slots(table, slots, task.clips)
        for rows in chosen.rows:
            loops = np.array([of_row.get(int(row), -1) for row in rows.flat], dtype=np.int64)
            owner = int(loops.max())
            if owner >= 0 and (cohort.loops[owner]["study_id"], task.label) in cohort.labels:
                found.append(loops)
                owners.append(owner)
    loops = np.array(found, dtype=np.int64).reshape(-1, len(slots) * task.clips)
    clips = np.tile(np.arange(task.clips), len(slots))
    return loops, np.where(loops >= 0, clips, -1), owners


def truth_of(
    cohort: Cohort, task: Task, owners: Sequence[int]
) -> tuple[NDArray[np.float64], tuple[str, ...]]:
    """Labels as they stand in the table, or numbers of classes, and the classes' names in their order.

    UserError for a binary task without exactly two classes.
    """
    loops = [cohort.loops[number] for number in owners]
    if task.label == "view":
        names = [loop["view"] for loop in loops]
        classes = tuple(sorted(set(names)))
        return np.array([classes.index(name) for name in names], dtype=float), classes
    values = np.array([cohort.value(loop, task) for loop in loops], dtype=np.float64)
    if not task.classes:
        return values, ()
    levels, numbers = np.unique(values, return_inverse=True)
    if task.kind == "binary" and len(levels) != 2:
        raise UserError(f"task {task.name} is binary; its label has the values {levels[:5].tolist()}")
    return numbers.astype(float), tuple(f"{level:g}" for level in levels)


def attach(wanted: Wanted, features: Features, task: Task) -> Labelled:
    """Samples with their features; those of which a clip has no features are left out."""
    places = features.places()
    index = np.array(
        [
            [places.get((loop, clip), -2 if loop >= 0 else -1) for loop, clip in sample]
            for sample in wanted.clips.tolist()
        ],
        dtype=np.int64,
    ).reshape(wanted.clips.shape[:2])
    there = np.all(index > -2, axis=1)
    kept = wanted.of(there)
    truth = torch.from_numpy(kept.truth)
    return Labelled(
        features, torch.from_numpy(index[there]), truth.long() if task.classes else truth.float(), kept.items,
        kept.patients, kept.splits, kept.sites, kept.classes, max(1, len(task.slots)),
    )  # fmt: skip


def training_samples(wanted: Wanted, task: Task, site: str, fraction: float, seed: int) -> NDArray[np.bool_]:
    """Which samples train and choose a probe: of a site's patients, or all, a share of train and of val each.

    Regression is stratified by fifths of the label, classes by class. Test samples never are among them.
    """
    strata = wanted.truth.astype(str)
    if not task.classes:
        edges = np.quantile(wanted.truth, [0.2, 0.4, 0.6, 0.8])
        strata = np.digitize(wanted.truth, edges).astype(str)
    chosen = np.zeros(len(wanted.truth), dtype=bool)
    for split in (Split.TRAIN, Split.VAL):
        mine: NDArray[np.bool_] = np.asarray((wanted.splits == split) & wanted.at(site))
        if not mine.any():
            where = f"site '{site}'" if site else "the data, without the children's site,"
            raise UserError(f"task {task.name}: {where} has no labelled {split} patients; ingest more")
        names = share_of_patients(wanted.patients[mine], strata[mine], fraction, seed)
        chosen |= mine & np.isin(wanted.patients, sorted(names))
    return chosen
