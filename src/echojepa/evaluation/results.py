"""`results.parquet`: one row a number, with its interval, and what it is a number of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import pyarrow as pa

from echojepa.config import ConfigError, EvaluateConfig, PlanConfig, ProbeConfig
from echojepa.errors import UserError
from echojepa.evaluation.features.backbones import BackboneFacts
from echojepa.evaluation.statistics.intervals import Estimate
from echojepa.evaluation.statistics.metrics import METRICS
from echojepa.files.records import entry, read_plain, read_record, write_record
from echojepa.files.tables import read_parquet, write_parquet
from echojepa.vocabulary import Split

ALL_SITES = "all"
"""How rows call the loops of every site together."""
CONSTANT = "constant"
"""The backbone and the probe of rows that no backbone stands behind."""
EVERYBODY = "everybody"
"""The group of rows that are of all test patients."""
RESULTS, SETTINGS, DATA = "results.parquet", "config.json", "data.json"


@dataclass(frozen=True, kw_only=True)
class RowFacts(BackboneFacts):
    """What a number is of."""

    task: str
    probe: str
    trained_on: str
    site: str
    label_fraction: float
    perturbation: str
    severity: int
    views: str
    seed: int | None
    """None for the mean over several."""
    loops: int
    converged: bool
    """Whether the probe had stopped improving when its training ended."""
    note: str

    def row(
        self, metric: str, unit: str, number: Estimate, group: str = EVERYBODY, split: str = Split.TEST
    ) -> ResultRow:
        """The row of a number; nothing else makes one."""
        return ResultRow(
            **vars(self), split=str(split), group=group, metric=metric, unit=unit, value=number.value,
            lo=number.low, hi=number.high, patients=number.patients, items=number.items,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class ResultRow(RowFacts):
    """A row of `results.parquet`."""

    split: str
    group: str
    metric: str
    unit: str
    value: float
    lo: float
    hi: float
    patients: int
    items: int


ARROW = {"str": pa.string(), "int": pa.int64(), "int | None": pa.int64(), "float": pa.float64(),
         "bool": pa.bool_()}  # fmt: skip
SCHEMA = pa.schema(
    [(field.name, ARROW[str(field.type)]) for field in fields(ResultRow)],
    metadata={"echojepa": '{"format_version": 2}'},
)
"""Version 1, which did not say so, called `converged` `settled`."""


def write_results(path: Path, rows: Sequence[ResultRow]) -> None:
    """Write rows as a table of `SCHEMA`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_parquet(path, pa.Table.from_pylist([vars(row) for row in rows], schema=SCHEMA))


def read_results(folder: Path) -> list[ResultRow]:
    """Rows of a folder, of either version; UserError where there are none, or the table is damaged."""
    path = folder / RESULTS
    if not path.is_file():
        raise UserError(f"{folder} has no {RESULTS}; run `echojepa evaluate` first")
    table = read_parquet(path)
    table = table.rename_columns(["converged" if n == "settled" else n for n in table.column_names])
    if sorted(table.column_names) != sorted(SCHEMA.names):
        other = sorted(set(table.column_names) ^ set(SCHEMA.names))
        raise UserError(
            f"{path} was changed: the columns {other} are missing or additional; run `echojepa evaluate` "
            "again"
        )
    try:
        whole = table.select(SCHEMA.names).cast(SCHEMA)
    except (pa.ArrowException, ValueError) as error:
        raise UserError(f"{path} was changed: {error}; run `echojepa evaluate` again") from error
    return [ResultRow(**row) for row in whole.to_pylist()]


def read_settings(results: Path) -> PlanConfig:
    """What an evaluation was run with; UserError where the folder does not say."""
    path = results / SETTINGS
    if not path.is_file():
        raise UserError(f"{results} has no {SETTINGS}; give a folder made by `echojepa evaluate` or `probe`")
    kind: type[PlanConfig] = EvaluateConfig if "plan" in read_plain(path) else ProbeConfig
    try:
        return read_record(kind, path)
    except ConfigError as error:
        raise UserError(
            f"{path} is of another version of echojepa; run its command again: {error}"
        ) from error


def write_fingerprints(results: Path, fingerprints: Sequence[str]) -> None:
    """Leave beside results which data sets they are of."""
    write_record(results / DATA, {"fingerprints": list(fingerprints)})


def read_fingerprints(results: Path) -> tuple[str, ...]:
    """Fingerprints of the data sets that results are of; none where a folder of before does not say."""
    path = results / DATA
    return tuple(entry(read_plain(path), "fingerprints", list, path)) if path.is_file() else ()


def leading(rows: Sequence[ResultRow]) -> list[ResultRow]:
    """The rows of each task's leading metric."""
    first = {next(iter(metrics)) for metrics in METRICS.values()}
    found = {row.task: row.metric for row in reversed(rows) if row.metric in first}
    return [row for row in rows if row.metric == found.get(row.task) and row.group == EVERYBODY]


def said(row: ResultRow) -> str:
    """What a row is a number of, in words."""
    parts = [row.metric] if row.group == EVERYBODY else [f"{row.metric} of {row.group}"]
    if row.trained_on != row.site:
        parts.append(f"{row.trained_on} on {row.site}")
    elif row.site != ALL_SITES:
        parts.append(row.site)
    if row.label_fraction < 1:
        seed = "" if row.seed is None else f", seed {row.seed}"
        parts.append(f"{100 * row.label_fraction:g} % of labels{seed}")
    if row.perturbation:
        parts.append(f"{row.perturbation} {row.severity}")
    return ", ".join(filter(None, [*parts, row.views, row.note]))


def count_probes(rows: Sequence[ResultRow]) -> tuple[int, int]:
    """How many trained probes stand behind rows, and how many of them had not converged."""
    trained = {
        (row.backbone, row.task, row.probe, row.trained_on, row.label_fraction, row.seed): row.converged
        for row in rows
        if row.weights and row.seed is not None
    }
    return len(trained), sum(not converged for converged in trained.values())
