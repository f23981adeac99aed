"""Rows of results that no evaluation made."""

from __future__ import annotations

from typing import Any

from echojepa.evaluation.results import ResultRow


def row(**facts: Any) -> ResultRow:
    """A row of results, LVEF of all sites unless something else is said."""
    cell = {"task": "lvef", "probe": "attentive", "trained_on": "all", "site": "all", "label_fraction": 1.0}
    number = {"metric": "MAE", "unit": "%", "group": "everybody", "value": 6.0, "lo": 5.0, "hi": 7.0}
    who = {"backbone": "JEPA", "weights": "w", "parameters": 1, "tokens": 1, "embed_dim": 1, "seed": 0}
    rest = {"split": "test", "perturbation": "", "severity": 0, "views": "", "note": "", "converged": True}
    counts = {"patients": 30, "items": 30, "loops": 60}
    return ResultRow(**cell | number | who | rest | counts | facts)
