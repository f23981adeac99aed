"""Claims about the table of backbones against each other."""

from __future__ import annotations

from typing import Any

from echojepa.evaluation.tables.differences import difference_table


def pair(**facts: Any) -> dict[str, Any]:
    cell = {"task": "lvef", "probe": "ridge", "trained_on": "all", "site": "all", "label_fraction": 1.0}
    number = {"metric": "MAE", "difference": -1.5, "low": -2.0, "high": 0.25, "p": 0.001, "p_holm": 0.0042}
    return cell | number | {"perturbation": "", "one": "JEPA", "other": "MAE"} | facts


def test_a_cell_has_the_difference_its_interval_and_the_corrected_p() -> None:
    table = difference_table([pair(), pair(task="view", metric="accuracy", label_fraction=0.1, p_holm=1e-5)])
    assert table is not None and table.ours.columns == ("lvef MAE", "view accuracy, 10 % of labels")
    assert table.ours.rows == {
        "JEPA minus MAE, ridge": {
            "lvef MAE": "-1.50 [-2.00, +0.25], p 0.004",
            "view accuracy, 10 % of labels": "-1.50 [-2.00, +0.25], p < 0.001",
        }
    }


def test_perturbed_loops_and_single_sites_are_not_in_it() -> None:
    assert (
        difference_table([pair(perturbation="haze"), pair(trained_on="a", site="a"), pair(site="b")]) is None
    )
