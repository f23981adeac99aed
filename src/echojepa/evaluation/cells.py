"""One backbone's part of a plan: its features, its probes, and what they predict, cell by cell."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

import pyarrow as pa

from echojepa.backbones.loading import load_backbone
from echojepa.config import FrozenConfig, TuningConfig
from echojepa.evaluation.features.backbones import BackboneFacts, ComparedBackbone, measured
from echojepa.evaluation.features.extraction import Extraction, Needs
from echojepa.evaluation.finetuning.training import finetune_encoder, note_of, starting_weights
from echojepa.evaluation.probes.fitting import Readout
from echojepa.evaluation.probes.own import own_head
from echojepa.evaluation.probes.predictions import Predictions, average, error_of
from echojepa.evaluation.probes.stored import (
    PROBES_FOLDER,
    StoredProbe,
    read_predictions,
    slug,
    write_predictions,
)
from echojepa.evaluation.probes.training import ProbeJob, train
from echojepa.evaluation.protocol.cells import CellSamples
from echojepa.evaluation.protocol.plans import HEAD_STARTS, OWN_HEAD, PROBES, Cell, Condition
from echojepa.files.tables import write_parquet
from echojepa.progress import Progress
from echojepa.vocabulary import Split

DECIDE = (
    "learning_rates", "weight_decays", "epochs", "min_steps", "batch_size", "seed", "clips_per_loop",
    "precision", "engine", "features_as",
)  # fmt: skip
"""Settings that a probe depends on."""


@dataclass(frozen=True)
class Predicted:
    """What one backbone's probe predicts under one condition of a cell."""

    cell: CellSamples
    condition: Condition
    made: Predictions
    backbone: BackboneFacts
    converged: bool
    note: str


def needs_of(cells: Sequence[CellSamples]) -> Needs:
    """Every clip that cells read."""
    found: Needs = defaultdict(set)
    for cell in cells:
        for shown, addresses in cell.needs().items():
            found[shown] |= addresses
    return found


def takes_part(backbone: ComparedBackbone, cell: Cell) -> bool:
    """Whether a backbone can be fine-tuned, or has the head, where that is what a cell is of."""
    if cell.probe.name == OWN_HEAD:
        return own_head(backbone.source, cell.task) is not None
    return backbone.trainable or not cell.probe.finetuned


def frozen_starts(cell: CellSamples) -> list[CellSamples]:
    """For a cell that is fine-tuned: the frozen encoder's probes of which one is what its head starts as."""
    kinds = (PROBES[name] for name in HEAD_STARTS)
    return [replace(cell, cell=replace(cell.cell, probe=kind, conditions=())) for kind in kinds]


@dataclass(frozen=True)
class FineTuned:
    """How cells are fine-tuned, and what becomes of their encoders."""

    config: TuningConfig
    features: FrozenConfig
    """How their features are made."""
    folder: Path | None = None
    """Where the encoder stands; by default beside the other probes."""


class BackboneCells:
    """All cells of one backbone, in the folder `out`."""

    def __init__(
        self, cells: Sequence[CellSamples], extraction: Extraction, finetuned: FineTuned, out: Path
    ) -> None:
        self.cells, self.extraction, self.finetuned, self.out = cells, extraction, finetuned, out
        self.backbone, self.config = extraction.backbone, extraction.config

    @property
    def frozen(self) -> list[CellSamples]:
        """Cells that read this backbone's own features: those of frozen probes, and what fine-tuning may
        start from."""
        return [
            frozen
            for cell in self.cells
            for frozen in (frozen_starts(cell) if cell.cell.probe.finetuned else [cell])
        ]

    def bytes_needed(self) -> int:
        """Size of all features that are missing; of encoders yet to be fine-tuned, of all that they see."""
        needed = self.extraction.bytes_needed(self.needs)
        for cell in (cell for cell in self.cells if cell.cell.probe.finetuned):
            if not self.stored(cell).finished:
                unknown = replace(self.backbone, weights="not yet trained")
                needed += self.extraction_of(unknown).bytes_needed(cell.needs())
        return needed

    @property
    def needs(self) -> Needs:
        """Every clip of the frozen cells."""
        return needs_of(self.frozen)

    def predictions(self, cell: CellSamples, progress: Progress) -> list[Predicted]:
        """A cell's predictions under each condition, the unperturbed first; made where they are not there."""
        stored, extraction, note = self.stored(cell), self.extraction, ""
        if cell.cell.probe.finetuned:
            extraction = self.finetune(cell, stored.folder, progress)
            note = note_of(stored.folder)
        if not stored.finished:
            train(self.job(cell))
        facts, card = extraction.describe(cell.presentation), stored.card()
        extent = cell.samples.select(cell.tested).digest()
        readout: Readout | None = None
        found = []
        for condition in cell.possible():
            file = stored.predictions_file(condition, extent)
            known = read_predictions(file) if file.is_file() else None
            if known is None:
                readout = readout or stored.readout()
                data = extraction.samples(cell, cell.predicted(condition), cell.shown(condition))
                data = data.shown(condition.views)
                data = data.separate() if cell.cell.probe.fusion == "late" else data
                write_predictions(file, average(readout.outputs(data), data), card, condition)
                known = read_predictions(file)
            assert known is not None
            made, _ = known
            found.append(Predicted(cell, condition, made, facts, card.converged, note))
        return found

    def job(self, cell: CellSamples) -> ProbeJob:
        """What trains a cell's probe on the frozen backbone, whose features are there."""
        shown, backbone = cell.presentation, self.backbone
        cached, facts = self.extraction.cached(shown), self.extraction.describe(shown)
        return ProbeJob(cell, cached, backbone.source, facts, self.config, self.stored(cell))

    def jobs(self) -> list[ProbeJob]:
        """What trains the probes that are not there yet, each once."""
        missing = {stored.folder: cell for cell in self.frozen if not (stored := self.stored(cell)).finished}
        return [self.job(cell) for cell in missing.values()]

    def extraction_of(self, encoder: ComparedBackbone) -> Extraction:
        """Where a fine-tuned encoder's features come from."""
        return Extraction(self.extraction.cohort, encoder, self.finetuned.features, self.extraction.root)

    def finetune(self, cell: CellSamples, folder: Path, progress: Progress) -> Extraction:
        """The features, in the cache, of the encoder that is trained for a cell; its head is beside it."""

        weights, seed = starting_weights(self.backbone.source), cell.cell.seed + self.config.seed
        cohort, config = self.extraction.cohort, self.finetuned.config
        head = partial(self.best_start, cell, progress)
        finetune_encoder(folder, weights, head, cell, cohort, config, seed, progress)
        make = partial(load_backbone, folder, precision=self.config.precision, engine=self.config.engine)
        made = self.extraction_of(replace(measured(make, str(folder)), name=self.backbone.name))
        made.fill(cell.needs(), progress)
        return made

    def best_start(self, cell: CellSamples, progress: Progress) -> Readout:
        """Of the frozen probes that a cell's head may start as, the one that errs least on validation
        patients."""
        starts = frozen_starts(cell)
        self.extraction.fill(needs_of(starts), progress)
        for start in starts:
            train(self.job(start))
        judges = cell.trained & (cell.samples.splits == Split.VAL)
        data, kind = self.extraction.samples(cell, judges, cell.presentation), cell.cell.task.kind
        readouts = [self.stored(start).readout() for start in starts]
        return min(readouts, key=lambda one: error_of(average(one.outputs(data), data), kind))

    def stored(self, cell: CellSamples) -> StoredProbe:
        """Where a trained probe stands: named by what it is, and by a checksum of all that it depends on."""
        asked, config = cell.cell, self.config
        if asked.probe.finetuned and self.finetuned.folder:
            return StoredProbe(self.finetuned.folder)
        depends = [
            asked.key,
            self.backbone.weights,
            self.extraction.cohort.fingerprints,
            cell.samples.select(cell.trained).digest(),
            [getattr(config, name) for name in DECIDE],
            str(self.backbone.spec),
        ]
        if asked.probe.finetuned:
            depends += [asdict(self.finetuned.config), HEAD_STARTS]
        digest = hashlib.sha256(json.dumps(depends).encode()).hexdigest()[:10]
        where = f"{asked.trained_on}-" if asked.trained_on else ""
        name = f"{asked.probe.name}-{where}{asked.fraction:g}-{asked.seed}"
        folder = self.out / PROBES_FOLDER / slug(asked.task.name) / slug(self.backbone.name)
        return StoredProbe(folder / f"{slug(name)}-{digest}")

    def write_embeddings(self) -> None:
        """Pooled features of unperturbed test loops (first clip of each), for maps."""
        cells = [cell for cell in self.frozen if cell.cell.conditions and not cell.cell.task.slots]
        if not cells:
            return
        shown = min(cell.presentation for cell in cells)
        tested = {clip for cell in cells for clip in cell.samples.select(cell.tested).addresses()}
        first = {clip for clip in tested & needs_of(cells)[shown] if clip[2] == 0}
        features = self.extraction.features(shown, first)
        loops = [self.extraction.cohort.loops[store, row] for store, row, _ in features.clips.tolist()]
        columns = {
            name: [getattr(loop, name) for loop in loops] for name in ("loop_id", "patient_id", "view")
        }
        columns |= {"backbone": [self.backbone.name] * len(loops)}
        path = self.out / "embeddings" / f"{slug(self.backbone.name)}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_parquet(path, pa.table(columns | {"embedding": list(features.pooled.numpy())}))
