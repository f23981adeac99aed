"""Probes of cells trained on frozen features: in this process, or on several at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from echojepa.config import FrozenConfig
from echojepa.errors import UserError
from echojepa.evaluation.features.backbones import BackboneFacts
from echojepa.evaluation.features.extraction import CachedFeatures
from echojepa.evaluation.probes.fitting import fit_probe
from echojepa.evaluation.probes.own import own_head, read_own
from echojepa.evaluation.probes.stored import StoredProbe
from echojepa.evaluation.protocol.cells import CellSamples
from echojepa.evaluation.protocol.plans import OWN_HEAD
from echojepa.processes.workers import Died, Limits, run_in_order
from echojepa.progress import Progress

LIMITS = Limits(cpu_seconds=1e7, memory=1 << 42)
"""None, in effect: a probe takes what it takes."""


@dataclass(frozen=True)
class ProbeJob:
    """All that training a probe needs. Features stay on the disk, so that another process can be given it."""

    cell: CellSamples
    features: CachedFeatures
    source: str
    """What the backbone was loaded from: a file may have a head of its own."""
    backbone: BackboneFacts
    config: FrozenConfig
    stored: StoredProbe
    """Where it is written."""


def train(job: ProbeJob) -> None:
    """Train a probe and write it, unless it is there."""
    if job.stored.finished:
        return
    asked, classes = job.cell.cell, job.cell.samples.classes
    data = job.features.samples(job.cell, job.cell.trained)
    grid = data.features.grid
    data = data.separate() if asked.probe.fusion == "late" else data
    if asked.probe.name == OWN_HEAD:
        own = own_head(job.source, asked.task)
        assert own is not None, "who has no head has no part in the cell"
        readout, choice = read_own(own, data, asked.task)
    else:
        seed = asked.seed + job.config.seed
        readout, choice = fit_probe(data, asked.task, asked.probe, job.config, seed)
    job.stored.save(readout, choice, asked, classes, grid, job.backbone)


def train_alone(job: ProbeJob) -> None:
    """`train` on one thread: as many processes as cores share them."""
    torch.set_num_threads(1)
    train(job)


def train_at_once(jobs: Sequence[ProbeJob], workers: int, progress: Progress) -> None:
    """Train probes on so many processes. A probe's small steps gain nothing from more threads.

    UserError where one of the processes is ended from outside, as for want of memory.
    """
    for number, made in enumerate(run_in_order(train_alone, jobs, workers, lambda _: LIMITS, __name__)):
        if isinstance(made, Died):
            raise UserError(
                "a process that trained probes was ended, perhaps for want of memory; take fewer with "
                "--workers. What is trained is kept"
            )
        progress(number + 1, len(jobs), f"probes trained on {workers} processes")
