"""Arms of a pretraining sweep: one a call, each with the same quick read-outs on validation patients.

    python benchmarks/pretrain_arms.py ARM --data DATA --runs RUNS --steps 5000    # pretrain and read out
    python benchmarks/pretrain_arms.py ARM --untrained --data DATA --runs RUNS     # its random start
    python benchmarks/pretrain_arms.py ARM --pixels 2 --data DATA --runs RUNS      # plain pixels of its input
    python benchmarks/pretrain_arms.py --table --runs RUNS                         # what was found so far

An arm is a change of one base recipe, written below by name. A call that was stopped goes on from its last
checkpoint; a finished arm adds one line to RUNS/arms.jsonl: settings, clips, updates, CPU seconds,
read-outs with 95 % intervals over patients. Bad arms are lines like any other.

Read-outs are ridge regressions on frozen features of training and validation patients' loops; pixels and
labels of test patients are never read. Penalty and layer (at 1/4, 1/2, 3/4 of the depth, and the last) are
chosen by folds over the fitting patients, for each row and the random start alike. With `--cross` every
patient is predicted by folds that do not have it, and the pretraining saw the pictures of most; without, fits
are on training patients and figures on validation patients alone.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.compute as pc
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from scipy.linalg import cho_factor, cho_solve
from torch import Tensor

from echojepa.config import (
    NO_MASK,
    PAPER_MASKS,
    TIME_MASK,
    TUBE_MASK,
    InputSpec,
    LatentConfig,
    PretrainConfig,
)
from echojepa.data.clips.clips import ClipDataset
from echojepa.data.clips.pictures import keep_pictures
from echojepa.data.store.loop_store import LoopStore
from echojepa.files.records import encode
from echojepa.models.building import build_encoder
from echojepa.models.clip_head import moments
from echojepa.models.contract import prepare
from echojepa.models.vit import VisionTransformer
from echojepa.recipes import small
from echojepa.training.pretrain import pretrain
from echojepa.vocabulary import Kind, Split, View
from echojepa.weights.folder import load_weights

Change = Callable[[PretrainConfig], PretrainConfig]
Numbers = NDArray[np.float64]
PENALTIES = 10.0 ** np.arange(-3, 2)
"""Multiples of the mean diagonal of the kernel."""
FOLDS, RESAMPLES, FEW = 5, 1000, 0.05
FIT_AT_MOST = 1200
"""Loops that a read-out is fitted on, at most."""


def base(data: Path, out: Path) -> PretrainConfig:
    """The recipe `small`, but JEPA with the paper's masks and targets: 128 tokens a clip."""
    return replace(small(data, out), masks=PAPER_MASKS, latent=LatentConfig(), steps=5000)


def videomae(config: PretrainConfig) -> PretrainConfig:
    """The pixel objective on the same encoder: nine tenths hidden as tubes, twice the batch and rate."""
    optim = replace(config.optim, lr=1e-3, beta2=0.95, weight_decay=0.05)
    return replace(config, objective="videomae", masks=(TUBE_MASK,), batch_size=32, optim=optim)


def labelled(objective: Any) -> Change:
    """An objective that learns from labels, at VideoMAE's batch and rate: the recipe of its name."""
    return lambda config: replace(videomae(config), objective=objective, masks=(NO_MASK,))


def changed(**settings: Any) -> Change:
    """Other settings of the run."""
    return lambda config: replace(config, **settings)


def optimised(**settings: Any) -> Change:
    """Other settings of the optimiser."""
    return lambda config: replace(config, optim=replace(config.optim, **settings))


def of_targets(**settings: Any) -> Change:
    """Other latent targets."""
    return lambda config: replace(config, latent=replace(config.latent, **settings))


CENTRED, TIME = changed(latent=LatentConfig(centred=True)), changed(masks=(*PAPER_MASKS, TIME_MASK))
BOTH = (CENTRED, TIME)
TIME_ALONE = (CENTRED, changed(masks=(TIME_MASK,)))
MOVING = of_targets(still_share=0.0, scaled=True)
IMAGENET = InputSpec()


def places(config: PretrainConfig) -> PretrainConfig:
    """A table of positions added to tokens, in place of rotary ones, which tell distances alone."""
    return replace(config, architecture=replace(config.architecture, position="sincos"))


def spec_changed(**settings: Any) -> Change:
    """Another input."""
    return lambda config: replace(config, spec=replace(config.spec, **settings))


def sized(size: Any, heads: int, width: int, depth: int) -> Change:
    """Another encoder of the size table and another predictor."""
    return lambda config: replace(
        config,
        architecture=replace(config.architecture, size=size),
        predictor_heads=heads,
        predictor_width=width,
        predictor_depth=depth,
    )


ARMS: dict[str, tuple[Change, ...]] = {
    # The pilot's four, and pixels.
    "jepa": (),
    "centred": (CENTRED,),
    "time": (TIME,),
    "both": BOTH,
    "videomae": (videomae,),
    # One factor at a time from `both`.
    "lr-2.5e-4": (*BOTH, optimised(lr=2.5e-4)),
    "lr-1e-3": (*BOTH, optimised(lr=1e-3)),
    "ema-slow": (*BOTH, optimised(ema_start=0.996, ema_end=0.9995)),
    "ema-fast": (*BOTH, optimised(ema_start=0.98, ema_end=0.995)),
    "ema-constant": (*BOTH, optimised(ema_start=0.995, ema_end=0.995)),
    "time-alone": TIME_ALONE,
    "time-and-large": (CENTRED, changed(masks=(PAPER_MASKS[1], TIME_MASK))),
    "sector": (*BOTH, changed(targets="sector")),
    "still-0": (*BOTH, of_targets(still_share=0.0)),
    "still-0.3": (*BOTH, of_targets(still_share=0.3)),
    "imagenet-pixels": (*BOTH, spec_changed(mean=IMAGENET.mean, std=IMAGENET.std)),
    "crop": (*BOTH, changed(augment="crop", pictures_gb=16.0)),
    "predictor-4": (*BOTH, sized("nano", 2, 64, 4)),
    "predictor-32": (*BOTH, sized("nano", 2, 32, 2)),
    "predictor-128": (*BOTH, sized("nano", 4, 128, 2)),
    "wider": (*BOTH, sized("micro", 3, 96, 2)),
    "frames-8": (*BOTH, spec_changed(frames=8)),
    "patch-8": (*BOTH, lambda c: replace(c, architecture=replace(c.architecture, patch=8))),
    # One factor at a time from `time-alone`, which costs two fifths of `both`.
    "time-still-0": (*TIME_ALONE, of_targets(still_share=0.0)),
    "time-still-0.3": (*TIME_ALONE, of_targets(still_share=0.3)),
    "time-scaled": (*TIME_ALONE, of_targets(scaled=True)),
    "time-moving": (*TIME_ALONE, MOVING),
    "time-moving-0.3": (*TIME_ALONE, MOVING, of_targets(still_share=0.3)),
    "time-layers": (*TIME_ALONE, of_targets(layers="all")),
    "time-layers-moving": (*TIME_ALONE, MOVING, of_targets(layers="all")),
    "large-moving": (CENTRED, MOVING, changed(masks=PAPER_MASKS[1:])),
    "large-time-moving": (CENTRED, MOVING, changed(masks=(PAPER_MASKS[1], TIME_MASK))),
    "large-time-moving-0.3": (
        CENTRED,
        of_targets(still_share=0.3, scaled=True),
        changed(masks=(PAPER_MASKS[1], TIME_MASK)),
    ),
    "time-sector": (*TIME_ALONE, changed(targets="sector")),
    "time-not-centred": (changed(masks=(TIME_MASK,)),),
    "time-lr-1e-3": (*TIME_ALONE, optimised(lr=1e-3)),
    "time-lr-2.5e-4": (*TIME_ALONE, optimised(lr=2.5e-4)),
    "time-ema-fast": (*TIME_ALONE, optimised(ema_start=0.98, ema_end=0.995)),
    "time-ema-slow": (*TIME_ALONE, optimised(ema_start=0.996, ema_end=0.9995)),
    "time-predictor-4": (*TIME_ALONE, sized("nano", 2, 64, 4)),
    "time-patch-8": (*TIME_ALONE, lambda c: replace(c, architecture=replace(c.architecture, patch=8))),
    "time-still-0-patch-8": (
        *TIME_ALONE,
        of_targets(still_share=0.0),
        lambda c: replace(c, architecture=replace(c.architecture, patch=8)),
    ),
    "time-batch-32": (*TIME_ALONE, changed(batch_size=32)),
    "time-places": (*TIME_ALONE, places),
    "both-places": (*BOTH, places),
    # As many for pixels.
    "videomae-lr-3e-4": (videomae, optimised(lr=3e-4)),
    "videomae-lr-2e-3": (videomae, optimised(lr=2e-3)),
    "videomae-time": (videomae, changed(masks=(TUBE_MASK, TIME_MASK))),
    "videomae-time-alone": (videomae, changed(masks=(TIME_MASK,))),
    # As many clips a step, with labels: the recipes of these names.
    "small-supervised": (labelled("supervised"),),
    "small-contrastive": (labelled("contrastive"),),
    "videomae-sector": (videomae, changed(targets="sector")),
    "videomae-imagenet-pixels": (videomae, spec_changed(mean=IMAGENET.mean, std=IMAGENET.std)),
    "videomae-crop": (videomae, changed(augment="crop", pictures_gb=16.0)),
    "videomae-decoder-4": (videomae, sized("nano", 2, 64, 4)),
    "videomae-decoder-128": (videomae, sized("nano", 4, 128, 2)),
    "videomae-wider": (videomae, sized("micro", 3, 96, 2)),
    "videomae-places": (videomae, places),
    "videomae-patch-8": (videomae, lambda c: replace(c, architecture=replace(c.architecture, patch=8))),
}
"""By name: changes of `base`, in order."""


def arm_config(options: argparse.Namespace) -> PretrainConfig:
    """The settings of an arm's run."""
    start = "-start" if options.untrained else f"-pixels-{options.pixels}" if options.pixels else ""
    config = base(options.data, options.runs / f"{options.tag}{options.arm}{start}-s{options.seed}")
    config = replace(config, steps=options.steps, seed=options.seed, pictures=options.runs / "pictures")
    for change in ARMS[options.arm]:
        config = change(config)
    if options.teacher:
        config = of_targets(teacher=options.teacher)(config)
    return replace(config, validate=options.validate)


@dataclass(frozen=True)
class Loops:
    """The loops of training and validation patients that are read out."""

    rows: NDArray[np.int64]
    patients: NDArray[np.int64]
    """Ordinal of the patient of each."""
    validation: NDArray[np.bool_]
    views: NDArray[np.str_]
    lvef: Numbers
    """Of the study; NaN where it is not known."""


def read_loops(store: LoopStore) -> Loops:
    """Rows, patients and labels of training and validation cines."""
    columns = ["study_id", "patient_ordinal", "view"]
    parts = [store.rows_where(columns, split=split, kind=Kind.CINE) for split in (Split.TRAIN, Split.VAL)]
    studies = [study for part in parts for study in part["study_id"].to_pylist()]
    ours = pc.field("study_id").isin(studies) & (pc.field("label") == "lvef")
    known = {row["study_id"]: row["value"] for row in store.labels().filter(ours).to_pylist()}
    rows = [row | {"val": number == 1} for number, part in enumerate(parts) for row in part.to_pylist()]
    return Loops(
        np.array([row["row"] for row in rows]),
        np.array([row["patient_ordinal"] for row in rows]),
        np.array([row["val"] for row in rows]),
        np.array([row["view"] or "" for row in rows]),
        np.array([known.get(row["study_id"], np.nan) for row in rows]),
    )


def layers_of(depth: int) -> list[int]:
    """Blocks after which features are read: at a quarter, half, three quarters, and the end."""
    return sorted({max(1, round(depth * share / 4)) for share in (1, 2, 3, 4)})


@dataclass(frozen=True)
class Blocks:
    """In place of an encoder: the brightness of blocks of some pixels a side and two frames."""

    side: int
    spec: InputSpec

    @property
    def grid(self) -> tuple[int, int, int]:
        """(T', H', W')."""
        return (self.spec.frames // 2, self.spec.size // self.side, self.spec.size // self.side)

    def tokens(self, pixels: Tensor) -> Tensor:
        """Prepared clips (B, 3, T, H, W) -> (B, N, 1)."""
        return F.avg_pool3d(pixels[:, :1], (2, self.side, self.side)).flatten(2).transpose(1, 2)


@torch.inference_mode()
def tokens_of(encoder: VisionTransformer | Blocks, spec: InputSpec, clips: Tensor) -> list[Tensor]:
    """Features (B, N, D) of clips at each layer that is read; layer-normalised, as the last is."""
    if isinstance(encoder, Blocks):
        return [encoder.tokens(prepare(spec, clips))]
    x, rotary = encoder.enter(prepare(spec, clips), None)
    found, wanted = [], layers_of(len(encoder.blocks))
    for number, block in enumerate(encoder.blocks, start=1):
        x = block(x, rotary)
        if number in wanted:
            last = number == len(encoder.blocks)
            found.append(encoder.norm(x) if last else F.layer_norm(x, x.shape[-1:]))
    return found


def tokens_by_layer(
    encoder: VisionTransformer | Blocks, spec: InputSpec, dataset: ClipDataset
) -> Iterator[list[Tensor]]:
    """Of 64 clips at a time, in order, what `tokens_of` gives."""
    for some in torch.arange(len(dataset)).split(64):
        yield tokens_of(encoder, spec, torch.stack([dataset[int(item)][0] for item in some]))


def read_clips(data: Path, spec: InputSpec, pictures: Path, limit_gb: float) -> tuple[Loops, ClipDataset]:
    """The loops that are read out, and the middle clip of each."""
    store = LoopStore.open(data)
    loops = read_loops(store)
    kept = keep_pictures(store, loops.rows, spec, pictures, reduced=True, limit_gb=limit_gb)
    return loops, ClipDataset(store, loops.rows, spec, pictures=kept)


def pooled_forms(tokens: Tensor, grid: tuple[int, int, int]) -> dict[str, Tensor]:
    """A clip's features (B, N, D) in the three forms that ridge is given, each (B, columns): the mean of all
    tokens; mean and spread over time of each quarter of the picture, and of each place."""
    places = tokens.unflatten(1, grid).movedim(-1, 1)
    pooled = F.avg_pool3d(places, (1, grid[1] // 2, grid[2] // 2))
    swing = torch.cat([pooled.mean(2), pooled.std(2)], 1).flatten(1)
    return {"mean": tokens.mean(1), "deviation": swing, "places": moments(tokens, grid).flatten(1)}


def features(
    encoder: VisionTransformer | Blocks, spec: InputSpec, dataset: ClipDataset
) -> dict[tuple[str, int], NDArray[np.float32]]:
    """Every form of every layer of the middle clip of each loop."""
    found: dict[tuple[str, int], list[Tensor]] = {}
    for layers in tokens_by_layer(encoder, spec, dataset):
        for layer, tokens in enumerate(layers):
            for form, values in pooled_forms(tokens, encoder.grid).items():
                found.setdefault((form, layer), []).append(values)
    return {key: torch.cat(parts).float().numpy() for key, parts in found.items()}


def kernel_of(x: NDArray[np.float32], fitted: int) -> Numbers:
    """Inner products (n, n) of features (n, columns), standardised by the first `fitted` of them.

    What hardly varies among these (a corner that is black in nearly all) is not blown up.
    """
    z = x - x[:fitted].mean(0)
    spread = z[:fitted].std(0)
    z /= np.maximum(spread, 0.1 * np.sqrt(np.square(spread).mean()) + 1e-9)
    return (z @ z.T).astype(np.float64)


def ridge(kernel: Numbers, y: Numbers, fit: NDArray[np.int64], rows: NDArray[np.int64]) -> Numbers:
    """Predictions (penalties, rows, outputs) of dual ridge fitted on `fit` to y (n, outputs)."""
    own, other = kernel[np.ix_(fit, fit)], kernel[np.ix_(rows, fit)]
    centre = y[fit].mean(0)
    scale = np.trace(own) / len(fit)
    found = []
    for penalty in PENALTIES:
        own.flat[:: len(fit) + 1] += penalty * scale
        found.append(other @ cho_solve(cho_factor(own, check_finite=False), y[fit] - centre) + centre)
        own.flat[:: len(fit) + 1] -= penalty * scale
    return np.stack(found)


@dataclass(frozen=True)
class Question:
    """What is read out, from which loops, and how far a prediction is from the truth (less is better)."""

    y: Numbers
    """(n, outputs)."""
    usable: NDArray[np.bool_]
    wrong: Callable[[Numbers, Numbers], Numbers]
    """Of predictions (..., m, outputs) and truth (m, outputs): (..., m)."""


def misplaced(predicted: Numbers, truth: Numbers) -> Numbers:
    """1 where the largest output is another class."""
    return (predicted.argmax(-1) != truth.argmax(-1)).astype(float)


def off_by(predicted: Numbers, truth: Numbers) -> Numbers:
    """Absolute error of the first output."""
    return np.abs(predicted[..., 0] - truth[..., 0])


def questions(loops: Loops) -> dict[str, Question]:
    """Views of all loops, and the study's LVEF from apical ones."""
    classes = np.unique(loops.views)
    apical = np.isin(loops.views, [str(View.A4C), str(View.A2C)])
    onehot = (loops.views[:, None] == classes).astype(np.float64)
    return {
        "views": Question(onehot, loops.views != "", misplaced),
        "lvef": Question(np.nan_to_num(loops.lvef)[:, None], apical & np.isfinite(loops.lvef), off_by),
    }


def folds_of(patients: NDArray[np.int64], rows: NDArray[np.int64], purpose: int) -> NDArray[np.int64]:
    """A fold of each row, whole patients together, by a draw that is the same for every arm."""
    unique = np.unique(patients[rows])
    dealt = np.random.default_rng(purpose).permutation(len(unique)) % FOLDS
    return dealt[np.searchsorted(unique, patients[rows])]


def few_labels(patients: NDArray[np.int64], rows: NDArray[np.int64], share: float) -> NDArray[np.int64]:
    """The rows of a share of the patients, at least six, by a draw that is the same for every arm."""
    unique = np.random.default_rng(7).permutation(np.unique(patients[rows]))
    chosen = unique[: max(6, round(share * len(unique)))]
    return rows[np.isin(patients[rows], chosen)]


def choose(
    layers: list[Numbers], ask: Question, patients: NDArray[np.int64], fit: NDArray[np.int64]
) -> tuple[int, int]:
    """Layer, of which `layers` has the kernels, and penalty with the least error by folds over patients."""
    fold = folds_of(patients, fit, 1)
    errors = np.zeros((len(layers), len(PENALTIES)))
    for layer, kernel in enumerate(layers):
        for number in np.unique(fold):
            inner, held = fit[fold != number], fit[fold == number]
            predicted = ridge(kernel, ask.y, inner, held)
            errors[layer] += ask.wrong(predicted, ask.y[held]).sum(-1)
    layer, penalty = np.unravel_index(errors.argmin(), errors.shape)
    return int(layer), int(penalty)


def predicted(
    layers: list[NDArray[np.float32]],
    ask: Question,
    loops: Loops,
    *,
    cross: bool,
    share: float = 1.0,
) -> tuple[NDArray[np.int64], Numbers, list[int]]:
    """Rows that were predicted, the error of each, and the layers chosen, of features (loops, columns)."""
    rows = np.flatnonzero(ask.usable)
    if cross:
        fold = folds_of(loops.patients, rows, 2)
        pairs = [(rows[fold != number], rows[fold == number]) for number in range(FOLDS)]
    else:
        pairs = [(rows[~loops.validation[rows]], rows[loops.validation[rows]])]
    asked, errors, chosen = [], [], []
    for fit, held in pairs:
        if share < 1:
            fit = few_labels(loops.patients, fit, share)
        if len(fit) > FIT_AT_MOST:
            fit = np.sort(np.random.default_rng(3).permutation(fit)[:FIT_AT_MOST])
        read, own = np.concatenate([fit, held]), np.arange(len(fit))
        part = Question(ask.y[read], ask.usable[read], ask.wrong)
        kernels = [kernel_of(x[read], len(fit)) for x in layers]
        layer, penalty = choose(kernels, part, loops.patients[read], own)
        output = ridge(kernels[layer], part.y, own, np.arange(len(fit), len(read)))[penalty]
        asked.append(held)
        errors.append(ask.wrong(output, ask.y[held]))
        chosen.append(layer)
    return np.concatenate(asked), np.concatenate(errors), chosen


def interval(errors: Numbers, patients: NDArray[np.int64]) -> list[float]:
    """Mean over loops and its 95 % interval by resampling patients."""
    unique, place = np.unique(patients, return_inverse=True)
    sums, counts = np.bincount(place, errors), np.bincount(place)
    drawn = np.random.default_rng(0).integers(len(unique), size=(RESAMPLES, len(unique)))
    means = sums[drawn].sum(1) / counts[drawn].sum(1)
    return [float(errors.mean()), *map(float, np.quantile(means, [0.025, 0.975]))]


READOUTS = {
    "views mean": ("views", "mean", 1.0),
    "views deviation": ("views", "deviation", 1.0),
    "views places": ("views", "places", 1.0),
    "views mean 5%": ("views", "mean", FEW),
    "views deviation 5%": ("views", "deviation", FEW),
    "views places 5%": ("views", "places", FEW),
    "lvef mean": ("lvef", "mean", 1.0),
    "lvef deviation": ("lvef", "deviation", 1.0),
    "lvef places": ("lvef", "places", 1.0),
}
"""By name: the question, the form of the features, and the share of patients with labels. Errors: the share
of loops in the wrong view, LVEF points off by loop."""


def read_out(
    encoder: VisionTransformer | Blocks, config: PretrainConfig, options: argparse.Namespace
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Figures of an encoder, and the error of each loop behind them, for paired intervals."""
    loops, dataset = read_clips(config.data, config.spec, options.runs / "pictures", config.pictures_gb)
    found = features(encoder, config.spec, dataset)
    asked = questions(loops)
    figures: dict[str, Any] = {}
    errors: dict[str, NDArray[Any]] = {"rows": loops.rows, "patients": loops.patients}
    for name, (question, form, share) in READOUTS.items():
        layers = [found[form, layer] for layer in range(len(found) // 3)]
        rows, wrong, chosen = predicted(layers, asked[question], loops, cross=options.cross, share=share)
        figures[name] = [*interval(wrong, loops.patients[rows]), chosen]
        errors[f"{name}/rows"], errors[f"{name}/errors"] = rows, wrong
    apical = np.flatnonzero(asked["lvef"].usable)
    middle = np.median(loops.lvef[apical[~loops.validation[apical]]])
    held = apical if options.cross else apical[loops.validation[apical]]
    figures["lvef constant"] = interval(np.abs(loops.lvef[held] - middle), loops.patients[held])
    return figures, errors


def run_arm(options: argparse.Namespace) -> None:
    """Pretrain an arm, or go on with it, read it out, and add its line to arms.jsonl."""
    torch.set_num_threads(1)
    config = arm_config(options)
    config.out.mkdir(parents=True, exist_ok=True)
    clock = config.out / "cpu_seconds.json"
    before = json.loads(clock.read_text(encoding="utf-8")) if clock.exists() else 0.0

    def progress(done: int, total: int, note: str) -> None:
        if done % 100 == 0 or done == total:
            clock.write_text(json.dumps(before + time.process_time()), encoding="utf-8")
            print(f"{options.arm} {done}/{total} {note} {time.process_time():.0f} s", flush=True)

    summary: dict[str, Any] = {"steps": 0, "clips": 0, "flops": 0, "loss": None, "warnings": []}
    spent = 0.0
    if options.pixels:
        encoder = Blocks(options.pixels, config.spec)
    elif options.untrained:
        encoder = build_encoder(config).eval()
    else:
        summary = dataclasses.asdict(pretrain(config, progress))
        encoder, spent = load_weights(config.out).build_encoder().eval(), json.loads(clock.read_text("utf-8"))
    began = time.process_time()
    figures, errors = read_out(encoder, config, options)
    np.savez_compressed(config.out / "readouts.npz", **errors)
    line = {
        "arm": "random" if options.untrained else "pixels" if options.pixels else options.arm,
        "tag": options.tag, "seed": options.seed, "run": config.out.name,
        "data": str(config.data), "cross": options.cross, "cpu_seconds": round(spent),
        "readout_seconds": round(time.process_time() - began),
        **{name: summary[name] for name in ("steps", "clips", "flops", "loss", "warnings")},
        "readouts": figures, "note": options.note, "config": json.loads(encode(config)),
    }  # fmt: skip
    with (options.runs / "arms.jsonl").open("a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
    for name, values in figures.items():
        print(name, np.round(values[:3], 3), *values[3:])


def table(options: argparse.Namespace) -> None:
    """Print every arm's read-outs, and where a random row of its kind is there, the paired difference."""
    lines = [json.loads(line) for line in (options.runs / "arms.jsonl").open(encoding="utf-8")]
    names = [*READOUTS]
    print("| arm | seed | clips | updates | CPU min | " + " | ".join(names) + " |")
    print("|" + "---|" * (5 + len(names)))
    for line in lines:
        cells = [shown(name, line["readouts"].get(name)) for name in names]
        head = [line["run"], line["seed"], line["clips"], line["steps"], round(line["cpu_seconds"] / 60, 1)]
        print("| " + " | ".join(map(str, head + cells)) + " |")
    print("\nPaired differences to the random start of the same seed and data (accuracy: more is better)")
    for line in lines:
        start = [other for other in lines if other["arm"] == "random" and kind_of(other) == kind_of(line)]
        if start and line["arm"] != "random":
            print(line["run"], {name: against(options.runs, line, start[-1], name) for name in names})


def kind_of(line: dict[str, Any]) -> list[Any]:
    """What an arm's random start must share with it: data, read-outs, seed, input and encoder."""
    return [line[key] for key in ("seed", "data", "cross")] + [
        line["config"][key] for key in ("architecture", "spec")
    ]


def shown(name: str, values: list[Any] | None) -> str:
    """A figure with its interval, accuracy in %, LVEF in points; nothing where a line is older than it."""
    if values is None:
        return ""
    mean, low, high = values[:3]
    if name.startswith("views"):
        mean, low, high = 100 * (1 - mean), 100 * (1 - high), 100 * (1 - low)
    return f"{mean:.1f} ({low:.1f}, {high:.1f})"


def against(runs: Path, line: dict[str, Any], start: dict[str, Any], name: str) -> str:
    """What an arm has over its random start, with a paired interval over patients."""
    mine, other = (np.load(runs / one["run"] / "readouts.npz") for one in (line, start))
    if f"{name}/rows" not in mine or f"{name}/rows" not in other:
        return ""
    if not np.array_equal(mine[f"{name}/rows"], other[f"{name}/rows"]):
        return "other loops"
    gain = other[f"{name}/errors"] - mine[f"{name}/errors"]
    values = np.array(interval(gain, mine["patients"][mine[f"{name}/rows"]]))
    values = 100 * values if name.startswith("views") else values
    return "{:+.1f} ({:+.1f}, {:+.1f})".format(*values)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("arm", nargs="?", choices=list(ARMS))
    parser.add_argument("--data", type=Path)
    parser.add_argument("--runs", type=Path, required=True)
    parser.add_argument("--steps", type=int, default=5000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tag", default="", help="set before the run's name")
    parser.add_argument("--teacher", type=Path, help="a finished run whose encoder makes JEPA's targets")
    parser.add_argument("--note", default="", help="written with the line")
    parser.add_argument("--untrained", action="store_true", help="read out the arm's random start instead")
    parser.add_argument("--pixels", type=int, default=0, help="read blocks of so many pixels a side instead")
    parser.add_argument("--validate", type=int, default=0, help="loops read out every 5 %% of a run")
    parser.add_argument("--cross", action="store_true", help="predict all patients by folds")
    parser.add_argument("--table", action="store_true")
    options = parser.parse_args()
    if options.table:
        table(options)
    elif options.arm and options.data:
        run_arm(options)
    else:
        parser.error("give an arm and --data, or --table")


if __name__ == "__main__":
    main()
