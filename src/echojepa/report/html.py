"""The report: read a run's folders, draw, and fill the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import PretrainConfig, ReportConfig
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import UserError
from echojepa.evaluation.features.cache import weights_digest
from echojepa.evaluation.finetuning.training import load_finetuned
from echojepa.evaluation.probes.stored import ProbeCard, find_probes
from echojepa.evaluation.results import (
    CONSTANT,
    EVERYBODY,
    SETTINGS,
    ResultRow,
    leading,
    read_fingerprints,
    read_results,
    read_settings,
)
from echojepa.evaluation.runs import compare_runs, named
from echojepa.evaluation.tables.chosen import TaskPredictions, drawn_predictions
from echojepa.evaluation.tables.output import perturbation_figure
from echojepa.evaluation.tables.over_runs import ranged, runs_panels
from echojepa.evaluation.tables.page import of_all_sites
from echojepa.explain.films import RULE, film, loop_map, top_of
from echojepa.explain.heads import clip_reader
from echojepa.explain.loops import FACTS, of_rows
from echojepa.explain.maps import embedding_map
from echojepa.explain.sources import source_of
from echojepa.explain.writing import durations
from echojepa.files.durable import write_text
from echojepa.files.records import read_record
from echojepa.report import figures
from echojepa.report.agreement import agreement_figures
from echojepa.report.atlas import MOST_FILMS, Mapped, atlas
from echojepa.report.card.card import model_card
from echojepa.report.card.checklists import SOURCES
from echojepa.report.card.records import Records, read_records
from echojepa.report.card.sections import as_markdown
from echojepa.report.embedded import VIEW, Embedded, by_study, islands_of, read_embedded
from echojepa.report.page import jpeg_uri, write_page
from echojepa.report.provenance import provenance
from echojepa.report.seed_page import further_tables, page_parts
from echojepa.report.story import came_in, fails, learned, reads
from echojepa.training.journal import METRICS, read_lines
from echojepa.vocabulary import Split
from echojepa.weights.folder import load_card

MONITORED = {
    "effective_rank": "effective rank",
    "spread": "feature spread",
    "cosine": "|cosine| between clips",
    "view_probe": "cheap view probe",
}
"""Monitors drawn beside the loss, and their titles."""
SHOWN = ("MAE", "RMSE", "R2", "bias", "AUROC", "quadratic kappa", "accuracy", "balanced accuracy", "macro-F1")
"""Metrics that the page's tables have columns for; `results.parquet` has all."""
TRAINED_PROBE = "attentive"
"""The kind of probe whose training is drawn, the paper's own; ridge has none."""
RESAMPLES = 1000
"""Of patients and runs, where runs are compared."""
PLAYER_QUALITY = 88
"""JPEG quality of the attention player's images."""


@dataclass(frozen=True)
class Player:
    """Pictures of the attention overlay, played in the page."""

    frames: list[str]
    """Data URIs: the cine, and beside it the same frame with attention."""
    milliseconds: int
    """Time between frames."""
    site: str
    seconds: float
    finetuned: str
    """The fine-tuned encoder whose head's attention is beside the other; empty for none."""


def attention_player(
    store: LoopStore, backbone: VideoTransformer, site: str | None, finetuned: Path | None = None
) -> Player:
    """Attention received in the encoder's last block, and that of a fine-tuned head where there is one, over
    the longest loop of a site (by default the last site that came in)."""
    table = store.metadata([*FACTS, "site", "times"]).to_pylist()
    wanted = site or table[-1]["site"]
    rows = [row for row, entry in enumerate(table) if entry["site"] == wanted]
    if not rows:
        raise UserError(f"no loop of site '{wanted}'. Known: {sorted({entry['site'] for entry in table})}")
    row = max(rows, key=lambda candidate: len(table[candidate]["times"]))
    loop = of_rows(store, table, [row])[0]
    maps = [loop_map(loop, backbone, backbone.name, source_of("layer:-1", backbone))]
    name = ""
    if finetuned:
        encoder, readout = load_finetuned(finetuned)
        if encoder.spec != backbone.spec:
            raise UserError(
                f"the input of {finetuned} is {encoder.spec}, that of the run {backbone.spec}; give a "
                "fine-tuning of this run"
            )
        source = source_of("probe", encoder, clip_reader(readout, "fine-tuned"))
        maps.append(loop_map(loop, encoder, encoder.name, source))
        name = encoder.name
    frames = film(loop, maps, {one.source: top_of([one]) for one in maps})
    pictures = [jpeg_uri(picture, PLAYER_QUALITY) for picture in frames]
    length = int(durations(loop.times).sum())
    return Player(pictures, round(length / len(pictures)), wanted, length / 1000, name)


def plain(row: ResultRow) -> bool:
    """Whether a row is of everybody, all sites, all labels, unperturbed clips and the first seed."""
    whole = row.group == EVERYBODY and not row.perturbation
    return whole and of_all_sites(row) and row.seed == 0 and row.metric in SHOWN


def result_tables(rows: Sequence[ResultRow]) -> list[dict[str, Any]]:
    """A table a task: rows of backbone and probe, cells 'value [lo, hi] unit'; none for a task that was not
    scored on all sites as one."""
    chosen = [row for row in rows if plain(row)]
    order = {"JEPA": 0, "random encoder": 2, CONSTANT: 3}
    tables = []
    for name in sorted({row.task for row in chosen}):
        mine = [row for row in chosen if row.task == name]
        pairs = sorted({(r.backbone, r.probe) for r in mine}, key=lambda p: (order.get(p[0], 1), p))
        scored = {row.metric for row in mine if row.backbone == CONSTANT}
        metrics = [metric for metric in SHOWN if metric in scored]
        cells = {(r.backbone, r.probe, r.metric): r for r in mine}
        body = [(backbone, probe, [cells[backbone, probe, m] for m in metrics]) for backbone, probe in pairs]
        tables.append({"task": name, "metrics": metrics, "body": body, "counts": mine[0]})
    return tables


def truth_beside(shown: TaskPredictions | None) -> dict[str, tuple[NDArray[Any], NDArray[Any]]]:
    """True and predicted values, or class names, of a task's test items, by backbone."""
    found = {}
    for name, test in (shown.made if shown else {}).items():
        names = np.array(test.classes)
        found[name] = (test.truth, test.values)
        if test.classes:
            found[name] = (names[test.truth.astype(int)], names[test.values.argmax(1)])
    return found


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The run's log, one entry a step; UserError where none is left."""
    lines = read_lines(run / METRICS)
    if not lines:
        raise UserError(f"{run} has no {METRICS} with a complete line; give the folder of a run")
    return lines


def maps_of(config: ReportConfig, every: Mapping[str, Embedded]) -> dict[str, Mapped]:
    """Loops or studies in two dimensions, by backbone."""
    return {name: Mapped(one, embedding_map(one.vectors, config.map_method)) for name, one in every.items()}


def draw_figures(
    steps: Sequence[dict[str, Any]],
    probes: Sequence[ProbeCard],
    mapped: Mapping[str, Mapped],
    predicted: Mapping[str, TaskPredictions],
) -> dict[str, Markup | None]:
    """Every figure of the page; None where the folders have no data for it."""
    curves = {"training loss": ([line["step"] for line in steps], [line["loss"] for line in steps])}
    watched = [line for line in steps if "effective_rank" in line]
    for name, title in MONITORED.items():
        points = [line for line in watched if name in line]
        if points:
            curves[title] = ([line["step"] for line in points], [line[name] for line in points])
    maps = {name: (one.points, one.of.classes[VIEW]) for name, one in mapped.items()}
    chosen = {f"{card.task}, {card.backbone}": card.history["validation"] for card in probes if card.history}
    panels = {
        "curves": (curves, partial(figures.curve_panels, xlabel="step")),
        "maps": (maps, figures.map_panels),
        "probes": (
            {name: (range(1, len(curve) + 1), curve) for name, curve in chosen.items()},
            partial(figures.curve_panels, xlabel="epoch"),
        ),
        "lvef": (truth_beside(predicted.get("lvef")), partial(figures.scatter_panels, unit="%")),
        "view": (truth_beside(predicted.get("view")), figures.confusion_panels),
    }
    return {name: Markup(draw(data)) if data else None for name, (data, draw) in panels.items()}


def data_tables(store: LoopStore) -> dict[str, Any]:
    """What came in and what did not, counted."""
    rows = store.metadata(["site", "view", "split", "patient_id"]).to_pylist()
    loops = Counter((row["site"], row["view"] or "not stated") for row in rows)
    splits = []
    for split in Split:
        patients = [row["patient_id"] for row in rows if row["split"] == split]
        splits.append((str(split), len(patients), len(set(patients))))
    return {
        "loops": sorted((site, view, count) for (site, view), count in loops.items()),
        "splits": splits,
        "rejected": sorted(Counter(store.rejected()["reason"].to_pylist()).items()),
    }


def several_runs(config: ReportConfig) -> dict[str, Any] | None:
    """This run beside others, as lines and a picture; None where none is given. UserError where they are not
    comparable."""
    if not config.against:
        return None
    folders = (config.results, *config.against)
    lines = compare_runs(folders, RESAMPLES)
    return {"names": named(folders), "lines": lines, "picture": Markup(runs_panels(lines)), "ranged": ranged}


def records_of(
    config: ReportConfig,
    store: LoopStore,
    encoder: VideoTransformer,
    steps: list[dict[str, Any]],
    rows: Sequence[ResultRow],
) -> Records:
    """What the run, the data set and the results left on record."""
    settings = read_settings(config.results) if (config.results / SETTINGS).is_file() else None
    pretraining = read_record(PretrainConfig, config.run / "config.json")
    who = encoder.parameters, weights_digest(encoder)[:12]
    return read_records(store, load_card(config.run), pretraining, steps, who, rows, settings)


def card_place(page: Path) -> Path:
    """Where the model card stands, beside the page."""
    return page.with_suffix(".card.md")


def chosen_probes(results: Path, tasks: Sequence[str]) -> list[ProbeCard]:
    """Which attentive head validation patients chose of each task and backbone."""
    return [stored.card() for task in tasks for stored in find_probes(results, task, TRAINED_PROBE).values()]


def write_report(config: ReportConfig) -> Path:
    """Write the page and its model card; raises UserError or CheckpointError naming the stage that is
    missing, or why runs are not comparable."""
    rows, several = read_results(config.results), several_runs(config)
    tasks = sorted({row.task for row in rows})
    probes = chosen_probes(config.results, tasks)
    store = LoopStore.open(config.data)
    encoder = VideoTransformer.from_pretrained(config.run)
    player = attention_player(store, encoder, config.attention_site, config.finetuned)
    loops = read_embedded(config.results, store)
    card, steps = load_card(config.run), read_metrics(config.run)
    records = records_of(config, store, encoder, steps, rows)
    mapped, studies = maps_of(config, loops), by_study(loops)
    leaders = leading([row for row in rows if plain(row)])
    predicted = drawn_predictions(config.results, leaders)
    tables, drawn = result_tables(rows), draw_figures(steps, probes, mapped, predicted)
    together = {"loops": islands_of(loops), "studies": islands_of(studies)}
    known = together["loops"].get(VIEW, {})
    assert drawn["curves"] is not None
    (damage, damaged_probe), about = perturbation_figure(config.results, rows), model_card(records)
    units = {row.task: row.unit for row in rows if row.metric == "MAE"}
    page = write_page(
        config.out,
        "template.html",
        story={
            "came_in": came_in(store),
            "learned": learned(known, drawn["maps"], drawn["curves"]),
            "reads": reads(leaders, predicted),
            "fails": fails(predicted, config.surprise),
        },
        agreement=agreement_figures(predicted, units),
        tables=tables,
        figures=drawn,
        drawn_of={task: shown.probe for task, shown in predicted.items()},
        atlases={
            "loop": atlas(store, mapped, MOST_FILMS),
            "study": atlas(store, maps_of(config, studies), 0),
        },
        together=together,
        player=player,
        data=data_tables(store),
        probes=probes,
        card=card,
        about=about,
        page=page_parts(records, known),
        several=several,
        further=further_tables(config.results, rows, records.children),
        perturbed=Markup(damage),
        perturbed_by=damaged_probe,
        checklists=SOURCES,
        warnings=list(dict.fromkeys(w for line in steps for w in line.get("warnings", ()))),
        run_config=(config.run / "config.json").read_text(encoding="utf-8"),
        provenance=provenance(card, records.fingerprint, read_fingerprints(config.results), rows),
        synthetic=records.synthetic,
        credit=config.attention_credit,
        map_method=config.map_method,
        rule=RULE,
    )
    write_text(card_place(config.out), as_markdown(about))
    return page
