"""The report: read a run's folders, draw, and fill the page."""

from __future__ import annotations

import base64
import io
import json
from collections import Counter
from dataclasses import asdict, dataclass
from functools import partial
from importlib import resources
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pyarrow.parquet as pq
from markupsafe import Markup
from PIL import Image

import echojepa
from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import ReportConfig
from echojepa.data.store import LoopStore
from echojepa.errors import UserError
from echojepa.evaluation.finetune import load_finetuned
from echojepa.evaluation.probes.stored import read_predictions
from echojepa.evaluation.protocol.plans import Condition
from echojepa.evaluation.results import ALL_SITES, CONSTANT, EVERYBODY, only_test, read_results
from echojepa.explain.attention import attention_film, encoder_attention, head_attention
from echojepa.explain.maps import embedding_map
from echojepa.report import figures
from echojepa.training.checkpoint import write_text_atomically
from echojepa.training.weights import load_card
from echojepa.vocabulary import SYNTHETIC_MANUFACTURER, Split

MONITORED = {
    "effective_rank": "effective rank",
    "spread": "feature spread",
    "cosine": "|cosine| between clips",
    "view_probe": "cheap view probe",
}
"""Monitors drawn beside the loss, and their titles."""
SHOWN = ("MAE", "RMSE", "R2", "bias", "AUROC", "quadratic kappa", "accuracy", "balanced accuracy", "macro-F1")
"""Metrics that the page's tables have columns for; `results.parquet` has all."""
PLAYER_SIZE = 320
"""Pixels of the attention player's pictures."""


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


def data_uri(picture: np.ndarray[Any, Any]) -> str:
    """An RGB picture (H, W, 3) as a JPEG data URI."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def attention_player(
    store: LoopStore, backbone: VideoTransformer, site: str | None, finetuned: Path | None = None
) -> Player:
    """Attention received in the encoder's last block, and that of a fine-tuned head where there is one, over
    the longest loop of a site (by default the last site that came in)."""
    table = store.metadata(["site", "times"]).to_pylist()
    wanted = site or table[-1]["site"]
    rows = [row for row, entry in enumerate(table) if entry["site"] == wanted]
    if not rows:
        raise UserError(f"no loop of site '{wanted}'. Known: {sorted({entry['site'] for entry in table})}")
    row = max(rows, key=lambda candidate: len(table[candidate]["times"]))
    maps, name = [partial(encoder_attention, backbone)], ""
    if finetuned:
        encoder, readout = load_finetuned(finetuned)
        if encoder.spec != backbone.spec:
            raise UserError(
                f"{finetuned} is fed {encoder.spec}, the run {backbone.spec}; give a fine-tuning of this run"
            )
        maps.append(partial(head_attention, encoder, readout.model))
        name = encoder.name
    film = attention_film(store, row, backbone.spec, maps, PLAYER_SIZE)
    pictures = [data_uri(picture) for picture in film.frames]
    return Player(pictures, round(1000 * film.seconds), wanted, len(pictures) * film.seconds, name)


def plain(row: dict[str, Any]) -> bool:
    """Whether a row is of everybody, all sites, all labels, undamaged clips and the first seed."""
    names = ("group", "trained_on", "site", "label_fraction", "perturbation", "seed")
    return tuple(row[name] for name in names) == (EVERYBODY, ALL_SITES, ALL_SITES, 1.0, "", 0)


def result_tables(results: Path) -> list[dict[str, Any]]:
    """A table a task: rows of backbone and probe, cells 'value [lo, hi] unit'."""
    rows = [row for row in read_results(results) if plain(row)]
    order = {"JEPA": 0, "random encoder": 2, CONSTANT: 3}
    tables = []
    for name in sorted({row["task"] for row in rows}):
        mine = [row for row in rows if row["task"] == name]
        pairs = sorted({(r["backbone"], r["probe"]) for r in mine}, key=lambda p: (order.get(p[0], 1), p))
        scored = {row["metric"] for row in mine if row["backbone"] == CONSTANT}
        metrics = [metric for metric in SHOWN if metric in scored]
        cells = {(r["backbone"], r["probe"], r["metric"]): r for r in mine}
        body = [(backbone, probe, [cells[backbone, probe, m] for m in metrics]) for backbone, probe in pairs]
        tables.append({"task": name, "metrics": metrics, "body": body, "counts": mine[0]})
    return tables


def predictions_of(results: Path, task: str) -> dict[str, dict[str, Any]]:
    """Test predictions of attentive probes on undamaged clips of all sites, by backbone name."""
    found = {}
    for file in sorted((results / "probes" / task).glob("*/attentive-1-0-*/predictions-*.parquet")):
        made, about = read_predictions(file)
        if about["condition"] == asdict(Condition()) | {"views": []}:
            test, names = only_test(made), np.array(about["classes"])
            columns = {"truth": test.truth, "prediction": test.prediction}
            if about["classes"]:
                truth, likeliest = names[test.truth.astype(int)], names[test.prediction.argmax(1)]
                columns = {"truth": truth, "prediction": likeliest}
            found[about["backbone"]["backbone"]] = columns
    return found


def read_metrics(run: Path) -> list[dict[str, Any]]:
    """The run's log, one entry a step."""
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]


def draw_figures(config: ReportConfig) -> dict[str, Markup]:
    """Every figure of the page, from the folders' own data."""
    lines = read_metrics(config.run)
    steps = [line["step"] for line in lines]
    curves = {"training loss": (steps, [line["loss"] for line in lines])}
    watched = [line for line in lines if "effective_rank" in line]
    for name, title in MONITORED.items():
        points = [line for line in watched if name in line]
        if points:
            curves[title] = ([line["step"] for line in points], [line[name] for line in points])
    lvef, view = predictions_of(config.results, "lvef"), predictions_of(config.results, "view")
    maps = {}
    for file in sorted((config.results / "embeddings").glob("*.parquet")):
        table = pq.read_table(file).to_pydict()
        points = embedding_map(np.array(table["embedding"], dtype=np.float32), config.map_method)
        maps[table["backbone"][0]] = (points, np.array(table["view"]))
    drawn = {"curves": figures.curve_panels(curves, "step"), "maps": figures.map_panels(maps)}
    probes = {
        f"{p['task']}, {p['backbone']}": p["history"]["validation"] for p in probe_facts(config.results)
    }
    drawn["probes"] = figures.curve_panels(
        {name: (range(1, len(curve) + 1), curve) for name, curve in probes.items()}, "epoch"
    )
    if lvef:
        drawn["lvef"] = figures.scatter_panels(
            {k: (v["truth"], v["prediction"]) for k, v in lvef.items()}, "%"
        )
    if view:
        drawn["view"] = figures.confusion_panels({k: (v["truth"], v["prediction"]) for k, v in view.items()})
    return {name: Markup(svg) for name, svg in drawn.items()}


def synthetic_share(store: LoopStore) -> str:
    """Whether the loops that have a view are "all", "some" or "none" of them synthetic."""
    rows = store.metadata(["view", "manufacturer"]).to_pylist()
    synthetic = {row["manufacturer"] == SYNTHETIC_MANUFACTURER for row in rows if row["view"]}
    return "all" if synthetic == {True} else "some" if True in synthetic else "none"


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


def probe_facts(results: Path) -> list[dict[str, Any]]:
    """Which attentive head validation patients chose, and whether its training had settled."""
    files = sorted((results / "probes").glob("*/*/attentive-1-0-*/probe.json"))
    return [json.loads(file.read_text("utf-8")) for file in files]


def write_report(config: ReportConfig) -> Path:
    """Write the page; raises UserError or CheckpointError naming the stage that is missing."""
    tables = result_tables(config.results)
    store = LoopStore.open(config.data)
    card = load_card(config.run)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    template = environment.from_string(
        resources.files("echojepa.report").joinpath("template.html").read_text("utf-8")
    )
    text = template.render(
        version=echojepa.__version__,
        tables=tables,
        figures=draw_figures(config),
        player=attention_player(
            store, VideoTransformer.from_pretrained(config.run), config.attention_site, config.finetuned
        ),
        data=data_tables(store),
        probes=probe_facts(config.results),
        card=card,
        warnings=list(
            dict.fromkeys(w for line in read_metrics(config.run) for w in line.get("warnings", ()))
        ),
        run_config=(config.run / "config.json").read_text(encoding="utf-8"),
        fingerprint=store.fingerprint(),
        synthetic=synthetic_share(store),
        credit=config.attention_credit,
        map_method=config.map_method,
    )
    config.out.parent.mkdir(parents=True, exist_ok=True)
    write_text_atomically(config.out, text)
    return config.out
