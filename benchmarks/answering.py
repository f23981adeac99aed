"""Whether a model answers, how often its intervals hold the truth, and what it refuses.

    python benchmarks/answering.py MODEL DATA [DATA ...] [--unlike DATA ...] [--split val] --out OUT

`MODEL` is a folder of `echojepa assemble`. Of `DATA`, data sets like those it was trained on, the patients
of one split are asked; of `--unlike`, everybody. A study's loops go through the code of `predict` from where
its files are read on, twice: with the views that files state, and with the model's own where none is
stated. A set of counterfactuals is told apart by its factor. OUT gets

    answering.csv, answering.md   a row a number with its 95 % interval over patients; the same as tables
    curve.csv, answering.png      error of what is answered as the threshold of likeness moves

Validation patients chose thresholds and calibrated the intervals: `--split val` flatters both.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
from matplotlib.figure import Figure

from echojepa.answer.loops import StudyFeatures, findings_of, unfit
from echojepa.answer.model import Model, ValuePart, load_model
from echojepa.answer.predict import answer_found
from echojepa.answer.study import ReadStudy, shown_to, stored_study
from echojepa.answer.tasks import answer_task, fit
from echojepa.answer.values import Abstention, LeftOut, LoopFinding, TaskAnswer
from echojepa.data.store.loop_store import LoopStore
from echojepa.evaluation.probes.stored import StoredProbe
from echojepa.evaluation.protocol.cohort import read_cohort
from echojepa.evaluation.statistics.conformal import calibrate, calibrates
from echojepa.evaluation.statistics.intervals import Estimate, mean_over_patients, share_of_patients
from echojepa.files.tables import write_csv
from echojepa.progress import quiet
from echojepa.terminal import progress_bar
from echojepa.vocabulary import Kind, Split

STATED, TOLD = "as stated", "the model's"
"""Whose views count: the files', or the model's alone."""
ALL, LIKE, EVERYBODY = "all tasks", "like training", "everybody"
RESAMPLES, SEED = 2000, 0
FEWEST = 5
"""Answered studies behind a point of the curve, at least."""


@dataclass(frozen=True)
class Asked:
    """A task of one study, asked in one way."""

    data: str
    views: str
    patient: str
    task: str
    truth: float | None
    answer: TaskAnswer
    steps: tuple[tuple[float, float | None], ...] = ()
    """The value from each threshold of distance on; None for no answer."""


@dataclass(frozen=True)
class Looked:
    """A loop, looked at in one way."""

    data: str
    views: str
    patient: str
    left_out: LeftOut | None
    """Why no task may rest on it."""


@dataclass(frozen=True)
class Number:
    """A row of answering.csv."""

    data: str
    views: str
    task: str
    what: str
    value: float
    low: float
    high: float
    patients: int


def difference_of_shares(one: Estimate, other: Estimate) -> Estimate:
    """One share minus that of other patients, with the 95 % interval of Newcombe, Statistics in Medicine
    17:873 (1998), method 10: of Wilson's intervals. Patients and items are those of the first."""
    apart = one.value - other.value
    low = apart - float(np.hypot(one.value - one.low, other.high - other.value))
    high = apart + float(np.hypot(one.high - one.value, other.value - other.low))
    return Estimate(apart, low, high, one.patients, one.items)


def main() -> None:
    """Ask, count, write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("model", type=Path)
    parser.add_argument("data", nargs="+", type=Path)
    parser.add_argument("--unlike", nargs="*", default=[], type=Path)
    parser.add_argument("--split", choices=[str(split) for split in Split], default=str(Split.VAL))
    parser.add_argument("--out", required=True, type=Path)
    options = parser.parse_args()
    model = load_model(options.model)
    asked: list[Asked] = []
    looked: list[Looked] = []
    for path in (*options.data, *options.unlike):
        split = options.split if path in options.data else None
        with progress_bar(path.name) as show:
            ask(model, LoopStore.open(path), path.name, split, asked, looked, show)
    like = {path.name for path in options.data}
    constants = {
        part.task.name: width for part in model.card.tasks if (width := constant(options, part)) is not None
    }
    numbers = [*task_numbers(asked, like, constants), *loop_numbers(looked, like)]
    points = list(curve(asked, like))
    options.out.mkdir(parents=True, exist_ok=True)
    write_csv(options.out / "answering.csv", map(asdict, numbers))
    write_csv(options.out / "curve.csv", points)
    text = tables(numbers)
    (options.out / "answering.md").write_text(text, encoding="utf-8")
    print(text)
    draw(points, model, options.out / "answering.png")


def ask(
    model: Model, store: LoopStore, name: str, split: str | None, asked: list[Asked], looked: list[Looked],
    show: Callable[[int, int, str], None],
) -> None:  # fmt: skip
    """Ask about every study of a data set, or of the patients of one split."""
    labels = {(row["study_id"], row["label"]): row["value"] for row in store.labels().to_pylist()}
    moved = factors(store)
    columns = ["study_id", "patient_id", "split", "kind", "loop_id"]
    studies: dict[tuple[str, str, str], list[int]] = {}
    for number, row in enumerate(store.metadata(columns).to_pylist()):
        if row["kind"] == Kind.CINE and split in (None, row["split"]):
            data = name + moved.get(row["loop_id"], "")
            studies.setdefault((data, row["patient_id"], row["study_id"]), []).append(number)
    for done, ((data, patient, study_id), rows) in enumerate(studies.items(), start=1):
        study = shown_to(model.backbone.spec, stored_study(store, rows))
        features = StudyFeatures(model, study.loops, quiet)
        for views, shown in ways(model, study):
            found = findings_of(model, shown, features)
            looked += [Looked(data, views, patient, loop.left_out) for loop in found]
            answer = answer_found(shown, model, found, features)
            for part, task in zip(model.card.tasks, answer.tasks, strict=True):
                steps = tuple(steps_of(model, part, found, features))
                truth = labels.get((study_id, part.task.label))
                asked.append(Asked(data, views, patient, task.name, truth, task, steps))
        show(done, len(studies), "studies")


def factors(store: LoopStore) -> dict[str, str]:
    """Of counterfactuals of the phantom: which factor a loop has, at which value."""
    path = store.root / "truth.parquet"
    if not path.is_file():
        return {}
    rows = pq.read_table(path, columns=["loop_id", "factor", "factor_value"]).to_pylist()
    return {r["loop_id"]: f", {r['factor']} {r['factor_value']:g}" for r in rows if r["factor"]}


def ways(model: Model, study: ReadStudy) -> Iterator[tuple[str, ReadStudy]]:
    """The study as its files state it, and without views where the model can tell them."""
    yield STATED, study
    if model.view:
        silent = tuple(replace(loop, row=replace(loop.row, view=None)) for loop in study.loops)
        yield TOLD, replace(study, loops=silent)


def steps_of(
    model: Model, part: ValuePart, found: Sequence[LoopFinding], features: StudyFeatures
) -> Iterator[tuple[float, float | None]]:
    """The value of a task at every threshold of distance at which other loops take part."""
    before: list[int] = []
    for distance in sorted({loop.quality.distance for loop in found}):
        limits = replace(model.card.thresholds, most_distance=distance)
        limited = [replace(loop, left_out=unfit(loop, limits)) for loop in found]
        usable = fit(part.task, limited)
        if usable != before:
            yield distance, answer_task(model, part, limited, 0, features).value
            before = usable


def constant(options: argparse.Namespace, part: ValuePart) -> float | None:
    """Width of the interval of a constant, the median of training patients, calibrated as the task's own."""
    cohort, task = read_cohort(options.data), part.task
    known = {
        loop.study_id: loop for loop in cohort.loops.values() if (loop.study_id, task.label) in cohort.labels
    }
    patients, splits = (
        np.array([getattr(loop, name) for loop in known.values()], dtype=str)
        for name in ("patient_id", "split")
    )
    truth = np.array([cohort.value(study, task) for study in known])
    train = splits == Split.TRAIN
    if part.intervals is None or not train.any():
        return None
    seed = StoredProbe(options.model / part.probe.folder).card().seed
    held = (splits == Split.VAL) & calibrates(patients, seed)
    middle, group = np.full(held.sum(), np.median(truth[train])), np.full(held.sum(), "study")
    found = calibrate(
        truth[held], middle, patients[held], group,
        chose_head=patients[train], alpha=part.intervals.alpha, edges=(), seed=seed,
    )  # fmt: skip
    return 2 * next(iter(found.half_widths.values()))


def share(values: Sequence[bool], patients: Sequence[str]) -> Estimate:
    """Share with its 95 % interval over patients."""
    return share_of_patients(np.array(values), np.array(patients))


def row_of(data: str, views: str, task: str, what: str, number: Estimate) -> Number:
    """A row; shares become per cent."""
    times = 100 if what.endswith("%") else 1
    return Number(
        data,
        views,
        task,
        what,
        times * number.value,
        times * number.low,
        times * number.high,
        number.patients,
    )


def mean(values: Sequence[float], patients: Sequence[str]) -> Estimate:
    """Mean with its 95 % interval over patients."""
    return mean_over_patients(np.array(values), np.array(patients), resamples=RESAMPLES, seed=SEED)


def groups(
    names: Sequence[str], like: set[str], views: Sequence[str]
) -> Iterator[tuple[str, list[int], list[int] | None]]:
    """Data set (all that are like training together), its entries, and those of training to compare with."""
    for way in (STATED, TOLD):
        mine = [n for n, one in enumerate(views) if one == way]
        base = [n for n in mine if names[n] in like]
        if base:
            yield LIKE, base, None
        for name in sorted({names[n] for n in mine} - like):
            yield name, [n for n in mine if names[n] == name], base or None


def task_numbers(asked: Sequence[Asked], like: set[str], constants: dict[str, float]) -> Iterator[Number]:
    """What is answered, how wide, how right, and what is refused, by data set, views and task."""
    for task in (*dict.fromkeys(one.task for one in asked), ALL):
        mine = [one for one in asked if task in (one.task, ALL)]
        for data, chosen, base in groups([one.data for one in mine], like, [one.views for one in mine]):
            here = [mine[n] for n in chosen]
            for what, number in answers_of(here, [mine[n] for n in base] if base else None).items():
                if task != ALL or "task" not in what:
                    yield row_of(data, here[0].views, task, what.removesuffix(" of a task"), number)
            if task in constants and data == LIKE:
                width = Estimate(constants[task], math.nan, math.nan, 0, 0)
                yield row_of(data, here[0].views, task, "width of a constant's interval", width)


def answers_of(here: Sequence[Asked], base: Sequence[Asked] | None) -> dict[str, Estimate]:
    """Numbers of a group; `of a task` is what has that task's unit."""
    found = {"answered, %": answered(here)}
    if base:
        found["answered less than like training, %"] = difference_of_shares(answered(base), answered(here))
    refused = refusals(here)
    if refused:
        found["refused as unlike, of those with its views, %"] = refused
        before = refusals(base) if base else None
        if before:
            found["refused more than like training, %"] = difference_of_shares(refused, before)
    known = [(one, one.truth, one.answer.value, one.answer.interval) for one in here]
    told = [
        (one.patient, t, v, i) for one, t, v, i in known if t is not None and v is not None and i is not None
    ]
    if told:
        names = [patient for patient, *_ in told]
        found["interval holds the truth, %"] = share([i.low <= t <= i.high for _, t, _, i in told], names)
        found["mean width of a task"] = mean([i.high - i.low for _, _, _, i in told], names)
        found["mean absolute error of a task"] = mean([abs(v - t) for _, t, v, _ in told], names)
    return found


def answered(here: Sequence[Asked]) -> Estimate:
    """Share of tasks with a value."""
    return share([one.answer.value is not None for one in here], [one.patient for one in here])


def refusals(here: Sequence[Asked]) -> Estimate | None:
    """Share refused as unlike training, of what would be answered if likeness were not looked at."""
    able = [one for one in here if one.answer.abstention in (None, Abstention.UNLIKE)]
    if not able:
        return None
    return share([one.answer.abstention is not None for one in able], [one.patient for one in able])


def loop_numbers(looked: Sequence[Looked], like: set[str]) -> Iterator[Number]:
    """Shares of loops that take no part, by data set and views."""
    for data, chosen, base in groups([one.data for one in looked], like, [one.views for one in looked]):
        here, before = [looked[n] for n in chosen], [looked[n] for n in base or ()]
        for why in (LeftOut.UNLIKE, LeftOut.UNCERTAIN):
            own = part_of(here, why)
            yield row_of(data, here[0].views, "loops", f"{why.value}, %", own)
            if before:
                more = difference_of_shares(own, part_of(before, why))
                yield row_of(data, here[0].views, "loops", f"{why.value}: more than like training, %", more)


def part_of(here: Sequence[Looked], why: LeftOut) -> Estimate:
    """Share of loops that are left out for this."""
    return share([one.left_out == why for one in here], [one.patient for one in here])


def curve(asked: Sequence[Asked], like: set[str]) -> Iterator[dict[str, object]]:
    """Share answered and error of what is answered, by threshold, data set, task and whose views count."""
    for views, task in dict.fromkeys((one.views, one.task) for one in asked):
        mine = [one for one in asked if (one.views, one.task) == (views, task)]
        named = [(LIKE if one.data in like else one.data, one) for one in mine]
        thresholds = sorted({step for one in mine for step, _ in one.steps})
        for data in (LIKE, *sorted({name for name, _ in named} - {LIKE}), EVERYBODY):
            here = [one for name, one in named if data in (name, EVERYBODY)]
            before: list[float | None] = []
            for threshold in thresholds:
                values = [value_at(one, threshold) for one in here]
                if values == before:
                    continue
                before = values
                errors = [abs(v - one.truth) for v, one in zip(values, here, strict=True)
                          if v is not None and one.truth is not None]  # fmt: skip
                yield {
                    "views": views, "task": task, "data": data, "threshold": threshold, "studies": len(here),
                    "answered": sum(v is not None for v in values) / len(here),
                    "error": float(np.mean(errors)) if len(errors) >= FEWEST else math.nan,
                }  # fmt: skip


def value_at(one: Asked, threshold: float) -> float | None:
    """The value of a task where loops up to this distance take part."""
    before = [value for step, value in one.steps if step <= threshold]
    return before[-1] if before else None


def tables(numbers: Sequence[Number]) -> str:
    """A Markdown table of each task and of loops: a row a data set and way of telling views."""
    lines = []
    for task in dict.fromkeys(one.task for one in numbers):
        mine = [one for one in numbers if one.task == task]
        columns = list(dict.fromkeys(one.what for one in mine))
        lines += [f"\n**{task}**\n", "| data | views | patients | " + " | ".join(columns) + " |"]
        lines += ["|---" * (len(columns) + 3) + "|"]
        for data, views in dict.fromkeys((one.data, one.views) for one in mine):
            cells = {one.what: one for one in mine if (one.data, one.views) == (data, views)}
            patients = next(iter(cells.values())).patients
            row = [words(cells[what]) if what in cells else "" for what in columns]
            lines.append(f"| {data} | {views} | {patients} | " + " | ".join(row) + " |")
    return "\n".join(lines) + "\n"


def words(number: Number) -> str:
    """A number with its interval."""
    if math.isnan(number.low):
        return f"{number.value:.1f}"
    return f"{number.value:.1f} ({number.low:.1f} to {number.high:.1f})"


def draw(points: Sequence[dict[str, object]], model: Model, path: Path) -> None:
    """A column a task. Above, error against share answered; below, share answered against the threshold, with
    the views that files state and with the model's."""
    tasks = {part.task.name: part.task.unit for part in model.card.tasks}
    figure = Figure((4.4 * len(tasks), 8.6), dpi=100, layout="constrained")
    axes = figure.subplots(3, len(tasks), squeeze=False)
    names = list(dict.fromkeys(one["data"] for one in points))
    colours = {name: "black" if name == EVERYBODY else f"C{number}" for number, name in enumerate(names)}
    limit = model.card.thresholds.most_distance
    for column, (task, unit) in enumerate(tasks.items()):
        error, *shares = (axis[column] for axis in axes)
        for name, (views, axis) in product(names, zip((STATED, TOLD), shares, strict=True)):
            mine = [p for p in points if (p["views"], p["task"], p["data"]) == (views, task, name)]
            x, y, z = (
                np.array([one[key] for one in mine], dtype=float)
                for key in ("threshold", "answered", "error")
            )
            axis.step(x, 100 * y, where="post", label=name, color=colours[name], linewidth=1.3)
            if views == STATED and np.isfinite(z).any():
                error.plot(100 * y, z, color=colours[name], linewidth=1.3)
                own = np.flatnonzero(x <= limit)[-1:]
                error.plot(100 * y[own], z[own], "o", color=colours[name], markersize=4)
        error.set(
            title=task, xlabel="studies answered, %", ylabel=f"mean absolute error, {unit}", ylim=(0, None)
        )
        for views, axis in zip((STATED, TOLD), shares, strict=True):
            axis.axvline(limit, color="grey", linewidth=1, linestyle=":")
            axis.set(
                xlabel=f"threshold of distance, views {views}", ylabel="studies answered, %", ylim=(0, 103)
            )
    axes[2][0].legend(frameon=False, fontsize=7)
    figure.savefig(path)


if __name__ == "__main__":
    main()
