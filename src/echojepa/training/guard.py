"""What ends a run or rolls it back: sudden drops, non-finite steps, unreadable loops.

It reads only the run's own log, so a resumed run decides as an undisturbed one does.
"""

from __future__ import annotations

from typing import Any

from echojepa.config import FaultConfig
from echojepa.errors import UserError


class CollapseError(UserError):
    """The run was stopped at a sudden drop."""


class FaultError(UserError):
    """More faults than the settings allow."""


def sudden_drop(lines: list[dict[str, Any]], faults: FaultConfig, settled: int, targets_move: bool) -> str:
    """Why the newest of a run's metrics look like a collapse; "" where they do not.

    There are two signs. First, the mean loss of the last `window` steps is far below that of the window
    before, both after `settled` steps (early in training the loss should fall). A loss of moving targets that
    falls suddenly shows targets that are easy to predict because they hold little information. Second, the
    effective rank is far below that of the previous check.
    """
    window = faults.window
    due = targets_move and len(lines) % window == 0
    losses = [line["loss"] for line in lines[settled:] if line["loss"] is not None] if due else []
    if len(losses) >= 2 * window:
        now, before = sum(losses[-window:]) / window, sum(losses[-2 * window : -window]) / window
        if now < faults.loss_drop * before:
            return (
                f"the mean loss of {window} steps fell from {before:.3f} to {now:.3f}: targets are "
                "becoming easy to predict, which is how a collapse begins"
            )
    if lines and "effective_rank" in lines[-1]:
        looks = [line["effective_rank"] for line in lines if "effective_rank" in line]
        if len(looks) > 1 and looks[-1] < faults.rank_drop * looks[-2]:
            return f"the effective rank fell from {looks[-2]:.1f} to {looks[-1]:.1f} between two checks"
    return ""


def check_counts(lines: list[dict[str, Any]], faults: FaultConfig, lr: float) -> None:
    """FaultError once more steps were not finite, or more loops unreadable, than the settings bear."""
    nonfinite = [line["step"] for line in lines if "nonfinite" in line]
    if len(nonfinite) > faults.max_nonfinite:
        raise FaultError(
            f"loss or gradient was non-finite at the steps {nonfinite}, more than faults.max_nonfinite "
            f"{faults.max_nonfinite}; lower optim.lr (now {lr:g}) or check the clips of those steps"
        )
    damaged = sorted({loop for line in lines for loop in line.get("damaged", {})})
    if len(damaged) > faults.max_damaged:
        raise FaultError(
            f"{len(damaged)} cine loops could not be read, more than faults.max_damaged "
            f"{faults.max_damaged}: {', '.join(damaged[:5])}, ...; check whether the data set is "
            "complete, or ingest those files again"
        )
