"""What the phantom's presets cost: CPU time a loop and a frame, and hours for a whole preset.

    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/phantom_speed.py --preset benchmark --patients 12

Patients are spread evenly over the preset; time is this one process' own, rows encoded as for a data set.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

from echojepa.phantom.cohort.presets import PRESETS
from echojepa.phantom.cohort.sidecar import truth_table
from echojepa.phantom.cohort.study import draw_study, plan_study
from echojepa.phantom.cohort.writers import StoreWriter


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--preset", default="benchmark", choices=list(PRESETS))
    parser.add_argument("--patients", type=int, default=12)
    chosen = parser.parse_args()
    order = PRESETS[chosen.preset]
    loops = frames = coloured = 0
    begin = time.process_time()
    for ordinal in np.linspace(0, order.patients - 1, chosen.patients).astype(int):
        study = draw_study(order, int(ordinal))
        rows = StoreWriter.make(study, order)
        truth_table(study)
        loops += len(rows)
        frames += sum(len(row.times) for row in rows)
        coloured += sum(drawn.frames for drawn in study.loops if drawn.scanner.colour)
    seconds = time.process_time() - begin
    whole = sum(len(plan_study(order, ordinal)[1]) for ordinal in range(order.patients))
    print(
        f"{chosen.preset}: {chosen.patients} patients, {loops} loops, {frames} frames, {coloured} in colour: "
        f"{1000 * seconds / frames:.1f} ms a frame, {seconds / loops:.2f} s a loop; "
        f"{whole} loops: {whole * seconds / loops / 3600:.1f} CPU hours"
    )


if __name__ == "__main__":
    main()
