"""What scoring costs: CPU seconds of one call of each kind, on noise of a realistic size.

    OMP_NUM_THREADS=1 python benchmarks/scoring.py
    python benchmarks/scoring.py --resamples 200

150 test patients: one study each for regression, 8 loops each for 13 classes. Subgroups and a pair of
backbones are timed on the task's leading metric, as a plan makes them.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from echojepa.evaluation.statistics.comparison import compare
from echojepa.evaluation.statistics.formulas import Values
from echojepa.evaluation.statistics.intervals import estimates
from echojepa.evaluation.statistics.metrics import METRICS
from echojepa.evaluation.statistics.subgroups import subgroups

PATIENTS, LOOPS, CLASSES, BACKBONES = 150, 8, 13, 4


def seconds(work: Callable[[], object], rounds: int = 3) -> float:
    """CPU seconds of the fastest of some calls."""
    taken = []
    for _ in range(rounds):
        before = time.process_time()
        work()
        taken.append(time.process_time() - before)
    return min(taken)


def regression(rng: np.random.Generator) -> tuple[Values, list[Values], Values]:
    """Truth, predictions of each backbone, and patients: one study a patient."""
    truth = rng.normal(55, 12, PATIENTS)
    return truth, [truth + rng.normal(0, 6, PATIENTS) for _ in range(BACKBONES)], np.arange(PATIENTS)


def classification(rng: np.random.Generator) -> tuple[Values, list[Values], Values]:
    """The same for probabilities of classes: some loops a patient."""
    truth = rng.integers(0, CLASSES, PATIENTS * LOOPS)
    logits = [
        3 * np.eye(CLASSES)[truth] + rng.normal(0, 1.5, (len(truth), CLASSES)) for _ in range(BACKBONES)
    ]
    chances = [np.exp(one) / np.exp(one).sum(1, keepdims=True) for one in logits]
    return truth.astype(np.float64), chances, np.repeat(np.arange(PATIENTS), LOOPS)


def report(kind: str, data: tuple[Values, list[Values], Values], resamples: int) -> None:
    """Measure one kind of task and print."""
    truth, predictions, patients = data
    metrics = METRICS[kind]
    lead, groups = next(iter(metrics.values())), np.array(["a", "b", "c"])[patients % 3]
    named = {str(number): one for number, one in enumerate(predictions)}
    score = seconds(lambda: estimates(truth, predictions[0], patients, metrics, resamples=resamples, seed=0))
    parts = seconds(
        lambda: subgroups(truth, predictions[0], patients, groups, lead, resamples=resamples, seed=0)
    )
    family = seconds(lambda: compare(truth, named, patients, lead, resamples=resamples, seed=0))
    pair = family / (BACKBONES * (BACKBONES - 1) // 2)
    print(f"{kind}, {len(truth)} items, {resamples} resamples")
    print(f"score {score:.3f} CPU s; three subgroups {parts:.3f}; a pair of backbones {pair:.3f}")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--resamples", type=int, default=1000)
    options = parser.parse_args()
    report("regression", regression(np.random.default_rng(0)), options.resamples)
    report("classification", classification(np.random.default_rng(0)), options.resamples)


if __name__ == "__main__":
    main()
