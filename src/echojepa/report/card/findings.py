"""Sections on what was found."""

from __future__ import annotations

from echojepa.evaluation.results import ALL_SITES, CONSTANT, EVERYBODY, ResultRow, leading, said
from echojepa.evaluation.statistics.intervals import in_brackets
from echojepa.evaluation.statistics.metrics import METRICS
from echojepa.report.card.records import Records
from echojepa.report.card.sections import CardTable, Missing, Section
from echojepa.report.card.study import AUTHORS, CLINICIANS

AGREEMENT = ("bias", "limit of agreement, low", "limit of agreement, high", "within 10")
"""Metrics of values that say how far single answers err."""
FEW = 100
"""Test patients below which intervals are wide."""
BETTER = {metric.name: metric.better for group in METRICS.values() for metric in group.values()}


def number(row: ResultRow) -> str:
    """Value, interval and patients."""
    return f"{row.value:.2f} {row.unit}".strip() + in_brackets(row.lo, row.hi, 2)


def performance(records: Records) -> Section:
    """The leading metric of each task, of this encoder and of the constant."""
    mine = [
        row for row in leading(records.rows)
        if row.backbone in (records.name, CONSTANT) and not row.perturbation and row.seed in (0, None)
    ]  # fmt: skip
    several = {place_of(row) for row in mine if row.seed is None}
    shown = [row for row in mine if row.seed is None or place_of(row) not in several]
    rows = tuple(
        (row.task, row.backbone, row.probe, said(row), number(row), str(row.patients))
        for row in sorted(shown, key=lambda row: (row.task, row.backbone == CONSTANT, row.probe))
    )
    told = [
        "Every figure is for test patients, with its 95 % interval over patients; the report has all "
        "metrics, all backbones, agreement and calibration.",
    ]
    if records.synthetic != "none":
        told.append("Synthetic: no figure here is clinical.")
    if not records.name:
        told.append("The results have no row for this encoder: its weights have another digest.")
    groups = [row for row in records.own if row.group != EVERYBODY]
    if groups:
        told.append(
            f"{len(groups)} rows of results.parquet give it by group; separate sites: "
            f"{len({row.site for row in records.own} - {ALL_SITES})}."
        )
    columns = ("task", "backbone", "probe", "of", "value", "test patients")
    table = CardTable("Performance on test patients", columns, rows)
    return Section("Performance", "23a 23b 24", "37 38", tuple(told), (), table)


def place_of(row: ResultRow) -> tuple[str, str, str, str, str, float]:
    """What a number is of, but for its seed."""
    return row.task, row.backbone, row.probe, row.trained_on, row.site, row.label_fraction


def failures(records: Records) -> Section:
    """Where it errs."""
    plain = [
        row for row in records.own
        if row.group == EVERYBODY and not row.perturbation and row.seed == 0 and row.label_fraction == 1.0
        and row.trained_on == row.site == ALL_SITES
    ]  # fmt: skip
    found = {(row.task, row.probe, row.metric): number(row) for row in plain}
    pairs = dict.fromkeys((row.task, row.probe) for row in plain if row.metric in AGREEMENT)
    rows = tuple((*pair, *(found.get((*pair, name), "") for name in AGREEMENT)) for pair in pairs)
    table = CardTable("Agreement with the truth", ("task", "probe", *AGREEMENT), rows) if rows else None
    told = "The report shows confusion of classes, Bland-Altman plots and errors of uncertain predictions."
    missing = Missing("what the worst cases have in common, as judged by a reader", CLINICIANS)
    return Section("Failures", "", "39", (told,), (missing,), table)


def limits(records: Records) -> Section:
    """What its own records say against it."""
    told = []
    if records.synthetic != "none":
        told.append(
            "Loops of a phantom have no patient's anatomy, artefacts, scanners or errors of measurement: "
            "results on them may not hold for patients."
        )
    tested = max((row.patients for row in records.own), default=0)
    if tested < FEW:
        told.append(f"{tested} test patients at most: intervals are wide.")
    worse = behind(records)
    if worse:
        told.append(
            f"Not clearly better than the constant, which lies within the interval or is better: {worse}."
        )
    if len({row["site"] for row in records.loops}) == 1:
        told.append("One site: performance at other sites is unknown.")
    interpretation = Missing(
        "interpretation of the findings with fairness and earlier studies, and other limits", AUTHORS
    )
    return Section("Interpretation and limits", "25 26", "40", tuple(told), (interpretation,))


def behind(records: Records) -> str:
    """Tasks and probes of all labels whose interval is not clear of the constant's value."""
    plain = [
        row for row in leading(records.rows)
        if not row.perturbation and row.trained_on == row.site == ALL_SITES and row.seed in (0, None)
    ]  # fmt: skip
    constants = {(r.task, r.label_fraction, r.seed): r.value for r in plain if r.backbone == CONSTANT}
    found = []
    for row in plain:
        level = constants.get((row.task, row.label_fraction, row.seed))
        if row.backbone == records.name and level is not None:
            clear = row.hi < level if BETTER[row.metric] == "lower" else row.lo > level
            if not clear:
                found.append(f"{row.task} by {row.probe}, {said(row)}")
    return "; ".join(found)
