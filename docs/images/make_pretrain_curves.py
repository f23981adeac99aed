"""Draw the curves of finished runs: `make_pretrain_curves.py RUN RUN` writes pretrain_curves.png."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

PANELS = {
    "loss": "loss, mean of 10 steps",
    "effective_rank": "effective rank",
    "target_variance": "target variance",
    "view_probe": "view, cheap probe",
}


def smooth(values: list[float], width: int) -> list[float]:
    """Means of as many values each, the last ones apart."""
    return [sum(values[i : i + width]) / len(values[i : i + width]) for i in range(0, len(values), width)]


def main() -> None:
    """One colour a run, one panel a quantity."""
    figure = Figure((9.6, 2.5), dpi=80, layout="constrained")
    axes = figure.subplots(1, len(PANELS))
    for run in map(Path, sys.argv[1:]):
        lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text("utf-8").splitlines()]
        for axis, (name, title) in zip(axes, PANELS.items(), strict=True):
            points = [(line["step"], line[name]) for line in lines if name in line]
            steps, values = [p[0] for p in points], [p[1] for p in points]
            if name == "loss":
                steps, values = steps[::10], smooth(values, 10)
            axis.plot(steps, values, label=run.name)
            axis.set(title=title, xlabel="step")
            axis.title.set_fontsize(9)
    for axis in axes:
        axis.set_ylim(bottom=0)  # when every run is drawn: it ends the scaling
    axes[0].legend(frameon=False, fontsize=8)
    figure.savefig(Path(__file__).with_name("pretrain_curves.png"))


if __name__ == "__main__":
    main()
