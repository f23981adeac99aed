"""What training loops are labelled with, as the objectives read it that learn from labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow.compute as pc
import torch
from numpy.typing import NDArray
from torch import Tensor

from echojepa.config import LABELLED, ConfigError, PretrainConfig
from echojepa.data.store.loop_store import LoopStore
from echojepa.models.phrases import GRADED, WORDINGS, report
from echojepa.models.supervised import REGRESSED, VIEWS


@dataclass(frozen=True)
class RowLabels:
    """Labels of a run's loops, in their order."""

    known: Tensor
    """(loops, columns)."""
    wordings: int = 1
    """How many numbers, from the known one on, say the same."""

    def of(self, loops: Sequence[int], draws: torch.Generator) -> Tensor:
        """Labels (B, columns) of some loops, each in a wording drawn for it."""
        known = self.known[list(loops)]
        if self.wordings == 1:
            return known
        return known + torch.randint(self.wordings, known.shape, generator=draws)


def read_row_labels(store: LoopStore, rows: NDArray[np.int64], config: PretrainConfig) -> RowLabels | None:
    """Labels of training loops, for objectives that learn from them; None for others.

    `supervised`: LVEF and RVSP of the study, standardised over these loops' studies, and the view's number.
    `contrastive`: a report of each loop. ConfigError for labels that are missing, all equal, or impossible.
    """
    if config.objective not in LABELLED:
        return None
    supervised = config.objective == "supervised"
    names = [one.label for one in (REGRESSED if supervised else GRADED)]
    loops = store.table.take(rows, columns=["study_id", "view", "sex"]).to_pydict()
    values = study_values(store, loops["study_id"], names)
    views = np.array([VIEWS.index(view) if view else math.nan for view in loops["view"]])
    check_known(dict(zip([*names, "view"], [*values.T, views], strict=True)), config)
    if supervised:
        studies = values[np.unique(loops["study_id"], return_index=True)[1]]
        standardised = (values - np.nanmean(studies, 0)) / np.nanstd(studies, 0)
        return RowLabels(torch.from_numpy(np.column_stack([standardised, views])).float())
    told = zip(values.tolist(), loops["view"], loops["sex"], strict=True)
    reports = [report(dict(zip(names, row, strict=True)), view, sex) for row, view, sex in told]
    return RowLabels(torch.tensor(reports), WORDINGS)


def study_values(store: LoopStore, studies: Sequence[str], names: Sequence[str]) -> NDArray[np.float64]:
    """Labels (loops, names) of each loop's study, NaN where it has none."""
    ours = pc.field("study_id").isin(studies) & pc.field("label").isin(names)
    known = {(row["study_id"], row["label"]): row["value"] for row in store.labels().filter(ours).to_pylist()}
    return np.array([[known.get((study, name), math.nan) for name in names] for study in studies])


def check_known(columns: dict[str, NDArray[np.float64]], config: PretrainConfig) -> None:
    """ConfigError where a label is missing, always the same, or outside of what its task allows."""
    known = {name: np.unique(values[np.isfinite(values)]) for name, values in columns.items()}
    lacking = [name for name, values in known.items() if len(values) < 2]
    if lacking:
        raise ConfigError(
            f"objective {config.objective} learns from {', '.join(columns)}, but training patients of "
            f"{config.data} do not have two different values of {', '.join(lacking)}; ingest their files "
            "again with --labels (views come with the files), or choose an objective without labels: "
            "jepa, videomae"
        )
    for task in REGRESSED:
        low, high = task.valid_range or (-math.inf, math.inf)
        if task.label in known and not (low <= known[task.label][0] and known[task.label][-1] <= high):
            raise ConfigError(
                f"a label {task.label} of {config.data} lies outside {low:g} to {high:g} {task.unit}; "
                "correct the table of labels and ingest it again"
            )
