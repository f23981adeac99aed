"""A trained probe's folder: tensors, a card of how it was chosen, and its predictions under each condition.

The card, written after the tensors, says that the training is finished; a file of predictions, that a
condition is. What is there is not made again.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections import defaultdict
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from echojepa.errors import ConfigError, UserError
from echojepa.evaluation.features.backbones import BackboneFacts
from echojepa.evaluation.probes.fitting import COMPONENTS, OverTimeProbe, Readout, ReducedProbe
from echojepa.evaluation.probes.heads import Choice, HeadProbe
from echojepa.evaluation.probes.own import VectorProbe
from echojepa.evaluation.probes.predictions import Predictions
from echojepa.evaluation.probes.ridge import RidgeProbe
from echojepa.evaluation.protocol.plans import EVERYWHERE, Cell, Condition
from echojepa.files.records import decode_plain, read_plain, write_record
from echojepa.files.tables import TableError, read_parquet, write_parquet
from echojepa.models.probe import Probes, ProbeShape, Scale, Standardiser
from echojepa.weights.tensors import CheckpointError, below, load_safetensors, save_tensors

CARD, TENSORS, PROBES_FOLDER = "probe.json", "probe.safetensors", "probes"
FORMAT_VERSION = 2
"""Of the card. Version 1 did not say whether patients were set aside to calibrate, nor which backbone a
fine-tuned probe reads."""


@dataclass(frozen=True, kw_only=True)
class ProbeCard(BackboneFacts):
    """What a stored probe is, of which backbone, and how it was chosen."""

    task: str
    unit: str
    classes: tuple[str, ...]
    probe: str
    """Name of its kind."""
    trained_on: str
    """Site, or EVERYWHERE."""
    fraction: float
    seed: int
    calibrated: bool | None
    """Whether some validation patients were set aside; None where a card of version 1 does not say."""
    grid: tuple[int, int, int]
    readout: dict[str, Any]
    """What must be known beside the tensors."""
    chosen: dict[str, float]
    """The settings that validation patients chose."""
    converged: bool
    """Whether it had stopped improving on validation patients when its training ended."""
    history: dict[str, list[float]]
    finetuned: dict[str, Any] | None = None
    """Of a probe whose encoder was trained with it: what that depended on."""
    format_version: int = FORMAT_VERSION


def describe_cell(cell: Cell, classes: tuple[str, ...]) -> dict[str, Any]:
    """What a card says of a cell."""
    return {
        "task": cell.task.name,
        "unit": cell.task.unit,
        "classes": classes,
        "probe": cell.probe.name,
        "trained_on": cell.trained_on,
        "fraction": cell.fraction,
        "seed": cell.seed,
        "calibrated": cell.calibrated,
    }


def slug(name: str) -> str:
    """A name as a part of a path."""
    return "-".join("".join(c if c.isalnum() else " " for c in name.lower()).split())


@dataclass(frozen=True)
class StoredProbe:
    """A probe's folder."""

    folder: Path

    @property
    def finished(self) -> bool:
        """Whether its training is."""
        return (self.folder / CARD).is_file()

    def save(
        self,
        readout: Readout,
        choice: Choice,
        cell: Cell,
        classes: tuple[str, ...],
        grid: tuple[int, int, int],
        backbone: BackboneFacts,
        finetuned: dict[str, Any] | None = None,
    ) -> None:
        """Write the probe's tensors and, last, its card."""
        self.folder.mkdir(parents=True, exist_ok=True)
        save_tensors(self.folder / TENSORS, readout.tensors())
        card = ProbeCard(
            **asdict(backbone), **describe_cell(cell, classes), grid=grid, readout=described(readout),
            chosen=choice.settings, converged=choice.converged, history=choice.history, finetuned=finetuned,
        )  # fmt: skip
        write_record(self.folder / CARD, card)

    def card(self) -> ProbeCard:
        """Its card, of either version; ConfigError where it was cut or changed."""
        path = self.folder / CARD
        facts = read_plain(path)
        if "format_version" not in facts:
            start = (facts.get("finetuned") or {}).get("start", {})
            unsaid = {"backbone": start.get("name", ""), "weights": "", "parameters": 0, "tokens": 0}
            facts = unsaid | {"embed_dim": 0, "calibrated": None, "format_version": 1} | facts
        try:
            return decode_plain(ProbeCard, {"finetuned": None} | facts)
        except ConfigError as error:
            raise ConfigError(
                f"{path} was changed: {error}; delete its folder to train the probe again"
            ) from error

    def readout(self) -> Readout:
        """The probe; CheckpointError where its tensors are damaged, or are not those of its card."""
        path = self.folder / TENSORS
        try:
            return rebuilt(self.card().readout, load_safetensors(path))
        except (KeyError, TypeError, ValueError, RuntimeError) as error:
            if isinstance(error, UserError):
                raise
            raise CheckpointError(
                f"{path} and {CARD} do not belong together ({error}); delete their folder to train it again"
            ) from error

    def predictions_file(self, condition: Condition, extent: str) -> Path:
        """Where predictions under a condition stand; `extent` says what else they depend on."""
        facts = json.dumps([asdict(condition), extent], sort_keys=True)
        return self.folder / f"predictions-{hashlib.sha256(facts.encode()).hexdigest()[:12]}.parquet"

    def predictions(self, condition: Condition) -> Predictions | None:
        """Predictions under a condition, the newest; None where it has none."""
        files = sorted(
            self.folder.glob("predictions-*.parquet"), key=lambda file: file.stat().st_mtime_ns, reverse=True
        )
        found = filter(None, (read_predictions(file) for file in files))
        wanted = json.loads(json.dumps(asdict(condition)))
        return next((made for made, about in found if about["condition"] == wanted), None)


def find_probes(
    results: Path,
    task: str,
    probe: str,
    *,
    trained_on: str = EVERYWHERE,
    fraction: float = 1.0,
    seed: int = 0,
    calibrated: bool = False,
) -> dict[str, StoredProbe]:
    """The newest stored probe of a kind of each backbone in a folder of results, by the backbone's name.

    Cards of version 1 do not say whether they are calibrated: one counts where it stands alone.
    """
    found: dict[str, list[tuple[bool | None, StoredProbe]]] = defaultdict(list)
    files = (results / PROBES_FOLDER).glob(f"*/*/*/{CARD}")
    for file in sorted(files, key=lambda file: file.stat().st_mtime_ns):
        stored = StoredProbe(file.parent)
        card = stored.card()
        mine = (card.task, card.probe, card.trained_on, card.fraction, card.seed)
        if mine == (task, probe, trained_on, fraction, seed):
            found[card.backbone].append((card.calibrated, stored))
    chosen: dict[str, StoredProbe] = {}
    for name, several in sorted(found.items()):
        exact = [stored for said, stored in several if said == calibrated]
        unsaid = [stored for said, stored in several if said is None]
        if exact or len(unsaid) == 1:
            chosen[name] = (exact or unsaid)[-1]
    return chosen


def described(readout: Readout) -> dict[str, Any]:
    """What must be known beside the tensors."""
    if isinstance(readout, ReducedProbe):
        return {"kind": "reduced", "inner": described(readout.inner)}
    if isinstance(readout, OverTimeProbe):
        return {"kind": "over time", "inner": described(readout.inner)}
    if isinstance(readout, VectorProbe):
        return {"kind": "vector"}
    if isinstance(readout, HeadProbe):
        shape = asdict(readout.model.shape)
        return {"kind": "heads", "shape": shape, "batch_size": readout.batch_size}
    assert isinstance(readout, RidgeProbe)
    return {"kind": "ridge", "classes": readout.classes}


def rebuilt(facts: dict[str, Any], tensors: dict[str, Tensor]) -> Readout:
    """The probe that `described` describes."""
    if facts["kind"] == "reduced":
        parts = below(COMPONENTS, tensors)
        inner = {name: value for name, value in tensors.items() if not name.startswith(COMPONENTS)}
        standardiser = Standardiser(parts["mean"], parts["std"])
        return ReducedProbe(rebuilt(facts["inner"], inner), standardiser, parts["axes"])
    if facts["kind"] == "over time":
        return OverTimeProbe(rebuilt(facts["inner"], tensors))
    if facts["kind"] == "vector":
        return VectorProbe(tensors["weight"], tensors["bias"])
    if facts["kind"] == "heads":
        shape = ProbeShape(**facts["shape"] | {"grid": tuple(facts["shape"]["grid"])})
        blank = Standardiser(torch.empty_like(tensors["input_mean"]), torch.empty_like(tensors["input_std"]))
        model = Probes(1, shape, blank, Scale(), torch.Generator())
        model.load_state_dict(tensors)
        return HeadProbe(model, facts["batch_size"])
    fitted = Standardiser(tensors["input_mean"], tensors["input_std"])
    return RidgeProbe(fitted, tensors["weights"], tensors["centre"], facts["classes"])


SAID = ("backbone", "weights", "task", "unit", "classes", "probe", "trained_on", "fraction", "seed")
"""What a file of predictions says of the probe."""


def write_predictions(path: Path, made: Predictions, card: ProbeCard, condition: Condition) -> None:
    """One row an item: ids, truth, prediction in clinical units; the file's metadata says what made them."""
    columns: dict[str, Any] = {
        "item_id": made.items,
        "patient_id": made.patients,
        "split": made.splits,
        "site": made.sites,
        "truth": made.truth,
        "prediction": made.values,
    }
    if made.classes:
        names, likeliest = np.array(made.classes), made.values.argmax(1)
        columns |= {
            "prediction": likeliest.astype(float),
            "truth_class": names[made.truth.astype(int)],
            "predicted_class": names[likeliest],
            "probabilities": list(made.values),
        }
    said = asdict(card)
    whole = json.dumps({name: said[name] for name in SAID} | {"condition": asdict(condition)})
    write_parquet(path, pa.table(columns).replace_schema_metadata({"echojepa": whole}))


def read_predictions(path: Path) -> tuple[Predictions, dict[str, Any]] | None:
    """Predictions and what made them; None, with a warning, for a file that is damaged."""
    names = ("item_id", "patient_id", "split", "site")
    try:
        table = read_parquet(path, (*names, "truth", "prediction"))
        made_by = json.loads((table.schema.metadata or {})[b"echojepa"])
    except (TableError, KeyError, ValueError) as error:
        warnings.warn(f"predictions in {path} are damaged ({error}); they are made again", stacklevel=2)
        return None
    items, patients, splits, sites = (np.array(table[name].to_pylist(), dtype=str) for name in names)
    column = "probabilities" if made_by["classes"] else "prediction"
    values = np.array(table[column].to_pylist(), dtype=np.float64)
    made = Predictions(
        items=items, patients=patients, splits=splits, sites=sites, truth=table["truth"].to_numpy(),
        classes=tuple(made_by["classes"]), values=values,
    )  # fmt: skip
    return made, made_by
