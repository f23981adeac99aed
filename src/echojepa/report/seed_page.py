"""The EchoJEPA project page in its order, ours beside theirs, with a sentence for what cannot be filled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from echojepa.evaluation.comparisons import COMPARISONS
from echojepa.evaluation.results import ResultRow
from echojepa.evaluation.tables.differences import difference_table
from echojepa.evaluation.tables.grids import Grid, Place, Table, grid
from echojepa.evaluation.tables.page import SKETCHES, page_table, their_grid
from echojepa.explain.maps import Islands
from echojepa.files.tables import read_parquet
from echojepa.report.card.records import Records
from echojepa.weights.folder import WeightsCard

EVALUATE = "echojepa evaluate {plan} --data DATA --backbones RUN --out RESULTS"
NEEDED = {
    "latent-vs-pixel": "a run of the pixel objective, `echojepa pretrain small-mae`, among the backbones",
    "lvef-sites": "labelled patients of two sites",
    "rvsp": "studies with RVSP, A4C colour and PSAX-AV",
    "transfer": "a second data set, of children",
}
"""What a table of a plan needs beside the plan."""
THEIR_MODELS: dict[Place, str] = {
    ("VideoMAE-L (project page)", "backbone"): "ViT-L (300M)",
    ("VideoMAE-L (project page)", "videos"): "525K",
    ("EchoJEPA-L (project page)", "backbone"): "ViT-L (300M)",
    ("EchoJEPA-L (project page)", "videos"): "525K",
    ("EchoJEPA-G (project page)", "backbone"): "ViT-G (1.1B)",
    ("EchoJEPA-G (project page)", "videos"): "18.1M",
}
BESIDE = {"EchoPrime": "EchoPrime", "PanEcho": "PanEcho", "EchoMAE-L": "MAE"}
"""Models of the page, and what a name of ours begins with that can stand beside them."""


@dataclass(frozen=True)
class PagePart:
    """A picture or table of the page, and ours."""

    title: str
    says: str
    ours: Grid | None = None
    theirs: Grid | None = None
    lacks: str = ""
    """What of it cannot be filled here, and what would fill it; empty where nothing is lacking."""
    link: str = ""
    """Where on this page ours is."""


def page_parts(records: Records, known: dict[str, Islands]) -> list[PagePart]:
    """Every picture and table of the page in its order."""
    rows = records.rows
    views = list(known) or ["no backbone: the results hold no embeddings of test loops"]
    return [
        architecture(records.weights),
        multi_view(rows),
        tasks(rows),
        configurations(records),
        *(table_part(plan, rows, records.children) for plan, sketch in SKETCHES.items() if sketch.theirs),
        PagePart(
            "Attention Visualization",
            "Theirs, at the top of the page and here, shows hand-picked heads of fine-tuned encoders. "
            "Ours follows one stated rule and is the fourth figure of the story; `echojepa attend` adds "
            "numbers.",
            link="looks",
        ),
        PagePart(
            "Latent Space Organization",
            f"Theirs is a UMAP of views, without a number. Ours, for {', '.join(views)}, is the second "
            "figure of the story, with the share of a loop's neighbours that show the same view.",
            link="learned",
        ),
    ]


def architecture(card: WeightsCard) -> PagePart:
    """Their drawing, and the sizes of ours in words."""
    shape, predictor = card.architecture.dimensions, card.predictor
    infers = (
        f"a predictor of {predictor.depth} blocks, {predictor.width} wide, predicts what is hidden"
        if predictor
        else "no predictor was kept"
    )
    return PagePart(
        "EchoJEPA Architecture",
        f"Theirs is a drawing. Ours has the same parts: an encoder of {shape.depth} blocks, {shape.width} "
        f"wide, sees the visible tubelets, {infers}. The model card says what makes its targets.",
        link="card",
    )


def multi_view(rows: Sequence[ResultRow]) -> PagePart:
    """Their drawing of probes of several views."""
    there = any(row.task == "rvsp" for row in rows)
    return PagePart(
        "Multi-View Attentive Probing",
        "Theirs is a drawing. Ours is the same probe: embeddings of view and clip, absent views masked, "
        "and in training each view left out with a chance of 10 % (docs/how-to/several-views.md).",
        lacks="" if there else f"No probe of these results reads several views: {made_by('rvsp')}",
    )


def tasks(rows: Sequence[ResultRow]) -> PagePart:
    """What is predicted, of how many."""
    cells: dict[Place, str] = {}
    for row in rows:
        cells.setdefault((row.task, "unit"), row.unit if row.metric == "MAE" else "class")
        cells.setdefault((row.task, "test patients"), str(row.patients))
        cells.setdefault((row.task, "test loops"), str(row.loops))
    missing = [name for name in ("rvsp", "lvef", "view") if name not in {row.task for row in rows}]
    lacks = f"Not asked here: {', '.join(missing)}." if missing else ""
    return PagePart(
        "Downstream Evaluation Tasks",
        "Theirs is a drawing of RVSP, LVEF and views.",
        grid(cells),
        lacks=lacks,
    )


def configurations(records: Records) -> PagePart:
    """Sizes of backbones, and what they were trained on where we know it."""
    cells: dict[Place, str] = {}
    for row in records.rows:
        if row.weights:
            cells.setdefault((row.backbone, "parameters"), f"{row.parameters:,}")
            cells.setdefault((row.backbone, "tokens of a clip"), str(row.tokens))
            cells.setdefault((row.backbone, "width"), str(row.embed_dim))
    says = (
        f"This run saw {records.weights.origin.clips or 0:,} clips of {records.training_loops:,} training "
        "loops. The files of other weights do not state their training data."
    )
    named = {row.backbone for row in records.rows}
    without = [model for model, ours in BESIDE.items() if not any(name.startswith(ours) for name in named)]
    lacks = (
        f"We have no row for {', '.join(without)}, here and in the tables below; give such weights to "
        "`--backbones` (docs/reference/weights.md; for the pixel objective a run of small-mae)."
        if without
        else ""
    )
    return PagePart("Model Configurations", says, grid(cells), grid(THEIR_MODELS), lacks)


def table_part(plan: str, rows: Sequence[ResultRow], children: str) -> PagePart:
    """A table of the page; without ours a sentence of what would make it."""
    sketch, table = SKETCHES[plan], page_table(plan, rows, children)
    if table is None:
        lacks = f"These results have no number for this: {made_by(plan)}"
        return PagePart(sketch.title, sketch.says, None, their_grid(plan), lacks)
    absent = [column for column in sketch.columns if column not in table.ours.columns]
    lacks = f"No number of ours for {', '.join(absent)}: {made_by(plan)}" if absent else ""
    return PagePart(table.title, table.says, table.ours, table.theirs, lacks)


def made_by(plan: str) -> str:
    """The command of a plan, and what it needs."""
    needed = f"; it needs {NEEDED[plan]}" if plan in NEEDED else ""
    return f"`{EVALUATE.format(plan=plan)}` makes it{needed}."


def further_tables(results: Path, rows: Sequence[ResultRow], children: str) -> list[Table]:
    """Tables of ours that the page has none of."""
    made = [page_table(plan, rows, children) for plan, sketch in SKETCHES.items() if not sketch.theirs]
    pairs = results / COMPARISONS
    made.append(difference_table(read_parquet(pairs).to_pylist()) if pairs.is_file() else None)
    return [table for table in made if table is not None]
