"""An encoder and a head trained together, layer by layer more slowly the nearer a layer is to the pixels.

The head starts as the probe of the frozen encoder that validation patients chose: one that started from
nothing would distort the encoder while it is still wrong (Kumar et al., arXiv 2202.10054). The learning rate
of layer l of an encoder of L blocks is lr * decay^(L + 1 - l): layer 0 embeds, block k is layer k + 1, the
last norm is layer L + 1 and, like the head, has the whole rate (BEiT's rule, arXiv 2106.08254; its use for
video: VideoMAE, arXiv 2203.12602). A clip is a function of (seed, epoch, sample), the order of an epoch of
(seed, epoch): a run that was stopped goes on as if it had not been.
"""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from echojepa.backbones.transformer import OBJECTIVES
from echojepa.config import ConfigError, TuningConfig
from echojepa.errors import UserError
from echojepa.evaluation.finetuning.clips import SampleClips, encoded, outputs_of
from echojepa.evaluation.probes.heads import Fitted, HeadProbe, Readout, loss_of, schedule, settled
from echojepa.evaluation.probes.predictions import average, error_of
from echojepa.evaluation.probes.stored import FACTS, about, save_fitted
from echojepa.evaluation.progress import Progress
from echojepa.evaluation.protocol.cells import Job, labels_digest, without_features
from echojepa.evaluation.protocol.cohort import Cohort
from echojepa.models.probe import Probes, Scale, drop_views
from echojepa.models.vit import VisionTransformer
from echojepa.training import rotation
from echojepa.training.building import generator_for, training_tensors, working_dtype
from echojepa.training.checkpoint import write_text_atomically
from echojepa.training.distributed import World
from echojepa.training.weights import Origin, Weights, save_weights
from echojepa.vocabulary import Split

RECORD = "finetune.json"
"""What a fine-tuning depends on; written first."""


def layer_of(name: str, blocks: int) -> int:
    """The layer that an encoder's parameter belongs to, 0 to blocks + 1."""
    if name.startswith("blocks."):
        return int(name.split(".")[1]) + 1
    return blocks + 1 if name.startswith("norm.") else 0


def parameter_groups(
    encoder: VisionTransformer, head: nn.Module, config: TuningConfig
) -> list[dict[str, Any]]:
    """AdamW's groups: `scale` is what the learning rate is multiplied by, norms and biases are not decayed.

    A parameter of the head has one dimension more than what it is, for its number of heads.
    """
    groups: dict[tuple[float, bool], list[nn.Parameter]] = {}
    blocks = len(encoder.blocks)
    for name, weight in encoder.named_parameters():
        scale = config.layer_decay ** (blocks + 1 - layer_of(name, blocks))
        groups.setdefault((scale, weight.ndim > 1), []).append(weight)
    for weight in head.parameters():
        groups.setdefault((1.0, weight.ndim > 2), []).append(weight)
    return [
        {"params": weights, "scale": scale, "weight_decay": config.weight_decay * decayed}
        for (scale, decayed), weights in groups.items()
    ]


class Tuning:
    """A fine-tuning in progress."""

    def __init__(
        self,
        folder: Path,
        weights: Weights,
        head: Probes,
        job: Job,
        cohort: Cohort,
        config: TuningConfig,
        seed: int,
    ) -> None:
        self.folder, self.weights, self.job, self.config = folder, weights, job, config
        self.task, self.seed = job.cell.task, seed
        self.data = without_features(job.wanted, self.task)
        each = job.look.clips_per_loop
        self.dataset = SampleClips(cohort, job.wanted, weights.spec, each, config.crop, seed)
        once = (job.wanted.clips[:, 0, 1] == 0) | bool(self.task.slots)  # a loop once, whatever its clips
        mine, splits = job.trained, job.wanted.splits
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

    def encode(self, clips: Tensor) -> Tensor:
        """Tokens of uint8 clips (m, 3, T, H, W), with gradient where it is on."""
        prepared = self.weights.spec.prepare(clips.to(self.world.device, non_blocking=True))
        with torch.autocast(self.world.device.type, torch.bfloat16, self.dtype == torch.bfloat16):
            return self.encoder(prepared).float()

    def order(self, epoch: int) -> Tensor:
        """Training samples as an epoch takes them."""
        draws = generator_for(self.seed, "fine-tuning order", epoch)
        return self.train[torch.randperm(len(self.train), generator=draws)]

    def tensors(self) -> dict[str, Tensor]:
        """All that an epoch changes, and the best epoch so far."""
        now = {f"model.{name}": value for name, value in self.model.state_dict().items()}
        best = {f"best.{name}": value for name, value in self.best.items()}
        record = {"losses": self.losses, "errors": self.errors}
        return training_tensors(self.model, self.optimizer) | now | best | record

    def run(self, progress: Progress) -> None:
        """Every epoch that is left, each followed by a checkpoint; then the folder's files.

        The start is a choice, too: where no epoch does better on validation patients, it stays.
        """
        found = rotation.find(self.folder)
        if found.path:
            rotation.load(found.path, self.tensors())
        else:
            self.errors[0] = self.validate()
        for epoch in range(found.facts.step, self.config.epochs):
            self.losses[epoch] = self.train_epoch(epoch)
            self.errors[epoch + 1] = self.validate()
            if int(self.errors.argmin()) == epoch + 1:
                for name, value in self.model.state_dict().items():
                    self.best[name].copy_(value)
            rotation.save(self.folder, rotation.Facts(epoch + 1), self.tensors(), self.world)
            first, last = abs(self.errors[0]), abs(self.errors[epoch + 1])
            note = f"loss {self.losses[epoch]:.3f}, validation {last:.3f}, before tuning {first:.3f}"
            progress(epoch + 1, self.config.epochs, note)
        self.finish()

    def train_epoch(self, epoch: int) -> float:
        """One pass over the training samples; the mean loss. UserError where that is no number."""
        order = self.order(epoch)
        parts = order.tensor_split(math.ceil(len(order) / self.config.batch_size))
        draws = generator_for(self.seed, "dropped views", epoch)
        total = 0.0
        for number, (samples, clips, present) in enumerate(
            self.dataset.batches(epoch, parts, self.config.workers)
        ):
            if self.data.views > 1:
                rate = self.job.cell.probe.view_dropout
                present = drop_views(present, self.head.shape, rate, draws)
            truth = self.data.truth[samples].to(self.world.device)
            tokens = encoded(self.encode, clips, present)
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
            raise UserError(f"the loss of epoch {epoch + 1} is no number; lower --lr, in another --out")
        return total

    def validate(self) -> float:
        """The task's leading metric on validation patients, turned so that lower is better."""
        made = outputs_of(self.encode, self.head, self.dataset, self.val, self.config)
        return error_of(average(made, self.data, self.val, self.task), self.task)

    def finish(self) -> None:
        """Write the best epoch's encoder and head; `probe.json`, last, says that all is there."""
        cell, weights, errors = self.job.cell, self.weights, self.errors.tolist()
        best = {name: value.cpu() for name, value in self.best.items()}
        encoder, head = ({k.removeprefix(p): v for k, v in best.items() if k.startswith(p)} for p in PARTS)
        epoch = int(self.errors.argmin())
        steps = math.ceil(len(self.train) / self.config.batch_size) * epoch
        record = json.loads((self.folder / RECORD).read_text(encoding="utf-8"))
        origin = Origin(said(weights, self.job), steps, len(self.train) * epoch, "+".join(record["data"]))
        tuned = Weights(weights.architecture, weights.spec, encoder, origin)
        save_weights(self.folder, tuned)
        probe = self.head.cpu()
        probe.load_state_dict(head)
        chosen = {"learning rate": self.config.lr, "layer decay": self.config.layer_decay, "epoch": epoch}
        history = {"train loss": self.losses.tolist(), "validation": [abs(error) for error in errors]}
        fitted = Fitted(HeadProbe(probe, self.config.batch_size), chosen, history, settled(errors, self.task))
        facts = about(cell, self.data.classes) | {"grid": self.encoder.grid, "finetuned": record}
        save_fitted(self.folder, fitted, facts)


PARTS = ("encoder.", "head.")
"""What names of a model's tensors begin with."""


def tune(
    folder: Path,
    weights: Weights,
    head: Callable[[], Readout],
    job: Job,
    cohort: Cohort,
    config: TuningConfig,
    seed: int,
    progress: Progress,
) -> None:
    """Fine-tune `weights` for a cell into a folder, or go on with what is there; nothing where it is done.

    `head` makes or finds the attentive probe of these weights, frozen, for the same cell: the head's start.
    The folder is one of our weights', read by `load_backbone`, and one of a probe's, read by `load_readout`.
    Raises ConfigError where it holds another fine-tuning, CheckpointError where weights do not fit.
    """
    record = {
        "settings": {name: value for name, value in asdict(config).items() if name in DECIDE},
        "cell": about(job.cell, job.wanted.classes) | {"key": job.cell.key},
        "start": asdict(weights.origin) | {"name": name_of(weights), "sha256": weights.sha256},
        "spec": asdict(weights.spec),
        "data": [store.fingerprint() for store in cohort.stores],
        "labels": labels_digest(job.wanted.of(job.trained)),
        "seed": seed,
    }
    mine = json.loads(json.dumps(record))
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / RECORD).is_file():
        there = json.loads((folder / RECORD).read_text(encoding="utf-8"))
        other = sorted(name for name in mine if mine[name] != there.get(name))
        if other:
            raise ConfigError(
                f"{folder} holds another fine-tuning, of other {' and '.join(other)} (see its {RECORD}); "
                "give another --out, or delete the folder to start over"
            )
    write_text_atomically(folder / RECORD, json.dumps(mine, indent=2) + "\n")
    if not (folder / FACTS).is_file():
        probe = head()
        assert isinstance(probe, HeadProbe)
        Tuning(folder, weights, probe.model, job, cohort, config, seed).run(progress)
    shutil.rmtree(folder / rotation.FOLDER, ignore_errors=True)


DECIDE = {"epochs", "batch_size", "lr", "layer_decay", "weight_decay", "crop", "clips_per_loop", "precision"}
"""Settings that the outcome depends on; the others may change when a fine-tuning goes on."""


STAYED = "no epoch read validation patients better than the frozen probe, which stays"
"""What rows of such a fine-tuning say."""


def note_of(folder: Path) -> str:
    """What rows of a finished fine-tuning say beside their numbers; empty for nothing."""
    epoch = json.loads((folder / FACTS).read_text(encoding="utf-8"))["chosen"]["epoch"]
    return STAYED if epoch == 0 else ""


def name_of(weights: Weights) -> str:
    """How tables call what a fine-tuning starts from."""
    return OBJECTIVES.get(weights.origin.name, weights.origin.name)


def said(weights: Weights, job: Job) -> str:
    """What a fine-tuned encoder is, for its card and for tables that use it frozen."""
    cell = job.cell
    where = f" of {cell.trained_on}" if cell.trained_on else ""
    share = f", {100 * cell.fraction:g} % of labels" if cell.fraction < 1 else ""
    start = " ".join(filter(None, [name_of(weights), weights.sha256[:8]]))
    return f"{start} fine-tuned on {cell.task.name}, train patients{where}{share}"
