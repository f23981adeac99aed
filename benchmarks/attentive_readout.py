"""What attentive probes read of a sweep's encoders, on validation patients: LVEF and views.

    python benchmarks/attentive_readout.py RUN [RUN ...] --data DATA --runs RUNS

A RUN is an arm's folder (`benchmarks/pretrain_arms.py`). Beside each stands its random start. Heads, those of
`echojepa evaluate`, are trained on four fifths of the training patients, at each quarter of the encoder's
depth; the last fifth chooses head, epoch and depth; errors are validation patients', whom nothing chose. Test
patients' pictures and labels are never read.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pretrain_arms import Loops, interval, layers_of, read_clips, tokens_by_layer

from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import FrozenConfig
from echojepa.evaluation.features.samples import FeatureSamples
from echojepa.evaluation.features.tokens import Features, Tokens
from echojepa.evaluation.probes.heads import fit_heads
from echojepa.evaluation.probes.predictions import average
from echojepa.evaluation.protocol.plans import PROBES
from echojepa.tasks import LVEF, VIEW, Task
from echojepa.vocabulary import Split

PICTURES_GB = 4.0
"""Memory that decoded pictures may take."""
JUDGES = 0.2
"""Share of the training patients who choose."""


def splits_of(loops: Loops) -> NDArray[np.str_]:
    """Each loop's part in this read-out: validation patients are tested, a fifth of the others choose."""
    train = np.unique(loops.patients[~loops.validation])
    judges = np.random.default_rng(5).permutation(train)[: round(JUDGES * len(train))]
    chosen = np.where(np.isin(loops.patients, judges), str(Split.VAL), str(Split.TRAIN))
    return np.where(loops.validation, str(Split.TEST), chosen)


def samples_for(task: Task, loops: Loops, tokens: torch.Tensor, grid: tuple[int, int, int]) -> FeatureSamples:
    """The loops that a task asks of, with tokens (n, N, D) of the middle clip of every loop."""
    number = np.arange(len(loops.rows))
    if task is LVEF:
        usable = np.isin(loops.views, task.views or ()) & np.isfinite(loops.lvef)
        truth, classes = loops.lvef.astype(np.float32).astype(np.float64), ()
    else:
        usable = loops.views != ""
        names = np.unique(loops.views[usable])
        truth, classes = np.searchsorted(names, loops.views).astype(float), tuple(names.tolist())
    whole = FeatureSamples(
        items=number.astype(str), patients=loops.patients.astype(str), splits=splits_of(loops),
        sites=np.full(len(number), "teaching"), truth=truth, classes=classes, places=number[:, None],
        features=Features(
            Tokens.of(tokens), tokens.mean(1).float(), grid,
            np.stack([0 * number, loops.rows, 0 * number], axis=1),
        ),
    )  # fmt: skip
    return whole.select(usable)


def error_at(data: FeatureSamples, task: Task, seed: int) -> tuple[float, NDArray[np.float64], NDArray[Any]]:
    """The chosen head's error for those who choose; the error of each tested loop, and its patient."""
    readout, choice = fit_heads(data, task, PROBES["attentive"], FrozenConfig(), seed)
    tested = data.select(data.within(Split.TEST))
    made = average(readout.outputs(tested), tested)
    curve = choice.history["validation"]
    if task is LVEF:
        return min(curve), np.abs(made.values - made.truth), made.patients
    return -max(curve), (made.values.argmax(1) != made.truth).astype(float), made.patients


def read_out(backbone: VideoTransformer, options: argparse.Namespace) -> dict[str, Any]:
    """Errors on validation patients, by task, at the depth that the judges like best."""
    loops, dataset = read_clips(options.data, backbone.spec, options.runs / "pictures", PICTURES_GB)
    parts = tokens_by_layer(backbone.encoder, backbone.spec, dataset)
    halves = ([tokens.half() for tokens in layers] for layers in parts)
    layers = [torch.cat(layer) for layer in zip(*halves, strict=True)]
    found: dict[str, Any] = {}
    for task in (LVEF, VIEW):
        grid = backbone.encoder.grid
        each = [error_at(samples_for(task, loops, tokens, grid), task, options.seed) for tokens in layers]
        best = min(range(len(each)), key=lambda n: each[n][0])
        depths = layers_of(len(backbone.encoder.blocks))
        found[task.name] = {
            "depth": depths[best], "errors": each[best][1], "patients": each[best][2],
            "by depth": {depth: float(one[1].mean()) for depth, one in zip(depths, each, strict=True)},
        }  # fmt: skip
    return found


def said(errors: NDArray[np.float64], patients: NDArray[Any], scale: float) -> str:
    """A mean with its interval over patients."""
    return "{:.2f} ({:.2f}, {:.2f})".format(*(scale * np.array(interval(errors, patients))))


def main() -> None:
    """Read out every run and its random start, print, and add a line each to RUNS/attentive.jsonl."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", nargs="+", type=Path)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    starts: dict[str, dict[str, Any]] = {}
    for run in options.run:
        backbone = VideoTransformer.from_pretrained(run)
        config = json.loads((run / "config.json").read_text("utf-8"))
        kind = json.dumps([config[name] for name in ("seed", "architecture", "spec")])
        if kind not in starts:
            starts[kind] = read_out(backbone.random_start(), options)
        start, mine = starts[kind], read_out(backbone, options)
        line: dict[str, Any] = {"run": run.name, "data": str(options.data), "seed": options.seed}
        for task, one in mine.items():
            other, scale = start[task], 1.0 if task == LVEF.name else 100.0
            line[task] = {
                "error": said(one["errors"], one["patients"], scale),
                "random": said(other["errors"], other["patients"], scale),
                "gain": said(other["errors"] - one["errors"], one["patients"], scale),
                "depth": one["depth"], "by depth": one["by depth"], "random by depth": other["by depth"],
            }  # fmt: skip
        print(json.dumps(line, indent=1), flush=True)
        with (options.runs / "attentive.jsonl").open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main()
