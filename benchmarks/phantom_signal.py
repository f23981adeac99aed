"""Whether the phantom's signal is there: what a small network learns end to end, by training patients.

Synthetic data throughout: grey loops of the benchmark's teaching site, rendered at 16 frames a second and
reduced to 48 x 48 pixels. `lvef` has one A4C loop of 1.5 s of each patient, `views` three frames of each of
six loops, all thirteen views equally often. The split is the package's.

    OMP_NUM_THREADS=1 python benchmarks/phantom_signal.py lvef CACHE --train 406 --steps 1050
    OMP_NUM_THREADS=1 python benchmarks/phantom_signal.py views CACHE --patients 340 --train 238 80

Rendering goes on where it was stopped. The step that is kept is the best on validation patients; only with it
are test patients predicted. Intervals are 95 %, over resampled test patients.
"""

from __future__ import annotations

import argparse
import copy
import json
import time
from dataclasses import dataclass, fields, replace
from itertools import pairwise
from multiprocessing import Pool
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from echojepa.data.identity.splits import assign_split
from echojepa.evaluation.statistics.intervals import estimates
from echojepa.evaluation.statistics.metrics import ACCURACY, MAE, PEARSON, named
from echojepa.phantom.cohort.loops import record_loop
from echojepa.phantom.cohort.presets import PRESETS
from echojepa.phantom.cohort.sites import Planned, Protocol
from echojepa.phantom.cohort.study import Drawn, draw_study
from echojepa.phantom.heart.truth import Truth
from echojepa.vocabulary import Split, View

Array = NDArray[Any]
LVEF = "lvef"
SEED, SITE = 0, "teaching"
SIDE, RATE = 48, 16.0
"""Pixels and frames a second of what the network sees."""
BEAT, GLANCE = 24, 3
"""Frames of a clip for LVEF, and for views."""
GLANCES = 6
"""Loops of a patient for views."""
CHUNK = 20
"""Patients of a cached file."""
BATCH, PEAK = {LVEF: 16, "views": 32}, {LVEF: 1e-3, "views": 2e-3}
"""Clips of a step, and the highest learning rate."""
RESAMPLES = 2000
VIEWS = tuple(View)


@dataclass
class Clips:
    """What is known of each clip, in the order of patients."""

    patient: Array
    split: Array
    target: Array
    """LVEF in %, or the number of the view."""
    pixels: Array
    """(N, T, SIDE, SIDE) grey, uint8."""

    def rows(self, split: Split, patients: int | None = None) -> Tensor:
        """Rows of a split, or of its first few patients."""
        rows = np.flatnonzero(self.split == split)
        wanted = np.unique(self.patient[rows])[:patients]
        return torch.from_numpy(rows[np.isin(self.patient[rows], wanted)])


def pixels_of(drawn: Drawn, frames: int) -> Array:
    """A loop's pictures (frames, SIDE, SIDE), made at RATE at twice the size, centred and halved."""
    slow = replace(drawn, scanner=replace(drawn.scanner, frame_rate=RATE), seconds=frames / RATE)
    pictures = record_loop(slow).pictures
    count, height, width = pictures.shape
    square = np.zeros((count, 2 * SIDE, 2 * SIDE), np.float32)
    top, left = (2 * SIDE - height) // 2, (2 * SIDE - width) // 2
    square[:, top : top + height, left : left + width] = pictures
    return np.rint(square.reshape(count, SIDE, 2, SIDE, 2).mean((2, 4))).astype(np.uint8)


def render_chunk(job: tuple[Path, str, int]) -> None:
    """Render some patients' clips for a task into one file, whole or not at all."""
    path, task, first = job
    found: dict[str, list[Any]] = {field.name: [] for field in fields(Clips)}
    for ordinal in range(first, first + CHUNK):
        shown = [VIEWS[(2 * ordinal + place) % len(VIEWS)] for place in range(GLANCES)]
        protocol = Protocol(tuple(Planned(view) for view in (View.A4C, *shown)))
        order = replace(PRESETS["benchmark"], seed=SEED, site=SITE, side=2 * SIDE, protocol=protocol)
        loops = draw_study(order, ordinal).loops
        for drawn in loops[:1] if task == LVEF else loops[1:]:
            found["patient"].append(ordinal)
            found["split"].append(str(assign_split(SEED, ordinal)))
            found["target"].append(Truth(drawn.patient).lvef if task == LVEF else VIEWS.index(drawn.view))
            found["pixels"].append(pixels_of(drawn, BEAT if task == LVEF else GLANCE))
    partial = path.with_name(f"partial-{path.name}")
    patient, split, target, pixels = (np.array(found[field.name]) for field in fields(Clips))
    np.savez(partial, patient=patient, split=split, target=target, pixels=pixels)
    partial.rename(path)


def rendered(cache: Path, task: str, patients: int, workers: int) -> Clips:
    """The clips of the first so many patients, rounded up to whole files; renders what the cache lacks."""
    cache.mkdir(parents=True, exist_ok=True)
    paths = {first: cache / f"{task}-{first:05d}.npz" for first in range(0, patients, CHUNK)}
    missing = [(path, task, first) for first, path in paths.items() if not path.exists()]
    with Pool(workers) as pool:
        for number, _ in enumerate(pool.imap_unordered(render_chunk, missing), start=1):
            print(f"rendered {number} of {len(missing)} files", flush=True)
    files = [np.load(path) for path in paths.values()]
    return Clips(*(np.concatenate([file[field.name] for file in files]) for field in fields(Clips)))


class SmallNetwork(nn.Module):
    """Clips (B, T, SIDE, SIDE) of 0 to 1 -> (B, outputs): each picture's features, their mean and swing.

    A picture's network sees it with its two neighbours, as channels; every other picture is taken.
    """

    def __init__(self, outputs: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number, (inner, outer) in enumerate(pairwise((3, 12, 24, 48))):
            size = 5 if number == 0 else 3
            layers += [
                nn.Conv2d(inner, outer, size, stride=2, padding=size // 2, bias=False),
                nn.BatchNorm2d(outer),
                nn.ReLU(),
            ]
        layers += [nn.Flatten(), nn.Dropout(0.2), nn.Linear(48 * (SIDE // 8) ** 2, 48)]
        self.picture = nn.Sequential(*layers)
        self.head = nn.Linear(2 * 48, outputs)

    def forward(self, clips: Tensor) -> Tensor:
        """Logits, or scaled LVEF."""
        mean, deviation = (value(clips, (1, 2, 3), keepdim=True) for value in (torch.mean, torch.std))
        threes = ((clips - mean) / deviation).unfold(1, 3, 2).movedim(-1, 2)
        features = self.picture(threes.flatten(0, 1)).unflatten(0, threes.shape[:2])
        return self.head(torch.cat([features.mean(1), features.amax(1) - features.amin(1)], dim=1))


def augmented(clips: Tensor) -> Tensor:
    """Clips turned, zoomed, shifted and with another grey curve, each as a whole by a draw of its own."""
    count = len(clips)
    turn, zoom = 0.08 * torch.randn(count), torch.exp(0.06 * torch.randn(count))
    shift = 0.06 * torch.randn(2, count)
    across = torch.stack([zoom * turn.cos(), -zoom * turn.sin(), shift[0]], dim=1)
    down = torch.stack([zoom * turn.sin(), zoom * turn.cos(), shift[1]], dim=1)
    places = F.affine_grid(torch.stack([across, down], dim=1), [count, 1, SIDE, SIDE], align_corners=False)
    moved = F.grid_sample(clips, places, align_corners=False)
    return moved.clamp_min(1 / 255) ** torch.exp(0.25 * torch.randn(count, 1, 1, 1))


def loss_of(output: Tensor, goal: Tensor) -> Tensor:
    """Cross-entropy of classes, or a rounded absolute error of scaled values."""
    if output.shape[1] > 1:
        return F.cross_entropy(output, goal.long())
    return F.smooth_l1_loss(output[:, 0], goal.float(), beta=0.3)


def fitted(clips: Clips, goal: Tensor, task: str, patients: int, steps: int) -> tuple[Tensor, int]:
    """Outputs for test clips by the running mean of weights that was best on validation; and its step."""
    torch.manual_seed(SEED)
    model = SmallNetwork(1 if task == LVEF else len(VIEWS))
    mean = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.99), use_buffers=True)
    optimizer = torch.optim.AdamW(model.parameters(), PEAK[task], weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, PEAK[task], total_steps=steps, pct_start=0.1)
    pixels = torch.from_numpy(clips.pixels)
    train, val, test = clips.rows(Split.TRAIN, patients), clips.rows(Split.VAL), clips.rows(Split.TEST)
    order = train[:0]

    def predict(rows: Tensor) -> Tensor:
        mean.eval()
        with torch.inference_mode():
            return torch.cat([mean(pixels[part].float() / 255) for part in rows.split(64)])

    best, kept, kept_step = float("inf"), mean.state_dict(), 0
    for step in range(1, steps + 1):
        if len(order) < BATCH[task]:
            order = train[torch.randperm(len(train))]
        rows, order = order[: BATCH[task]], order[BATCH[task] :]
        model.train()
        optimizer.zero_grad()
        loss_of(model(augmented(pixels[rows].float() / 255)), goal[rows]).backward()
        optimizer.step()
        schedule.step()
        mean.update_parameters(model)
        if step % 100 == 0 or step == steps:
            score = loss_of(predict(val), goal[val]).item()
            print(f"{patients} training patients, step {step}: validation loss {score:.4f}", flush=True)
            if score < best:
                best, kept, kept_step = score, copy.deepcopy(mean.state_dict()), step
    mean.load_state_dict(kept)
    return predict(test), kept_step


def measured(clips: Clips, task: str, patients: int, steps: int) -> dict[str, Any]:
    """One row: the network of so many training patients, and what needs no picture, on test patients."""
    train, test = clips.rows(Split.TRAIN, patients).numpy(), clips.rows(Split.TEST).numpy()
    known, truth = clips.target[train], clips.target[test]
    metrics = named(MAE, PEARSON) if task == LVEF else named(ACCURACY)
    if task == LVEF:
        middle, spread = known.mean(), known.std()
        goal = torch.from_numpy((clips.target - middle) / spread)
        output, step = fitted(clips, goal, task, patients, steps)
        predicted = output[:, 0].double().numpy() * spread + middle
        floor = MAE(truth, np.full(len(truth), middle))
    else:
        output, step = fitted(clips, torch.from_numpy(clips.target), task, patients, steps)
        predicted = output.argmax(1).numpy()
        floor = ACCURACY(truth, np.full(len(truth), np.bincount(known).argmax()))
    found = estimates(truth, predicted, clips.patient[test], metrics, resamples=RESAMPLES, seed=SEED)
    row = {"training patients": len(np.unique(clips.patient[train])), "training clips": len(train)}
    row |= {"kept step": step, "constant": floor}
    return row | {name: vars(estimate) for name, estimate in found.items()}


def main() -> None:
    """Render, train and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("task", choices=(LVEF, "views"))
    parser.add_argument("cache", type=Path)
    parser.add_argument("--patients", type=int, default=580)
    parser.add_argument("--train", type=int, nargs="+", default=[406])
    parser.add_argument("--steps", type=int, default=1600)
    parser.add_argument("--test-from", type=int, default=0, help="first patient who may be a test patient")
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    clips = rendered(chosen.cache, chosen.task, chosen.patients, chosen.workers)
    seen = (clips.split == str(Split.TEST)) & (clips.patient < chosen.test_from)
    clips = Clips(*(getattr(clips, field.name)[~seen] for field in fields(Clips)))
    torch.set_num_threads(1)
    for patients in chosen.train:
        begin = time.perf_counter()
        row = measured(clips, chosen.task, patients, chosen.steps)
        row["minutes"] = (time.perf_counter() - begin) / 60
        print(json.dumps({"synthetic": True, "task": chosen.task} | row), flush=True)


if __name__ == "__main__":
    main()
