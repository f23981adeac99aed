"""Error against compute: a latent and a pixel objective at several sizes, over patients and seeds.

    echojepa evaluate compared --data DATA --backbones JEPA PIXELS --out RESULTS    # of each size and seed
    python benchmarks/compared.py --size 6 A0 A1 A2 --size 24 B0 B1 B2

For each size, in minutes of one core: the error of each encoder and of the random start, and the pixel
encoder's error less JEPA's, positive where the latent objective is better. Then what the lead gains from the
smallest size to the largest, over the patients and the seeds that both have, and what ten times the largest
would give by the trend. Results of other objectives may stand among those of a size: a second table has each
one's error, and how much better it is than its own random start. Intervals: 95 %, patients and seeds of
pretraining drawn with replacement, each by itself (`echojepa.evaluation.runs`).

    python benchmarks/compared.py --set clean A0 A1 --set "frame-wise, high" B0 B1    # sets of `nuisance.py`

The same on several data sets of the same loops, and how much more the lead is on each than on the first.

    python benchmarks/compared.py --table docs/results.md --figure docs/images/compared.svg

The figure again, of a table that was written before.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from echojepa.evaluation.runs import (
    RESAMPLES,
    START,
    Asked,
    Errors,
    Numbers,
    crossed,
    lines_of,
    read_errors,
    stacked,
    weighted,
)
from echojepa.evaluation.tables.curves import draw
from echojepa.evaluation.tables.over_runs import COLOURS, TITLES, ranged

LATENT, PIXELS = "JEPA", "MAE"
KINDS = (START, LATENT, PIXELS)
Sizes = dict[float, dict[Asked, dict[str, dict[str, Errors]]]]
"""By minutes, what was asked, encoder and seed."""
Points = dict[tuple[str, str], dict[float, list[tuple[float, ...]]]]
"""By task and probe, and minutes: number and ends of its interval of each of KINDS."""
WRITTEN = re.compile(r"(-?[\d.]+) \((-?[\d.]+), (-?[\d.]+)\)")


def lead(kinds: dict[str, dict[str, Errors]]) -> Numbers:
    """The pixel encoder's errors less JEPA's (seeds, items)."""
    return stacked(kinds[PIXELS]) - stacked(kinds[LATENT])


def at_ten_times(minutes: Sequence[float]) -> list[float]:
    """What the errors of each size count for at ten times the largest: by the least-squares line over the
    logarithm of minutes, of which nothing says that it goes on."""
    along = np.log10(minutes)
    away = along - along.mean()
    return [*(1 / len(along) + (along.max() + 1 - along.mean()) * away / (away**2).sum())]


def compared(kinds: dict[str, dict[str, Errors]]) -> dict[str, dict[str, Errors]]:
    """Those of the random start and both objectives, of the runs that have both."""
    return {kind: {run: kinds[kind][run] for run in kinds[LATENT]} for kind in KINDS}


def controls(sizes: Sizes) -> str:
    """A line for each question, size and objective beside the two; empty where there is none."""
    rows = []
    for minutes, questions in sizes.items():
        for asked, kinds in questions.items():
            others = {kind: kinds[kind] for kind in sorted(kinds) if kind not in (LATENT, PIXELS)}
            for line in lines_of(asked, others, [*kinds[START]], RESAMPLES):
                if line.encoder != START:
                    words = f"{line.task} | {line.probe} | {100 * line.labels:g} % | {minutes:g}"
                    numbers = f"{ranged(line.error)} | {ranged(line.gain, signed=True)}"
                    rows.append(f"| {words} | {len(line.each)} | {line.encoder} | {numbers} |\n")
    head = "| task | probe | labels | minutes | seeds | objective | error | better than random start by |\n"
    return f"\n{head}|{'---|' * 8}\n{''.join(rows)}" if rows else ""


def errors_and_lead(kinds: dict[str, dict[str, Errors]], patients: NDArray[np.str_]) -> list[str]:
    """Cells of a line: the error of each of KINDS, and the lead."""
    errors = [ranged(crossed(stacked(kinds[kind]), patients)) for kind in KINDS]
    return [*errors, ranged(crossed(lead(kinds), patients), signed=True)]


def table(sizes: Sizes) -> str:
    """A line for each question and size, and one for what the lead gains."""
    rows = [
        "| task | probe | labels | minutes | seeds | " + " | ".join((*KINDS, f"{PIXELS} - {LATENT}")) + " |"
    ]
    rows.append("|" + "---|" * (6 + len(KINDS)))
    for asked, first in next(iter(sizes.values())).items():
        words = f"| {asked[0]} | {asked[1]} | {100 * asked[2]:g} % |"
        patients = next(iter(first[LATENT].values())).patients
        each = {minutes: compared(questions[asked]) for minutes, questions in sizes.items()}
        for minutes, kinds in each.items():
            cells = errors_and_lead(kinds, patients)
            rows.append(f"{words} {minutes:g} | {len(kinds[LATENT])} | " + " | ".join(cells) + " |")
        if len(sizes) > 1:
            first_lead, *_, last_lead = map(lead, each.values())
            seeds = min(len(first_lead), len(last_lead))
            gained = ranged(crossed(last_lead[:seeds] - first_lead[:seeds], patients), signed=True)
            rows.append(f"{words} {min(sizes):g} to {max(sizes):g} | {seeds} | | | | {gained} |")
            rows.append(f"{words} {by_trend(each, patients)}")
    return "\n".join(rows) + "\n"


def by_trend(kinds: dict[float, dict[str, dict[str, Errors]]], patients: NDArray[np.str_]) -> str:
    """Last cells of a line: both objectives and the lead at ten times the largest size, by the trend; the
    seeds of each size are drawn by themselves."""
    share = at_ten_times([*kinds])
    errors = [[stacked(one[kind]) for one in kinds.values()] for kind in (LATENT, PIXELS)]
    errors.append([lead(one) for one in kinds.values()])
    latent, pixels, ahead = (weighted([*zip(share, one, strict=True)], patients) for one in errors)
    seeds = ", ".join(str(len(one)) for one in errors[0])
    cells = [ranged(latent), ranged(pixels), ranged(ahead, signed=True)]
    return f"{10 * max(kinds):g}, by trend | {seeds} | | " + " | ".join(cells) + " |"


def sets_table(sets: dict[str, dict[Asked, dict[str, dict[str, Errors]]]]) -> str:
    """A line for each question and data set, with what its lead has more than that of the first set."""
    names = " | ".join((*KINDS, f"{PIXELS} - {LATENT}", f"more than on {next(iter(sets))}"))
    rows = [f"| task | probe | labels | data | seeds | {names} |", "|" + "---|" * (7 + len(KINDS))]
    for asked, first in next(iter(sets.values())).items():
        patients = next(iter(first[LATENT].values())).patients
        plain = lead(compared(first))
        for name, questions in sets.items():
            kinds = compared(questions[asked])
            more = lead(kinds) - plain[: len(kinds[LATENT])]
            gained = "" if questions[asked] is first else ranged(crossed(more, patients), signed=True)
            cells = [*errors_and_lead(kinds, patients), gained]
            words = f"{asked[0]} | {asked[1]} | {100 * asked[2]:g} % | {name} | {len(kinds[LATENT])}"
            rows.append(f"| {words} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def points_of(markdown: str) -> Points:
    """What a table of `table` says of each question and number of minutes, lines in any order."""
    found: Points = {}
    for line in markdown.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        numbers = [WRITTEN.fullmatch(cell) for cell in cells[5 : 5 + len(KINDS)]]
        if len(cells) == 6 + len(KINDS) and cells[3].isdecimal() and all(numbers):
            ranges = [tuple(map(float, number.groups())) for number in numbers if number]
            found.setdefault((cells[0], cells[1]), {})[float(cells[3])] = ranges
    return found


def figure(points: Points) -> str:
    """Error over minutes, a panel a question, with bands, as SVG."""

    def paint(panels: Iterable[Axes]) -> None:
        every = list(panels)
        for axes, ((task, probe), sizes) in zip(every, points.items(), strict=True):
            minutes = sorted(sizes)
            for number, (kind, colour) in enumerate(zip(KINDS, COLOURS, strict=False)):
                middle, low, high = np.array([sizes[size][number] for size in minutes]).T
                axes.plot(minutes, middle, color=colour, marker="o", ms=3, label=kind)
                axes.fill_between(minutes, low, high, color=colour, alpha=0.15, lw=0)
            axes.set_xscale("log")
            axes.set_xticks(minutes, [f"{size:g}" for size in minutes], minor=False)
            axes.minorticks_off()
            axes.set(xlabel="minutes on one core", ylabel=TITLES[task], title=probe)
            axes.set_ylim(0)
        every[0].legend()

    return draw(2.9 * len(points), 2.9, len(points), paint)


def main() -> None:
    """Print the table, and draw it where asked."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--size", nargs="+", action="append", default=[], metavar="MINUTES RESULTS",
        help="minutes of one core, and a folder of results for each seed",
    )  # fmt: skip
    parser.add_argument(
        "--set", nargs="+", action="append", default=[], metavar="NAME RESULTS",
        help="name of a data set, and a folder of results for each seed",
    )  # fmt: skip
    parser.add_argument("--figure", type=Path, help="SVG to write, of the table, or of that in --table")
    parser.add_argument("--table", type=Path, help="text with tables of this script, in place of results")
    options = parser.parse_args()
    if (bool(options.set), bool(options.size), bool(options.table)).count(True) != 1:
        parser.error("give --size, --set or --table")
    if options.set:
        sys.stdout.write(
            sets_table({name: read_errors([*map(Path, folders)]) for name, *folders in options.set})
        )
        return
    if options.table:
        options.figure.write_text(figure(points_of(options.table.read_text("utf-8"))), encoding="utf-8")
        return
    given = {float(words[0]): read_errors([Path(word) for word in words[1:]]) for words in options.size}
    sizes = dict(sorted(given.items()))
    written = table(sizes)
    sys.stdout.write(written + controls(sizes))
    if options.figure:
        options.figure.write_text(figure(points_of(written)), encoding="utf-8")


if __name__ == "__main__":
    main()
