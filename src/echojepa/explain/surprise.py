"""`echojepa surprise`: where a run's predictor errs more than usual, and whether that tells unlike loops."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from echojepa.backbones.transformer import VideoTransformer
from echojepa.config import ConfigError, SurpriseConfig
from echojepa.data.clips.times import even_start
from echojepa.evaluation.statistics.intervals import in_brackets
from echojepa.evaluation.tables.curves import PALETTE, draw
from echojepa.explain.attend import Work
from echojepa.explain.films import LoopMap, film
from echojepa.explain.foreseen import TrainedRun
from echojepa.explain.loops import ChosenLoops, cells_inside, synthetic_words
from echojepa.explain.unlike import (
    SCORES,
    SURPRISE,
    Kinds,
    Measured,
    Measures,
    ScoredLoop,
    UnlikeRow,
    kinds_of,
    of_same_views,
    split_loops,
    told,
)
from echojepa.explain.writing import Seen, write_loop
from echojepa.files.durable import write_text
from echojepa.files.records import plain, write_record
from echojepa.files.tables import write_csv, write_parquet
from echojepa.progress import Progress
from echojepa.vocabulary import Split

RECORD, NUMBERS, LOOPS, PAGE, FIGURE = "surprise.json", "unlike", "loops", "surprise.md", "surprise.svg"
VALIDATION = "validation"
TOP = 4.0
"""Standard deviations at which colour is full."""
RULE = (
    "Colour begins where the predictor errs by one standard deviation more than on training loops at the "
    f"same place and time of a clip, and is full at {TOP:g}. Tokens that no mask hides, and tokens "
    "outside the sector, stay uncoloured."
)
STATISTICS_BATCH = 8
"""Clips from which the targets' statistics are learned together."""
HEAD = """# Surprise

How far the error of `{run}`'s predictor on hidden tubelets exceeds the usual error at each place. 0 is the
mean of training loops, and 1 is one standard deviation more. {train} training loops of {train_patients}
patients define the usual error. {synthetic}

AUROC: the probability that a loop of the kind scores above a loop that it is compared with. 0.5 is chance;
below 0.5 the kind scores *lower*. [95 % interval, patients of both resampled.]

"""


def surprise(config: SurpriseConfig, progress: Progress) -> Seen:
    """Learn from training loops what is usual, score validation loops and those of each kind, and show some.

    Calls progress(loops measured, all of them). CheckpointError for a run that is not whole; ConfigError and
    UserError as `kinds_of` and `split_loops`.
    """
    run = TrainedRun.read(config.run)
    measures = Measures(run, VideoTransformer.from_pretrained(config.run))
    train = split_loops(config.data, Split.TRAIN, config.train_loops)
    kinds = [Kinds(VALIDATION, split_loops(config.data, Split.VAL, config.loops), None)]
    kinds += kinds_of(config.unlike, config.loops, config.workers)
    if len({kind.name for kind in kinds}) < len(kinds):
        raise ConfigError(
            f"two kinds have the same name, or one is called '{VALIDATION}', which is reserved; rename it"
        )
    total = len(train) + sum(len(kind.loops) + len(kind.against or ()) for kind in kinds)
    work = Work(progress, total)
    run.take_in(middle_clips(train, run))
    measures.learn(measured(measures, train, work, "training loops"))
    shown: list[tuple[Kinds, int, Tensor]] = []
    scored: dict[str, list[ScoredLoop]] = {}
    rows: list[UnlikeRow] = []
    for kind in kinds:
        found = measured(measures, kind.loops, work, kind.name)
        scored[kind.name] = [ScoredLoop(loop.facts, measures.scores(loop)) for loop in found]
        shown += [(kind, place, measures.map(found[place])) for place in range(min(config.films, len(found)))]
        if kind.name == VALIDATION:
            continue
        if kind.against:
            beside = measured(measures, kind.against, work, f"beside {kind.name}")
            others = [ScoredLoop(one.facts, measures.scores(one)) for one in beside]
            against = "others of the same data set"
        else:
            others, against = of_same_views(scored[kind.name], scored[VALIDATION])
        rows += told(kind.name, scored[kind.name], others, against, config.resamples, config.seed)
    folders = [show(config.out, run, kind, place, found) for kind, place, found in shown]
    page = HEAD.format(
        run=run.name, train=len(train), train_patients=len({fact.patient for fact in train.facts}),
        synthetic=synthetic_words([fact for kind in kinds for fact in kind.loops.facts]),
    ) + unlike_table(rows)  # fmt: skip
    write(config, run, page, rows, scored)
    return Seen(page, tuple(folders), tuple(why for kind in kinds for why in kind.loops.left_out))


def middle_clips(loops: ChosenLoops, run: TrainedRun) -> Iterator[Tensor]:
    """The middle clip of each loop, some together."""
    for start in range(0, len(loops), STATISTICS_BATCH):
        some = (loops[place] for place in range(start, min(start + STATISTICS_BATCH, len(loops))))
        yield torch.stack([loop.clip(run.spec, even_start(loop.times, run.spec, 0, 1))[0] for loop in some])


def measured(measures: Measures, loops: ChosenLoops, work: Work, note: str) -> list[Measured]:
    """What is measured of each loop."""
    found = []
    for loop in loops:
        found.append(measures.measure(loop))
        work.step(note)
    return found


def show(out: Path, run: TrainedRun, kind: Kinds, place: int, surprise: Tensor) -> Path:
    """Film, strip and arrays of a loop's surprise."""
    loop = kind.loops[place]
    starts = loop.starts(run.spec)
    cells = cells_inside(loop.clip(run.spec, starts[0])[1], run.grid[1:]).numpy()
    maps = surprise.nan_to_num(0.0).float().numpy()
    one = LoopMap(run.name, SURPRISE, run.spec, starts, maps, cells)
    folder = out / f"{kind.name.replace(' ', '-').replace('/', '-')}-{place + 1:02d}"
    write_loop(folder, loop, [one], film(loop, [one], {SURPRISE: TOP}, unit=" sd"))
    return folder


def unlike_table(rows: Sequence[UnlikeRow]) -> str:
    """A line a kind, a column a score."""
    if not rows:
        return "No kinds of unusual loops were named (`--unlike`), so nothing is compared.\n"
    lines = [
        f"| kind | loops | patients | against | {' | '.join(SCORES)} |",
        f"|{'---|' * (4 + len(SCORES))}",
    ]
    for kind in dict.fromkeys(row.kind for row in rows):
        mine = {row.score: row for row in rows if row.kind == kind}
        first = mine[SURPRISE]
        cells = [f"{row.auroc:.2f}{in_brackets(row.lo, row.hi, 2)}" for row in mine.values()]
        against = f"{first.other_loops} {first.against}"
        lines.append(f"| {kind} | {first.loops} | {first.patients} | {against} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", *(f"- {name}: {said}." for name, said in SCORES.items())]) + "\n"


def write(
    config: SurpriseConfig,
    run: TrainedRun,
    page: str,
    rows: Sequence[UnlikeRow],
    scored: Mapping[str, Sequence[ScoredLoop]],
) -> None:
    """Numbers, the figure and, last, the record of what they are."""
    config.out.mkdir(parents=True, exist_ok=True)
    entries = [asdict(row) for row in rows]
    write_parquet(config.out / f"{NUMBERS}.parquet", pa.Table.from_pylist(entries))
    write_csv(config.out / f"{NUMBERS}.csv", entries)
    loops = [
        {
            "kind": kind,
            "loop": one.facts.name,
            "patient": one.facts.patient,
            "view": one.facts.view,
            **one.scores,
        }
        for kind, several in scored.items()
        for one in several
    ]
    write_parquet(config.out / f"{LOOPS}.parquet", pa.Table.from_pylist(loops))
    write_text(config.out / FIGURE, figure(rows, scored))
    write_text(config.out / PAGE, page)
    settings = plain(config) | {"unlike": list(scored)[1:]}
    write_record(
        config.out / RECORD,
        {"settings": settings, "rule": RULE, "run": run.name, "weights": run.sha256, "scores": SCORES},
    )


def figure(rows: Sequence[UnlikeRow], scored: Mapping[str, Sequence[ScoredLoop]]) -> str:
    """Surprise of every loop by kind, and beside it how well each score tells the kind: SVG."""
    names = list(scored)

    def paint(axes: Sequence[Any]) -> None:
        left, right = axes
        rng = np.random.default_rng(0)
        for height, name in enumerate(names):
            values = [one.scores[SURPRISE] for one in scored[name]]
            jitter = height + rng.uniform(-0.28, 0.28, len(values))
            colour = "#888" if name == VALIDATION else PALETTE[0]
            left.scatter(values, jitter, s=5, color=colour, alpha=0.6, lw=0)
            left.plot([np.median(values)] * 2, [height - 0.36, height + 0.36], color="#111", lw=1.6)
        left.set(yticks=range(len(names)), yticklabels=names, xlabel="surprise of each loop (sd)")
        left.invert_yaxis()
        right.axvline(0.5, color="#aab", lw=1)
        for number, (score, colour) in enumerate(zip(SCORES, PALETTE, strict=False)):
            mine = [row for row in rows if row.score == score]
            heights = [names.index(row.kind) + 0.13 * (number - 2) for row in mine]
            right.hlines(heights, [r.lo for r in mine], [r.hi for r in mine], color=colour, lw=1.4)
            right.scatter([r.auroc for r in mine], heights, s=14, color=colour, label=score)
        right.set(yticks=[], ylim=left.get_ylim(), xlim=(-0.02, 1.02), xlabel="AUROC, 95 % interval")
        right.legend(loc="upper left", bbox_to_anchor=(1, 1), fontsize=8)

    return draw(9.0, 0.9 + 0.5 * len(names), 2, paint)
