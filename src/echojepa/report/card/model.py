"""Sections on the encoder, its training and how it is judged."""

from __future__ import annotations

from importlib.metadata import version

from echojepa.config import FrozenConfig, PretrainConfig
from echojepa.evaluation.results import EVERYBODY, count_probes
from echojepa.report.card.records import Records
from echojepa.report.card.sections import Missing, Section
from echojepa.report.card.study import AUTHORS
from echojepa.report.provenance import LIBRARIES
from echojepa.version import __version__


def encoder(records: Records) -> Section:
    """What it is made of."""
    card, run = records.weights, records.pretraining
    grid = " x ".join(str(side) for side in card.architecture.grid(card.spec))
    shape = card.architecture.dimensions
    told = (
        f"A vision transformer of {shape.depth} blocks, {shape.width} wide, {shape.heads} heads: "
        f"{records.parameters:,} parameters. Tubelets of {card.architecture.tubelet} frames by "
        f"{card.architecture.patch} px; a clip is {grid} tokens (time, height, width).",
        f"Weights began {f'as those of {run.start.name}' if run.start else 'at random'} (seed {run.seed}).",
        "Its output is one vector for each token. Probes turn them into a value in the unit of the "
        "label, or into a probability for each class. The likeliest class counts; there is no other "
        "threshold.",
        f"To use it: `echojepa embed` or `load_backbone` with the weights of sha256 {card.sha256}.",
        f"Made with echojepa {card.version}; this card by echojepa {__version__}, "
        + ", ".join(f"{name} {version(name)}" for name in LIBRARIES)
        + ".",
    )
    return Section("Model", "15 22", "22 23 24", told)


def training(records: Records) -> Section:
    """Pretraining and probes."""
    run, origin, settings = records.pretraining, records.weights.origin, records.settings
    seconds = sum(line.get("seconds", 0.0) for line in records.steps)
    flops = f", {origin.flops:.3g} FLOPs" if origin.flops else ""
    losses = [line["loss"] for line in records.steps if "loss" in line]
    told = [
        f"Pretraining {learned_from(run)}. {origin.steps or run.steps} updates of {run.batch_size} clips "
        f"({origin.clips or 0:,} in all){flops}; AdamW, learning rate {run.optim.lr:g}, weight decay "
        f"{run.optim.weight_decay:g}, warm-up over {100 * run.optim.warmup:g} % of them and cooldown over "
        f"{100 * run.optim.cooldown:g} %. The steps took {seconds:.0f} s.",
        "The weights are from the last update.",
    ]
    if losses:
        told.append(f"Loss {losses[0]:.3f} at the start, {losses[-1]:.3f} at the end.")
    warned = dict.fromkeys(w for line in records.steps for w in line.get("warnings", ()))
    told += [f"Warned while training: {text}" for text in warned]
    if settings:
        told.append(f"Probes: {grid_of(settings)}. Validation patients chose among them; no ensemble.")
    probes, unconverged = count_probes(records.own)
    if unconverged:
        told.append(f"{unconverged} of its {probes} probes were still improving when training ended.")
    said = (
        ()
        if settings
        else (Missing("how probes were trained", "a person who has config.json of the results"),)
    )
    return Section("Training", "12c", "25 26 27", tuple(told), said)


def learned_from(run: PretrainConfig) -> str:
    """What the encoder was trained to tell."""
    teacher = run.latent.teacher
    whose = (
        f"the frozen encoder '{teacher.name}'" if teacher else "a moving average of the encoder itself (EMA)"
    )
    return {
        "jepa": f"predicts the features of hidden tubelets by {whose}",
        "videomae": "predicts the pixels of hidden tubelets",
        "supervised": "predicts labels of training patients: LVEF, RVSP and view",
        "contrastive": "matches a clip with its report among the others of its batch; reports are "
        "phrases graded by labels of training patients",
    }[run.objective]


def grid_of(settings: FrozenConfig) -> str:
    """How heads were trained."""
    rates = ", ".join(f"{rate:g}" for rate in settings.learning_rates)
    decays = ", ".join(f"{decay:g}" for decay in settings.weight_decays)
    return (
        f"heads with learning rates {rates} and weight decays {decays}, {settings.epochs} passes and "
        f"{settings.min_steps} steps at least, batches of {settings.batch_size}, seed {settings.seed}"
    )


def judged(records: Records) -> Section:
    """Metrics, intervals, robustness, explanation."""
    metrics = list(dict.fromkeys(row.metric for row in records.own if row.group == EVERYBODY))
    perturbed = sorted({row.perturbation for row in records.rows} - {""})
    resamples = f"{records.settings.resamples} resamples of " if records.settings else ""
    told = [
        f"Measured on test patients: {', '.join(metrics) or 'nothing of this encoder'}.",
        f"95 % intervals by {resamples}patients, not loops; backbones against each other on the same "
        "patients by paired permutation, with Holm's correction.",
        "Each number is compared with those of the encoder's random start and of a constant.",
        "Explanation: attention of its last block, and `echojepa attend` with occlusion as a test.",
        "Predictions are the probe's outputs, averaged over clips and over a study's loops. Nothing was "
        "recalibrated or updated after testing.",
    ]
    if perturbed:
        told.append(f"Robustness: LVEF under {', '.join(perturbed)}.")
    missing = [] if perturbed else [Missing("robustness", "a person who runs `echojepa evaluate robustness`")]
    missing.append(Missing("the value of each measure in care (clinical utility)", AUTHORS))
    return Section("Evaluation", "12d 12e 12f 12g", "28 29 30 31", tuple(told), tuple(missing))


def fairness(records: Records) -> Section:
    """Imbalance and groups."""
    groups = sorted({row.group for row in records.own if "minus" not in row.metric} - {EVERYBODY})
    told = (
        "Classes were not reweighted or resampled, and groups were not balanced.",
        f"The leading metric is reported by group: {', '.join(groups)}."
        if groups
        else "No group of patients is large enough to report (20 patients), or no groups are stated.",
    )
    return Section("Imbalance and fairness", "13 14", "", told)
