"""`results.parquet`: one row a number, with its interval, and what it is a number of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from echojepa.data.store import replace_parquet
from echojepa.errors import UserError
from echojepa.evaluation.probes.predictions import ItemPredictions
from echojepa.evaluation.statistics.intervals import estimates
from echojepa.evaluation.statistics.metrics import METRICS, unit_of
from echojepa.tasks import Task
from echojepa.vocabulary import Split

Row = dict[str, Any]
"""A row of `results.parquet`, or a part of its columns."""
SCHEMA = pa.schema(
    [
        ("backbone", pa.string()),
        ("weights", pa.string()),
        ("parameters", pa.int64()),
        ("tokens", pa.int64()),
        ("embed_dim", pa.int64()),
        ("task", pa.string()),
        ("probe", pa.string()),
        ("trained_on", pa.string()),
        ("split", pa.string()),
        ("site", pa.string()),
        ("label_fraction", pa.float64()),
        ("perturbation", pa.string()),
        ("severity", pa.int64()),
        ("views", pa.string()),
        ("seed", pa.int64()),
        ("group", pa.string()),
        ("metric", pa.string()),
        ("unit", pa.string()),
        ("value", pa.float64()),
        ("lo", pa.float64()),
        ("hi", pa.float64()),
        ("patients", pa.int64()),
        ("items", pa.int64()),
        ("loops", pa.int64()),
        ("settled", pa.bool_()),  # whether the probe had stopped improving when its training ended
        ("note", pa.string()),
    ]
)
ALL_SITES = "all"
"""How rows call the loops of every site together."""
CONSTANT = "constant"
"""The backbone and the probe of rows that no backbone stands behind."""
EVERYBODY = "everybody"
"""The group of rows that are of all test patients."""
RESULTS = "results.parquet"


@dataclass(frozen=True)
class Scored:
    """One condition of one cell and backbone, ready to be scored."""

    task: Task
    facts: Row
    """Every column that is not a number with its interval."""
    test: ItemPredictions


def score(scored: Scored, resamples: int, seed: int) -> list[Row]:
    """A row a metric. Test items alone are scored; UserError where others are among them."""
    test = scored.test
    if set(test.splits.tolist()) != {str(Split.TEST)}:
        raise UserError(f"rows are of test patients alone; got {sorted(set(test.splits.tolist()))}")
    metrics = {name: m for name, m in METRICS[scored.task.kind].items() if m.can_score(test.prediction)}
    found = estimates(test.truth, test.prediction, test.patients, metrics, resamples=resamples, seed=seed)
    return [
        scored.facts
        | {
            "split": str(Split.TEST),
            "group": EVERYBODY,
            "metric": name,
            "unit": unit_of(name, scored.task.unit),
            "value": number.value,
            "lo": number.low,
            "hi": number.high,
            "patients": number.patients,
            "items": number.items,
        }
        for name, number in found.items()
    ]


def only_test(made: ItemPredictions) -> ItemPredictions:
    """Predictions of test items."""
    chosen = made.splits == Split.TEST
    return ItemPredictions(
        made.items[chosen],
        made.patients[chosen],
        made.splits[chosen],
        made.sites[chosen],
        made.truth[chosen],
        made.prediction[chosen],
    )


def write_results(path: Path, rows: Sequence[Row]) -> pa.Table:
    """Write rows as a table of `SCHEMA`; KeyError for a row without one of its columns."""
    columns = {name: [row[name] for row in rows] for name in SCHEMA.names}
    table = pa.table(columns, schema=SCHEMA)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_parquet(path, table)
    return table


def read_results(folder: Path) -> list[Row]:
    """Rows of a folder; UserError where there are none."""
    path = folder / RESULTS
    if not path.is_file():
        raise UserError(f"{folder} holds no {RESULTS}; run `echojepa evaluate` first")
    return pq.read_table(path).to_pylist()


def leading(rows: Sequence[Row]) -> list[Row]:
    """The rows of each task's leading metric."""
    first = {next(iter(metrics)) for metrics in METRICS.values()}
    found = {row["task"]: row["metric"] for row in reversed(rows) if row["metric"] in first}
    return [row for row in rows if row["metric"] == found.get(row["task"]) and row["group"] == EVERYBODY]


def said(row: Row) -> str:
    """What a row is a number of, in words."""
    parts = [row["metric"]] if row["group"] == EVERYBODY else [f"{row['metric']} of {row['group']}"]
    if row["trained_on"] != row["site"]:
        parts.append(f"{row['trained_on']} on {row['site']}")
    elif row["site"] != ALL_SITES:
        parts.append(row["site"])
    if row["label_fraction"] < 1:
        seed = "" if row["seed"] is None else f", seed {row['seed']}"
        parts.append(f"{100 * row['label_fraction']:g} % of labels{seed}")
    if row["perturbation"]:
        parts.append(f"{row['perturbation']} {row['severity']}")
    return ", ".join(filter(None, [*parts, row["views"], row["note"]]))
