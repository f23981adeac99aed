"""An encoder and a head trained together, and the folder that comes of it.

The head starts as the probe of the frozen encoder that validation patients chose, on its tokens or on their
mean and spread over time: one that started from nothing would distort the encoder while it is still wrong
(Kumar et al., arXiv 2202.10054). Learning rates: `rates`. A clip is a function of (seed, epoch, sample), the
order of an epoch of (seed, epoch): a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from echojepa.backbones.loading import RANDOM
from echojepa.backbones.transformer import OBJECTIVES, VideoTransformer
from echojepa.config import TuningConfig
from echojepa.errors import UserError
from echojepa.evaluation.features.backbones import BackboneFacts
from echojepa.evaluation.features.cache import weights_digest
from echojepa.evaluation.features.samples import targets
from echojepa.evaluation.finetuning.clips import SampleClips, encoded, outputs_of
from echojepa.evaluation.finetuning.rates import parameter_groups
from echojepa.evaluation.probes.fitting import OverTimeProbe, Readout, unwrapped
from echojepa.evaluation.probes.heads import Choice, HeadProbe, has_converged, loss_of, schedule
from echojepa.evaluation.probes.predictions import average, error_of
from echojepa.evaluation.probes.stored import StoredProbe, describe_cell
from echojepa.evaluation.protocol.cells import CellSamples
from echojepa.evaluation.protocol.cohort import Cohort
from echojepa.evaluation.protocol.plans import HEAD_STARTS
from echojepa.files.records import keep_record, plain, read_plain
from echojepa.models.building import generator_for
from echojepa.models.clip_head import moments
from echojepa.models.contract import prepare
from echojepa.models.probe import Scale, drop_views
from echojepa.progress import Progress
from echojepa.training import rotation
from echojepa.training.building import training_tensors
from echojepa.training.distributed import World
from echojepa.training.hardware import computed_on, went_on, working_dtype
from echojepa.vocabulary import Split
from echojepa.weights.folder import Origin, Weights, save_weights
from echojepa.weights.layouts import read_weights
from echojepa.weights.tensors import below

RECORD = "finetune.json"
"""What a fine-tuning depends on; written first."""


class FineTuning:
    """A fine-tuning in progress."""

    def __init__(
        self,
        folder: Path,
        weights: Weights,
        start: Readout,
        cell: CellSamples,
        cohort: Cohort,
        config: TuningConfig,
        seed: int,
    ) -> None:
        self.folder, self.weights, self.cell, self.config = folder, weights, cell, config
        inner, self.over_time = unwrapped(start)
        assert isinstance(inner, HeadProbe)
        head = inner.model
        self.task, self.seed = cell.cell.task, seed
        self.targets = targets(cell.samples)
        self.dataset = SampleClips(cohort, cell, weights.spec, config.crop, seed)
        once = (cell.samples.clips[:, 0, 2] == 0) | bool(self.task.slots)  # a loop once, whatever its clips
        mine, splits = cell.trained, cell.samples.splits
        self.train = torch.from_numpy(np.flatnonzero(mine & (splits == Split.TRAIN) & once))
        self.val = torch.from_numpy(np.flatnonzero(mine & (splits == Split.VAL)))
        self.world = World(0, 1, torch.device("cuda" if torch.cuda.is_available() else "cpu"))
        self.dtype = working_dtype(config.precision, self.world.device)
        encoder = weights.build_encoder().to(self.world.device)
        encoder.recompute = config.recompute
        self.encoder, self.head = encoder, head.to(self.world.device)
        self.scale = Scale(*head.target.tolist())
        self.model = nn.ModuleDict({"encoder": encoder, "head": self.head})
        groups = parameter_groups(encoder, self.head, config)
        self.optimizer = torch.optim.AdamW(groups, lr=0.0, fused=True)
        self.losses = torch.full((config.epochs,), math.inf).double()
        self.errors = torch.full((config.epochs + 1,), math.inf).double()
        """Of the start, and after each epoch."""
        self.best = {name: value.detach().clone() for name, value in self.model.state_dict().items()}

    def encode(self, clips: Tensor, dtype: torch.dtype = torch.float32) -> Tensor:
        """What the head is given of uint8 clips (m, 3, T, H, W), with gradient where it is on.

        Epochs are judged in float32, as features are made in which the head then reads.
        """
        prepared = prepare(self.weights.spec, clips.to(self.world.device, non_blocking=True))
        with torch.autocast(self.world.device.type, torch.bfloat16, dtype == torch.bfloat16):
            tokens = self.encoder(prepared).float()
        return moments(tokens, self.encoder.grid) if self.over_time else tokens

    def order(self, epoch: int) -> Tensor:
        """Training samples as an epoch takes them."""
        draws = generator_for(self.seed, "fine-tuning order", epoch)
        return self.train[torch.randperm(len(self.train), generator=draws)]

    def tensors(self) -> dict[str, Tensor]:
        """All that an epoch changes, and the best epoch so far."""
        best = {f"best.{name}": value for name, value in self.best.items()}
        record = {"losses": self.losses, "errors": self.errors}
        return training_tensors(self.model, self.optimizer) | best | record

    def run(self, progress: Progress) -> None:
        """Every epoch that is left, each followed by a checkpoint; then the folder's files.

        The start is a choice, too: where no epoch does better on validation patients, it stays.
        """
        found = rotation.find(self.folder)
        if found.path:
            rotation.load(found.path, self.tensors())
        else:
            self.errors[0] = self.validate()
        facts, here = found.facts, computed_on(self.world.device, self.dtype)
        for epoch in range(found.facts.step, self.config.epochs):
            self.losses[epoch] = self.train_epoch(epoch)
            self.errors[epoch + 1] = self.validate()
            if int(self.errors.argmin()) == epoch + 1:
                for name, value in self.model.state_dict().items():
                    self.best[name].copy_(value)
            facts = rotation.Facts(epoch + 1, computed_on=went_on(facts.computed_on, here))
            rotation.save(self.folder, facts, self.tensors(), self.world)
            first, last = abs(self.errors[0]), abs(self.errors[epoch + 1])
            note = f"loss {self.losses[epoch]:.3f}, validation {last:.3f}, before tuning {first:.3f}"
            progress(epoch + 1, self.config.epochs, note)
        self.finish(facts.computed_on)

    def train_epoch(self, epoch: int) -> float:
        """One pass over the training samples; the mean loss. UserError where that is not finite."""
        order = self.order(epoch)
        parts = order.tensor_split(math.ceil(len(order) / self.config.batch_size))
        draws = generator_for(self.seed, "dropped views", epoch)
        total = 0.0
        for number, (samples, clips, present) in enumerate(
            self.dataset.batches(epoch, parts, self.config.workers)
        ):
            if len(self.task.slots) > 1:
                rate = self.cell.cell.probe.view_dropout
                present = drop_views(present, self.head.shape, rate, draws)
            truth = self.targets[samples].to(self.world.device)
            tokens = encoded(partial(self.encode, dtype=self.dtype), clips, present)
            outputs = self.head(tokens, None if present.all() else present.to(tokens.device))
            loss = loss_of(outputs, truth, self.scale, self.task).sum()
            loss.backward()
            share = (epoch * len(parts) + number + 0.5) / (self.config.epochs * len(parts))
            for group in self.optimizer.param_groups:
                group["lr"] = self.config.lr * group["scale"] * schedule(share)
            self.optimizer.step()
            self.optimizer.zero_grad(set_to_none=True)
            total += loss.item() * len(samples) / len(order)
        if not math.isfinite(total):
            raise UserError(
                f"the loss of epoch {epoch + 1} is non-finite; give a lower --lr and another --out"
            )
        return total

    def validate(self) -> float:
        """The task's leading metric on validation patients, turned so that lower is better."""
        made = outputs_of(self.encode, self.head, self.dataset, self.val, self.config)
        return error_of(average(made, self.cell.samples.select(self.val.numpy())), self.task.kind)

    def finish(self, where: tuple[str, ...]) -> None:
        """Write the best epoch's encoder and head; the head's card, last, says that all is there.

        `where`: what the epochs were computed on.
        """
        weights, errors = self.weights, self.errors.tolist()
        best = {name: value.cpu() for name, value in self.best.items()}
        encoder, head = below("encoder.", best), below("head.", best)
        epoch = int(self.errors.argmin())
        steps = math.ceil(len(self.train) / self.config.batch_size) * epoch
        record = read_plain(self.folder / RECORD)
        clips, data = len(self.train) * epoch, "+".join(record["data"])
        origin = Origin(said(weights, self.cell), steps, clips, data, computed_on=where)
        save_weights(self.folder, Weights(weights.architecture, weights.spec, encoder, origin))
        probe = self.head.cpu()
        probe.load_state_dict(head)
        chosen = {"learning rate": self.config.lr, "layer decay": self.config.layer_decay, "epoch": epoch}
        history = {"train loss": self.losses.tolist(), "validation": [abs(error) for error in errors]}
        choice = Choice(chosen, history, has_converged(errors, self.task))
        readout = HeadProbe(probe, self.config.batch_size)
        StoredProbe(self.folder).save(
            OverTimeProbe(readout) if self.over_time else readout, choice, self.cell.cell,
            self.cell.samples.classes, self.encoder.grid, self.describe(), record,
        )  # fmt: skip

    def describe(self) -> BackboneFacts:
        """What the card says of the encoder that was written."""
        backbone = VideoTransformer.from_pretrained(self.folder)
        return BackboneFacts(
            backbone=name_of(self.weights), weights=weights_digest(backbone)[:12],
            parameters=backbone.parameters, tokens=math.prod(self.encoder.grid), embed_dim=backbone.embed_dim,
        )  # fmt: skip


def starting_weights(name: str) -> Weights:
    """What a fine-tuning starts from: JEPA weights of any layout, or `random:` before one's path. Of a run of
    ours that is the very start it was pretrained from. CheckpointError for other weights."""
    path = Path(name.removeprefix(RANDOM))
    weights = read_weights(path)
    if not name.startswith(RANDOM):
        return weights
    made = VideoTransformer.from_pretrained(path).random_start()
    tensors = {key: value.cpu() for key, value in made.encoder.state_dict().items()}
    return replace(weights, encoder=tensors, origin=Origin(made.name), sha256="")


def finetune_encoder(
    folder: Path,
    weights: Weights,
    start: Callable[[], Readout],
    cell: CellSamples,
    cohort: Cohort,
    config: TuningConfig,
    seed: int,
    progress: Progress,
) -> None:
    """Fine-tune `weights` for a cell into a folder, or go on with what is there; nothing where it is done.

    `start` makes or finds the probe of these weights, frozen, for the same cell, that the head starts as.
    The folder is one of our weights', read by `load_backbone`, and one of a probe's, a `StoredProbe`.
    Raises ConfigError where it holds another fine-tuning, CheckpointError where weights do not fit.
    """
    record = {
        "settings": {name: value for name, value in asdict(config).items() if name in DECIDE},
        "cell": describe_cell(cell.cell, cell.samples.classes) | {"key": cell.cell.key},
        "start": asdict(weights.origin) | {"name": name_of(weights), "sha256": weights.sha256},
        "head": HEAD_STARTS,
        "spec": plain(weights.spec),
        "data": [store.fingerprint() for store in cohort.stores],
        "labels": cell.samples.select(cell.trained).digest(),
        "seed": seed,
    }
    folder.mkdir(parents=True, exist_ok=True)
    keep_record(folder / RECORD, record, "fine-tuning")
    if not StoredProbe(folder).finished:
        FineTuning(folder, weights, start(), cell, cohort, config, seed).run(progress)
    shutil.rmtree(folder / rotation.FOLDER, ignore_errors=True)


def load_finetuned(folder: Path) -> tuple[VideoTransformer, Readout]:
    """Encoder and head of a finished fine-tuning, strictly; UserError for a folder of anything else."""
    stored = StoredProbe(folder)
    if not (stored.finished and (folder / RECORD).is_file()):
        raise UserError(f"{folder} has no finished fine-tuning; run `echojepa finetune` first")
    return VideoTransformer.from_pretrained(folder), stored.readout()


DECIDE = {"epochs", "batch_size", "lr", "layer_decay", "weight_decay", "crop", "clips_per_loop", "precision"}
"""Settings that the outcome depends on; the others may change when a fine-tuning goes on."""


STAYED = "no epoch was better on validation patients than the frozen probe, which therefore stays"
"""What rows of such a fine-tuning say."""


def note_of(folder: Path) -> str:
    """What rows of a finished fine-tuning say beside their numbers; empty for nothing."""
    return STAYED if StoredProbe(folder).card().chosen["epoch"] == 0 else ""


def name_of(weights: Weights) -> str:
    """How tables call what a fine-tuning starts from."""
    return OBJECTIVES.get(weights.origin.name, weights.origin.name)


def said(weights: Weights, samples: CellSamples) -> str:
    """What a fine-tuned encoder is, for its card and for tables that use it frozen."""
    cell = samples.cell
    where = f" of {cell.trained_on}" if cell.trained_on else ""
    share = f", {100 * cell.fraction:g} % of labels" if cell.fraction < 1 else ""
    start = " ".join(filter(None, [name_of(weights), weights.sha256[:8]]))
    return f"{start} fine-tuned on {cell.task.name}, train patients{where}{share}"
