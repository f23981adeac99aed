"""What pretraining added to its random starts, over patients and pretraining seeds.

    echojepa evaluate learned --data DATA --backbones RUN0 --out RESULTS0       # of each seed of pretraining
    python benchmarks/learned.py RESULTS0 RESULTS1 ...

For every probe of the plan: the error of each run and of its own random start on the same test items (LVEF:
points off by study; view: % wrong by loop), the mean over seeds of labels, and the difference, positive where
the run is better. Intervals, 95 %: patients and pretraining seeds are drawn with replacement, each
by itself (`echojepa.evaluation.runs`).
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from echojepa.evaluation.protocol.plans import OVER_TIME
from echojepa.evaluation.runs import compare_runs
from echojepa.evaluation.tables.over_runs import runs_markdown, runs_panels


def main() -> None:
    """Print the table, and draw it where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("results", type=Path, nargs="+")
    parser.add_argument("--figure", type=Path, help="SVG to write, of the probes over time")
    options = parser.parse_args()
    lines = compare_runs(options.results)
    sys.stdout.write(runs_markdown(lines))
    if options.figure:
        shown = [line for line in lines if line.probe in OVER_TIME]
        options.figure.write_text(runs_panels(shown), encoding="utf-8")


if __name__ == "__main__":
    main()
