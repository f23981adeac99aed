"""The tables of the EchoJEPA project page, redrawn from `results.parquet`, beside the paper's numbers.

Theirs are of other patients, other labels and, for some backbones, another protocol: they stand beside ours
to be compared in kind, not in value. `paper_results.csv` has them, from the project page, the paper (arXiv
2602.02603) and its repository (github alif-munim/EchoJEPA).
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import resources
from statistics import mean

from echojepa.evaluation.mechanism import IN_POINTS
from echojepa.evaluation.results import ALL_SITES, CONSTANT, EVERYBODY, ResultRow
from echojepa.evaluation.scoring import COVERAGE, WIDTH
from echojepa.evaluation.statistics.comparison import relative_degradation
from echojepa.evaluation.statistics.intervals import in_brackets
from echojepa.evaluation.tables.grids import Grid, Place, Table, grid

TheirRow = dict[str, str]
"""A row of `paper_results.csv`."""


@dataclass(frozen=True)
class Sketch:
    """How a table of the page is made of rows."""

    title: str
    says: str
    column: Callable[[ResultRow], str | None]
    """Where one of our rows belongs; None where it does not."""
    theirs: Callable[[TheirRow], Place] | None = None
    """The same for a row of the paper, where it has such a table."""
    columns: tuple[str, ...] = ()
    """Columns of the page's table that ours has, too, where its plan was run."""


LEADS = {"lvef": "MAE", "rvsp": "MAE", "view": "accuracy"}
DEGRADED = "average degradation, %"
"""The last column of the table of robustness."""
SEED_PERTURBATIONS = ("depth-code", "shadow-code")
"""The forms of the released code, which made the page's robustness table."""


def contestant(row: ResultRow) -> str:
    """What a row of a table is called."""
    return row.backbone if row.backbone == CONSTANT else f"{row.backbone}, {row.probe}"


def unperturbed(row: ResultRow) -> bool:
    """Whether a row is of everybody's unperturbed clips and of a task's leading metric."""
    whole = not row.perturbation and row.group == EVERYBODY
    return whole and row.metric == LEADS.get(row.task)


def of_all_sites(row: ResultRow) -> bool:
    """Whether a row is of all sites and all labels."""
    return row.trained_on == row.site == ALL_SITES and row.label_fraction == 1.0


def latent_vs_pixel(row: ResultRow) -> str | None:
    """Columns: LVEF MAE and view accuracy."""
    mine = unperturbed(row) and of_all_sites(row) and row.seed == 0 and row.task in ("lvef", "view")
    return f"{row.task} {row.metric}" if mine else None


def lvef_sites(row: ResultRow) -> str | None:
    """Columns: where trained, where tested."""
    how = "internal" if row.trained_on == row.site else f"external, trained at {row.trained_on}"
    mine = unperturbed(row) and row.task == "lvef" and row.site != ALL_SITES
    return f"{row.site} ({how})" if mine else None


def view_labels(row: ResultRow) -> str | None:
    """Columns: share of labels."""
    mine = unperturbed(row) and row.task == "view" and row.trained_on == row.site == ALL_SITES
    return f"{100 * row.label_fraction:g} %" if mine else None


def rvsp(row: ResultRow) -> str | None:
    """Columns: site, and views shown at test."""
    return f"{row.site}: {row.views}" if unperturbed(row) and row.task == "rvsp" else None


def robustness(row: ResultRow) -> str | None:
    """Columns: clean, and each severity of the seed page's two perturbations."""
    lvef = row.task == "lvef" and row.metric == "MAE" and of_all_sites(row) and row.seed == 0
    mine = lvef and row.group == EVERYBODY and row.perturbation in ("", *SEED_PERTURBATIONS)
    return perturbed(row.perturbation, row.severity) if mine else None


def perturbed(kind: str, severity: int | str) -> str:
    """A column of the table of robustness, ours or theirs."""
    return f"{kind} {severity}" if kind else "clean"


def intervals(row: ResultRow) -> str | None:
    """Columns: studies or loops, and coverage or width; views and ranges of predictions would be thirty."""
    of, what = "study" if row.task == "lvef" else "each loop", row.metric.split()[0]
    return f"{of}: {what}" if row.group == EVERYBODY and row.metric in (COVERAGE, WIDTH) else None


def mechanism(row: ResultRow) -> str | None:
    """Columns: what is moved, and what it moves."""
    what = row.metric.removesuffix(IN_POINTS)
    return f"{row.group}: {what}" if what != row.metric else None


def their_label(row: TheirRow) -> str:
    """What a row of the paper is called."""
    return f"{row['model']}, {row['probe']} ({row['source']})"


SKETCHES: dict[str, Sketch] = {
    "latent-vs-pixel": Sketch(
        "Latent against pixel prediction", "LVEF: mean absolute error, points. View: accuracy, %.",
        latent_vs_pixel, lambda row: (their_label(row), f"{row['task']} {row['metric']}"),
        ("lvef MAE", "view accuracy"),
    ),
    "lvef-sites": Sketch(
        "LVEF at each site", "Mean absolute error, points.", lvef_sites,
        lambda row: (their_label(row), row["site"]),
    ),
    "view-labels": Sketch(
        "Views by share of labels",
        "Accuracy, %: mean of the seeds, with an interval of test patients and seeds.",
        view_labels, lambda row: (their_label(row), f"{row['label_percent']} %"), ("1 %", "10 %", "100 %"),
    ),
    "rvsp": Sketch(
        "RVSP from several views", "Mean absolute error, mmHg, by the views that are shown at test.", rvsp,
        lambda row: (", ".join(filter(None, [their_label(row), row["note"].split(";")[0]])), row["site"]),
    ),
    "transfer": Sketch(
        "Adults to children", "Mean absolute error of LVEF, points.", lvef_sites,
        lambda row: (their_label(row), row["note"].split(";")[0]),
    ),
    "robustness": Sketch(
        "Robustness to acoustic perturbations",
        "Mean absolute error of LVEF, points; last, its mean increase in %, for rows that are at least a "
        "fifth better than the constant (a constant never degrades).",
        robustness,
        lambda row: (
            their_label(row),
            DEGRADED if row["metric"] != "MAE" else perturbed(row["perturbation"], row["severity"]),
        ),
    ),
    "intervals": Sketch(
        "Prediction intervals of LVEF",
        "Share of test patients inside 90 % intervals, %, and the intervals' median width, points. 90 % "
        "is expected on average; the rows' notes give the range over draws of calibration patients. Those of "
        "each view and range of predicted LVEF are in `results.parquet`; many there are infinitely wide, for "
        "too few patients calibrate them.",
        intervals,
    ),
    "mechanism": Sketch(
        "What moves a model",
        "How far features and the predicted LVEF change when only one factor takes a step, as multiples "
        "of the change for 5 points of LVEF.",
        mechanism,
    ),
}  # fmt: skip


def cell(values: Sequence[ResultRow]) -> str:
    """One number with its interval: of several seeds their mean."""
    row = next((row for row in values if row.seed is None), values[0])
    return f"{row.value:.2f}{in_brackets(row.lo, row.hi, 1)}"


def page_tables(rows: Sequence[ResultRow], children: str = "") -> list[Table]:
    """Every table of the page that these rows have a number for; `children` is the paediatric site's name."""
    return [table for plan in SKETCHES if (table := page_table(plan, rows, children)) is not None]


def page_table(plan: str, rows: Sequence[ResultRow], children: str = "") -> Table | None:
    """One of them; None where these rows have no number for it. The children's site is for transfer alone."""
    sketch = SKETCHES[plan]
    found: dict[Place, list[ResultRow]] = defaultdict(list)
    for row in sorted(rows, key=lambda row: row.label_fraction):  # columns of few labels first
        column, of_children = sketch.column(row), bool(children) and row.site == children
        if column and of_children == (plan == "transfer"):
            found[contestant(row), column].append(row)
    if plan == "robustness":
        found = only_perturbed(found)
    if not found:
        return None
    cells = {place: cell(values) for place, values in found.items()}
    if plan == "robustness":
        for name, number in average_degradation(found).items():
            cells[name, DEGRADED] = "not ranked" if math.isnan(number) else f"{number:+.1f}"
    return Table(sketch.title, sketch.says, grid(cells), their_grid(plan))


def their_grid(plan: str) -> Grid:
    """The paper's numbers for a table, those of the page first, marked where its note doubts them; without
    rows where it has no such table."""
    sketch, cells = SKETCHES[plan], dict[Place, str]()
    text = resources.files("echojepa.evaluation.tables").joinpath("paper_results.csv").read_text("utf-8")
    for row in csv.DictReader(text.splitlines()):
        if sketch.theirs and row["plan"] == plan:
            doubt = " (?)" if "may have been cut" in row["note"] else ""
            cells.setdefault(sketch.theirs(row), row["value"] + doubt)
    return grid(cells)


def only_perturbed(found: dict[Place, list[ResultRow]]) -> dict[Place, list[ResultRow]]:
    """Cells of what was tested under perturbations, and the constant; none where nothing was."""
    tested = {name for name, column in found if column != "clean"}
    return {place: rows for place, rows in found.items() if tested and place[0] in tested | {CONSTANT}}


def average_degradation(found: dict[Place, list[ResultRow]]) -> dict[str, float]:
    """The mean added error in % of the clean one, by row of the robustness table; nan where it means
    nothing, and left out where nothing was perturbed."""
    values: dict[str, dict[str, float]] = defaultdict(dict)
    for (name, column), rows in found.items():
        values[name][column] = rows[0].value
    constant = values.get(CONSTANT, {}).get("clean", math.nan)
    return {
        name: mean(
            relative_degradation(errors["clean"], error, constant)
            for column, error in errors.items()
            if column != "clean"
        )
        for name, errors in values.items()
        if "clean" in errors and len(errors) > 1
    }
