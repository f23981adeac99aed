"""A trained probe's folder: tensors, how it was chosen, and its predictions under each condition.

`probe.json`, written after the tensors, says that the training is finished; a file of predictions, that a
condition is. What is there is not made again.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor

from echojepa.data.store import replace_parquet
from echojepa.evaluation.probes.heads import ConstantProbe, Fitted, HeadProbe, Readout, ReducedProbe
from echojepa.evaluation.probes.predictions import ItemPredictions
from echojepa.evaluation.probes.ridge import RidgeProbe
from echojepa.evaluation.protocol.plans import Cell, Condition
from echojepa.models.probe import Probes, ProbeShape, Scale, Standardiser
from echojepa.training.checkpoint import load_safetensors, save_tensors, write_text_atomically

FACTS, TENSORS = "probe.json", "probe.safetensors"


def slug(name: str) -> str:
    """A name as a part of a path."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


def save_fitted(folder: Path, fitted: Fitted, facts: dict[str, Any]) -> None:
    """Write the probe's tensors and, last, `probe.json` with all that is needed to read them."""
    folder.mkdir(parents=True, exist_ok=True)
    save_tensors(folder / TENSORS, fitted.readout.tensors())
    whole = facts | {
        "readout": described(fitted.readout),
        "chosen": fitted.chosen,
        "converged": fitted.converged,
        "history": fitted.history,
    }
    write_text_atomically(folder / FACTS, json.dumps(whole, indent=2) + "\n")


def described(readout: Readout) -> dict[str, Any]:
    """What must be known beside the tensors."""
    if isinstance(readout, ReducedProbe):
        return {"kind": "reduced", "inner": described(readout.inner)}
    if isinstance(readout, HeadProbe):
        shape = asdict(readout.model.shape)
        return {"kind": "heads", "shape": shape, "batch_size": readout.batch_size}
    if isinstance(readout, RidgeProbe):
        return {"kind": "ridge", "classes": readout.classes}
    return {"kind": "constant"}


def load_readout(folder: Path) -> Readout:
    """The probe of a folder; CheckpointError where its tensors are damaged."""
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return rebuilt(facts["readout"], load_safetensors(folder / TENSORS))


def was_settled(folder: Path) -> bool:
    """Whether a folder's probe had stopped improving on validation patients when its training ended."""
    return json.loads((folder / FACTS).read_text(encoding="utf-8"))["converged"]


def rebuilt(facts: dict[str, Any], tensors: dict[str, Tensor]) -> Readout:
    """The probe that `described` describes."""
    if facts["kind"] == "reduced":
        prefix = "components."
        parts = {
            name.removeprefix(prefix): tensors.pop(name) for name in list(tensors) if name.startswith(prefix)
        }
        inner = rebuilt(facts["inner"], tensors)
        return ReducedProbe(inner, Standardiser(parts["mean"], parts["std"]), parts["axes"])
    if facts["kind"] == "heads":
        shape = ProbeShape(**facts["shape"] | {"grid": tuple(facts["shape"]["grid"])})
        blank = Standardiser(torch.empty_like(tensors["input_mean"]), torch.empty_like(tensors["input_std"]))
        model = Probes(1, shape, blank, Scale(), torch.Generator())
        model.load_state_dict(tensors)
        return HeadProbe(model, facts["batch_size"])
    if facts["kind"] == "ridge":
        fitted = Standardiser(tensors["input_mean"], tensors["input_std"])
        return RidgeProbe(fitted, tensors["weights"], tensors["centre"], facts["classes"])
    return ConstantProbe(tensors["value"])


def about(cell: Cell, classes: tuple[str, ...]) -> dict[str, Any]:
    """What a cell is, for its files."""
    return {
        "task": cell.task.name,
        "unit": cell.task.unit,
        "classes": classes,
        "probe": cell.probe.name,
        "trained_on": cell.trained_on,
        "fraction": cell.fraction,
        "seed": cell.seed,
    }


def predictions_file(folder: Path, condition: Condition, extent: str) -> Path:
    """Where the predictions under a condition stand. `extent` says what else they depend on."""
    facts = json.dumps([asdict(condition), extent], sort_keys=True)
    return folder / f"predictions-{hashlib.sha256(facts.encode()).hexdigest()[:12]}.parquet"


def write_predictions(
    path: Path,
    made: ItemPredictions,
    cell: Cell,
    condition: Condition,
    facts: dict[str, Any],
    classes: tuple[str, ...],
) -> None:
    """One row an item: ids, truth, prediction in clinical units; the file's metadata says what made them."""
    columns: dict[str, Any] = {
        "item_id": made.items,
        "patient_id": made.patients,
        "split": made.splits,
        "site": made.sites,
        "truth": made.truth,
    }
    if classes:
        names, likeliest = np.array(classes), made.prediction.argmax(1)
        columns |= {
            "prediction": likeliest.astype(float),
            "truth_class": names[made.truth.astype(int)],
            "predicted_class": names[likeliest],
            "probabilities": list(made.prediction),
        }
    else:
        columns["prediction"] = made.prediction
    whole = facts | about(cell, classes) | {"condition": asdict(condition)}
    table = pa.table(columns).replace_schema_metadata({"echojepa": json.dumps(whole)})
    replace_parquet(path, table)


def read_predictions(path: Path) -> tuple[ItemPredictions, dict[str, Any]]:
    """Predictions and what made them."""
    table = pq.read_table(path)
    made_by = json.loads((table.schema.metadata or {})[b"echojepa"])
    names = ("item_id", "patient_id", "split", "site")
    items, patients, splits, sites = (np.array(table[name].to_pylist(), dtype=str) for name in names)
    column = "probabilities" if made_by["classes"] else "prediction"
    values = np.array(table[column].to_pylist(), dtype=np.float64)
    truth = table["truth"].to_numpy()
    return ItemPredictions(items, patients, splits, sites, truth, values), made_by
