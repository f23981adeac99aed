"""Backbones x tasks: probe each, score each, one long table of numbers with their uncertainty."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from echojepa.backbones.contract import Backbone
from echojepa.backbones.loading import load_backbone
from echojepa.config import ConfigError, EvaluateConfig, ProbeConfig
from echojepa.data.clips import ClipDataset
from echojepa.data.splits import check_no_leakage
from echojepa.data.store import LoopStore, replace_parquet
from echojepa.errors import UserError
from echojepa.evaluation.features import Features, extract_features
from echojepa.evaluation.intervals import bootstrap_interval
from echojepa.evaluation.metrics import METRICS, unit_of
from echojepa.evaluation.probing import (
    Labelled,
    ProbeResult,
    attentive_probe,
    constant_probe,
    ridge_probe,
)
from echojepa.models.probe import Probes
from echojepa.tasks import TASKS, Task
from echojepa.training.checkpoint import save_tensors, write_text_atomically
from echojepa.vocabulary import Kind, Split


class Progress(Protocol):
    """What is told about long work."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total`, and what is being done."""
        ...


@dataclass(frozen=True)
class Cohort:
    """The labelled cine loops of a data set: one entry a loop, by row of its table."""

    rows: list[int]
    loop: dict[int, dict[str, str]]
    labels: dict[tuple[str, str], float]


def read_cohort(store: LoopStore) -> Cohort:
    """Cine loops and labels; raises LeakageError when a patient stands in two splits."""
    table = store.metadata(["loop_id", "study_id", "patient_id", "split", "view", "kind"]).to_pylist()
    check_no_leakage((row["patient_id"] for row in table), (row["split"] for row in table))
    rows = [number for number, row in enumerate(table) if row["kind"] == Kind.CINE and row["view"]]
    labels = {(row["study_id"], row["label"]): row["value"] for row in store.labels().to_pylist()}
    return Cohort(rows, {number: table[number] for number in rows}, labels)


def label_clips(cohort: Cohort, features: Features, task: Task) -> Labelled:
    """The clips that have the task's label, with everything a probe needs.

    Raises UserError for labels outside the task's range and for a split without labelled patients.
    """
    usable = [
        row
        for row in cohort.rows
        if (task.views is None or cohort.loop[row]["view"] in task.views)
        and (task.label == "view" or (cohort.loop[row]["study_id"], task.label) in cohort.labels)
    ]
    chosen = features.of_rows(usable)
    loops = [cohort.loop[row] for row in chosen.rows.tolist()]
    if task.kind == "classification":
        classes = tuple(sorted({loop[task.label] for loop in loops}))
        truth = torch.tensor([classes.index(loop[task.label]) for loop in loops])
    else:
        classes = ()
        values = [cohort.labels[loop["study_id"], task.label] for loop in loops]
        low, high = task.valid_range or (-np.inf, np.inf)
        outside = [value for value in values if not low <= value <= high]
        if outside:
            raise UserError(
                f"{len(outside)} labels '{task.label}' lie outside {low} to {high} {task.unit}, "
                f"e.g. {outside[0]}; correct the table of labels and ingest it again"
            )
        truth = torch.tensor(values, dtype=torch.float32)
    level = "study_id" if task.level == "study" else "loop_id"
    items, patients, splits = (
        np.array([loop[name] for loop in loops]) for name in (level, "patient_id", "split")
    )
    data = Labelled(chosen, truth, items, patients, splits, classes)
    for split in Split:
        if not len(data.within(split)):
            raise UserError(f"task {task.name}: no labelled loops of {split} patients; ingest more patients")
    return data


def run_probes(config: ProbeConfig, progress: Progress) -> list[Path]:
    """Probe every backbone on every task; returns the folders written.

    A folder whose `probe.json` is there is finished and not repeated.
    """
    unknown = sorted(set(config.tasks) - TASKS.keys())
    if unknown:
        raise ConfigError(f"unknown tasks {unknown}. Known: {', '.join(sorted(TASKS))}")
    store = LoopStore.open(config.data)
    cohort = read_cohort(store)
    folders = []
    for name in config.backbones:
        backbone = load_backbone(name, precision=config.precision, engine=config.engine)
        wanted = [(TASKS[task], config.out / task / slug(backbone.name)) for task in config.tasks]
        folders += [folder for _, folder in wanted]
        wanted = [(task, folder) for task, folder in wanted if not probed(folder, backbone)]
        if not wanted:
            continue
        dataset = ClipDataset(store, cohort.rows, backbone.spec, clips_per_loop=config.clips_per_loop)
        note = f"clips through {backbone.name}"
        features = extract_features(backbone, dataset, config.batch_size, partial(progress, note=note))
        write_embeddings(config.out / "embeddings" / f"{slug(backbone.name)}.parquet", cohort, features)
        for number, (task, folder) in enumerate(wanted):
            progress(number, len(wanted), f"{backbone.name}: probing {task.name}")
            probe_task(label_clips(cohort, features, task), task, backbone, config, folder)
    return folders


def probed(folder: Path, backbone: Backbone) -> bool:
    """Whether a folder holds this backbone's probes; ConfigError where they are of another of its name."""
    facts = folder / "probe.json"
    if not facts.exists():
        return False
    before = json.loads(facts.read_text(encoding="utf-8"))["backbone_sha256"]
    if before != backbone.sha256:
        raise ConfigError(
            f"{folder} holds probes of other weights that are called '{backbone.name}' too "
            f"(sha256 {before[:12]}, not {backbone.sha256[:12]}); give another --out for these"
        )
    return True


def probe_task(data: Labelled, task: Task, backbone: Backbone, config: ProbeConfig, folder: Path) -> None:
    """Every kind of probe of one task on one backbone's features; `probe.json` is written last."""
    attentive, model = attentive_probe(data, task, config)
    results = [attentive, ridge_probe(data, task)]
    folder.mkdir(parents=True, exist_ok=True)
    write_predictions(folder / "predictions.parquet", task, backbone.name, results, data)
    constant = folder.parent / "constant"
    constant.mkdir(exist_ok=True)
    write_predictions(constant / "predictions.parquet", task, "constant", [constant_probe(data, task)], data)
    save_probe(folder, model, data, task, backbone, attentive)


def save_probe(
    folder: Path, model: Probes, data: Labelled, task: Task, backbone: Backbone, result: ProbeResult
) -> None:
    """Write the chosen head's tensors and, last, `probe.json` with all that is needed to read them."""
    save_tensors(folder / "probe.safetensors", dict(model.state_dict()))
    facts = {
        "task": task.name,
        "unit": task.unit,
        "classes": data.classes,
        "backbone": backbone.name,
        "backbone_sha256": backbone.sha256,
        "embed_dim": backbone.embed_dim,
        "grid": data.features.grid,
        "chosen": result.chosen,
        "converged": result.converged,
        "history": result.history,
    }
    write_text_atomically(folder / "probe.json", json.dumps(facts, indent=2) + "\n")


def slug(name: str) -> str:
    """A backbone's name as a folder's."""
    return name.lower().replace(" ", "-")


def write_predictions(
    path: Path, task: Task, backbone: str, results: list[ProbeResult], data: Labelled
) -> None:
    """One row an item and probe, for every split, with ids, truth and prediction in clinical units."""
    tables = []
    for result in results:
        p = result.predictions
        columns = {"item_id": p.items, "patient_id": p.patients, "split": p.splits, "truth": p.truth,
                   "prediction": p.prediction}  # fmt: skip
        if data.classes:
            names = np.array(data.classes)
            columns |= {
                "truth_class": names[p.truth.astype(int)],
                "predicted_class": names[p.prediction.astype(int)],
            }
        table = pa.table(columns)
        for name, value in (
            ("unit", task.unit),
            ("probe", result.probe),
            ("backbone", backbone),
            ("task", task.name),
        ):
            table = table.add_column(0, name, pa.array([value] * table.num_rows))
        tables.append(table)
    replace_parquet(path, pa.concat_tables(tables))


def write_embeddings(path: Path, cohort: Cohort, features: Features) -> None:
    """Pooled features of test loops (first clip of each), for maps."""
    path.parent.mkdir(parents=True, exist_ok=True)
    first = dict(reversed(list(enumerate(features.rows.tolist()))))
    chosen = [
        (number, cohort.loop[row]) for number, row in first.items() if cohort.loop[row]["split"] == Split.TEST
    ]
    pooled = features.pooled[[number for number, _ in chosen]].numpy()
    columns = {name: [loop[name] for _, loop in chosen] for name in ("loop_id", "patient_id", "view")}
    replace_parquet(path, pa.table(columns | {"embedding": list(pooled)}))


def evaluate(config: EvaluateConfig, progress: Progress) -> pa.Table:
    """Score the test items of every prediction table; writes and returns `results.parquet`."""
    files = sorted(config.probes.glob("*/*/predictions.parquet"))
    if not files:
        raise UserError(f"{config.probes} holds no predictions; run `echojepa probe` first")
    rows = []
    for number, file in enumerate(files):
        for probe in sorted(set(pq.read_table(file, columns=["probe"])["probe"].to_pylist())):
            chosen = [("split", "==", str(Split.TEST)), ("probe", "==", probe)]
            rows += score_rows(pq.read_table(file, filters=chosen), config)
        progress(number + 1, len(files), file.parent.name)
    results = pa.Table.from_pylist(rows)
    config.out.mkdir(parents=True, exist_ok=True)
    replace_parquet(config.out / "results.parquet", results)
    return results


def score_rows(table: pa.Table, config: EvaluateConfig) -> list[dict[str, object]]:
    """A row a metric for the predictions of one backbone, probe and task."""
    facts = {name: table[name][0].as_py() for name in ("task", "backbone", "probe")}
    task = TASKS[facts["task"]]
    truth, prediction, patients = (table[name].to_numpy() for name in ("truth", "prediction", "patient_id"))
    rows = []
    for name, metric in METRICS[task.kind].items():
        if not metric.can_score(prediction):
            continue  # the table holds classes, no probabilities
        low, high = bootstrap_interval(
            truth, prediction, patients, metric, resamples=config.resamples, seed=config.seed
        )
        counts = {"patients": len(set(patients)), "items": len(truth)}
        value = {"value": metric(truth, prediction), "lo": low, "hi": high, "unit": unit_of(name, task.unit)}
        rows.append(facts | {"split": str(Split.TEST), "metric": name} | value | counts)
    return rows
