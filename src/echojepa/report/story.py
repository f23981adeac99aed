"""The story in five figures: what came in, what it learned, how well it reads, what it looks at, when it
fails. A sentence beside each says what it shows, made of its numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup
from matplotlib.axes import Axes

from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import UserError
from echojepa.evaluation.results import CONSTANT, ResultRow
from echojepa.evaluation.statistics.intervals import in_brackets
from echojepa.evaluation.tables.chosen import TaskPredictions
from echojepa.evaluation.tables.curves import PALETTE, draw
from echojepa.explain.maps import Islands
from echojepa.explain.surprise import FIGURE, NUMBERS
from echojepa.explain.unlike import SURPRISE
from echojepa.files.tables import read_parquet
from echojepa.report.agreement import Confidence, risk_panel
from echojepa.report.contact_sheet import thumbnail
from echojepa.vocabulary import SYNTHETIC_MANUFACTURER

STILLS = 8
"""Loops that stand for what came in, at most: one of each site and view, the commonest first."""
CAME_IN = ("view", "site", "manufacturer", "kind", "patient_id")


@dataclass(frozen=True)
class Told:
    """A figure and what it shows."""

    says: str
    picture: Markup | None = None
    name: str = ""
    """What a screen reader calls it."""
    caption: str = ""
    command: str = ""


def came_in(store: LoopStore) -> dict[str, Any]:
    """A still of each kind of loop, and how much there is."""
    rows = store.metadata([*CAME_IN]).to_pylist()
    kinds = [(row["site"], row["view"] or "view not stated") for row in rows]
    ranked = [kind for kind, _ in Counter(kinds).most_common()]
    sites = dict.fromkeys(row["site"] for row in rows)
    first = [next(kind for kind in ranked if kind[0] == site) for site in sites]
    chosen = list(dict.fromkeys(first + ranked))[:STILLS]
    stills = []
    for site, view in sorted(chosen, key=ranked.index):
        number = kinds.index((site, view))
        loop = store.loop(number)
        synthetic = ", synthetic" if rows[number]["manufacturer"] == SYNTHETIC_MANUFACTURER else ""
        picture = thumbnail(loop.frames([len(loop) // 2])[0], loop.mask)
        stills.append({"picture": picture, "name": f"{view}, {site}{synthetic}"})
    patients, rejected = len({row["patient_id"] for row in rows}), store.rejected().num_rows
    came = (
        f"{counted(len(rows), 'loop')} of {counted(patients, 'patient')} from {counted(len(sites), 'site')}"
    )
    says = (
        f"{came} came in, with {counted(len(ranked), 'combination')} of site and view; "
        f"{counted(rejected, 'file')} did not. Below, the middle frame of one loop of each:"
    )
    return {"says": says, "stills": stills}


def counted(number: int, word: str) -> str:
    """A number and its word."""
    return f"{number} {word}{'s' * (number != 1)}"


def learned(islands: Mapping[str, Islands], maps: Markup | None, curves: Markup) -> Told:
    """The map of embeddings and how pure its neighbourhoods are; without embeddings the loss."""
    if maps is None:
        return Told("The loss over time; the results have no embeddings of test loops.", curves, "Loss")
    shares = {name: found.purity for name, found in islands.items()}
    parts = [
        f"{100 * share.value:.0f} %{in_brackets(100 * share.low, 100 * share.high, 0)} by {name}"
        for name, share in shares.items()
    ]
    if not parts:
        return Told("Features of test loops.", maps, "Map of test embeddings")
    chance = 100 * next(iter(islands.values())).chance
    says = (
        "Among a loop's 15 nearest loops of other patients, this share shows the same view: "
        f"{', '.join(parts)}; {chance:.0f} % by chance. Trust islands of colour on the map only if this "
        "number supports them."
    )
    return Told(says, maps, "Map of test embeddings, coloured by view")


def reads(rows: Sequence[ResultRow], predicted: Mapping[str, TaskPredictions]) -> Told:
    """Leading metric of each task with intervals, of every backbone and probe, given those of the tables; in
    words by the kind of probe that is drawn."""
    tasks = list(dict.fromkeys(row.task for row in rows))
    if not tasks:
        return Told(
            "No task was scored on all sites as one; `tables.md` beside the results has this plan's tables."
        )
    sentences = []
    for task in tasks:
        mine = [row for row in rows if row.task == task]
        probe = predicted[task].probe if task in predicted else mine[0].probe
        shown = sorted((r for r in mine if r.probe in (probe, CONSTANT)), key=lambda r: r.probe == CONSTANT)
        said = ", ".join(f"{r.backbone} {value_of(r)}" for r in shown)
        sentences.append(f"{task.upper()} by {probe}, {mine[0].metric}: {said}.")
    return Told(" ".join(sentences), Markup(forest(rows)), "Leading metric of each task")


def value_of(row: ResultRow) -> str:
    """A number with its interval, where it has one."""
    unit = f" {row.unit}" if row.unit else ""
    return f"{row.value:.1f}{unit}{in_brackets(row.lo, row.hi, 1)}"


def forest(rows: Sequence[ResultRow]) -> str:
    """Values with their intervals, a panel a task, a line a backbone and probe; dashed the constant."""
    tasks = list(dict.fromkeys(row.task for row in rows))
    most = max(sum(row.task == task for row in rows) for task in tasks)

    def paint(axes: Sequence[Axes]) -> None:
        for axis, task in zip(axes, tasks, strict=True):
            mine = [row for row in rows if row.task == task]
            constant = [row for row in mine if row.backbone == CONSTANT]
            lines = [row for row in mine if row.backbone != CONSTANT]
            names = list(dict.fromkeys(row.backbone for row in lines))
            for height, row in enumerate(lines):
                colour = PALETTE[names.index(row.backbone) % len(PALETTE)]
                axis.hlines(height, row.lo, row.hi, color=colour, lw=1.8)
                axis.scatter([row.value], [height], s=26, color=colour)
            for row in constant:
                axis.axvline(row.value, color="#667", lw=1, ls="--")
            axis.set(yticks=range(len(lines)), yticklabels=[f"{r.backbone}, {r.probe}" for r in lines])
            axis.set(
                title=task.upper(),
                xlabel=f"{mine[0].metric} {mine[0].unit}".strip(),
                ylim=(len(lines) - 0.5, -0.5),
            )

    return draw(4.4 * len(tasks), 0.9 + 0.26 * most, len(tasks), paint)


SURPRISE_COMMAND = "echojepa surprise --run RUN --data DATA --unlike NAME=PATH --out SURPRISE"


def fails(predicted: Mapping[str, TaskPredictions], surprise: Path | None) -> Told:
    """Whether anything tells that a loop is unlike the training set; without such a folder how sure a probe
    of classes is where it errs. UserError for a folder that `echojepa surprise` did not make."""
    if surprise is not None:
        return unlike(surprise)
    command = "echojepa evaluate PLAN --data DATA --backbones RUN --out RESULTS"
    for task, found in predicted.items():
        sure = {name: Confidence.of(made) for name, made in found.made.items() if made.classes}
        if sure:
            parts = [
                f"{name} is wrong for {100 * one.error_at(1):.0f} % of all loops, and for "
                f"{100 * one.error_at(0.5):.0f} % of the half with the highest certainty"
                for name, one in sure.items()
            ]
            caption = (
                "Share of wrong answers if only the most certain items are answered. With --surprise, "
                "the report shows how well surprise detects loops unlike the training set."
            )
            says = f"{task.upper()} by {found.probe}: {'; '.join(parts)}."
            return Told(says, Markup(risk_panel(sure)), "Risk over coverage", caption, command)
    return Told("There is no probe of classes to show certainty for, and no --surprise.", command=command)


def unlike(folder: Path) -> Told:
    """What `echojepa surprise` found."""
    if not (folder / FIGURE).is_file():
        raise UserError(f"{folder} has no {FIGURE}; run `echojepa surprise --out {folder.name}` first")
    rows = read_parquet(folder / f"{NUMBERS}.parquet").to_pylist()
    parts = [f"{row['kind']} {row['auroc']:.2f}" for row in rows if row["score"] == SURPRISE]
    best = {row["kind"]: row for row in sorted(rows, key=lambda row: row["auroc"])}
    beaten = sum(one["score"] != SURPRISE for one in best.values())
    says = (
        "How well the predictor's surprise detects loops unlike the training set (AUROC; 0.5 is chance): "
        f"{', '.join(parts)}. A simpler score detects {beaten} of {len(best)} kinds better."
        if parts
        else "Surprise of validation loops; no unusual kinds were named."
    )
    caption = (
        "Left, the surprise of each loop by kind, in standard deviations beyond training loops, with its "
        "median. Right, how well each score detects the kind, with 95 % intervals by patient."
    )
    picture = Markup((folder / FIGURE).read_text(encoding="utf-8"))
    return Told(says, picture, "Surprise by kind of loop, and AUROC of each score", caption, SURPRISE_COMMAND)
