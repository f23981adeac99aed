"""Commands that compare frozen encoders, and the one that trains an encoder for a task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from echojepa.commands.data import check_data_sets
from echojepa.config import EvaluateConfig, FinetuneConfig, ProbeConfig, save_config
from echojepa.errors import unknown
from echojepa.tasks import find_task
from echojepa.terminal import console, progress_bar, show_table

if TYPE_CHECKING:
    from echojepa.evaluation.protocol.plans import Plan
    from echojepa.evaluation.results import ResultRow


def run_probe(config: ProbeConfig) -> None:
    """Probe tasks of the user's choice, and print the table."""
    from echojepa.evaluation.protocol.plans import OWN_HEAD, PROBES, Plan, PlanBlock

    for name in config.probes:
        if name not in PROBES:
            raise unknown(name, PROBES, "probe")
    tasks = tuple(find_task(name) for name in config.tasks)
    classes = tuple(task for task in tasks if task.classes)
    values = tuple(task for task in tasks if not task.classes)
    blocks = (
        PlanBlock(values, config.probes, calibrated=config.calibrated),
        PlanBlock(classes, tuple(name for name in config.probes if name != OWN_HEAD)),
    )
    run_plan(Plan("probe", blocks), config)


def run_evaluate(config: EvaluateConfig) -> None:
    """Make the numbers of a named plan, and print the table."""
    from echojepa.evaluation.protocol.plans import PLANS

    if config.plan not in PLANS:
        raise unknown(config.plan, PLANS, "plan")
    run_plan(PLANS[config.plan].without(config.without), config)


def run_plan(plan: Plan, config: ProbeConfig | EvaluateConfig) -> None:
    """Run a plan and print the leading metric of each of its numbers."""
    check_data_sets(*config.data)
    from echojepa.evaluation.results import count_probes
    from echojepa.evaluation.run import PlanRun

    run = PlanRun(plan, config)
    with progress_bar(f"evaluate {plan.name}") as show:
        rows = run.run(show)
    save_config(replace(config, children=run.children))
    show_numbers(rows)
    if run.untuned:
        console.print(
            "This package cannot fine-tune these backbones, so they have no fine-tuned rows: "
            f"{', '.join(run.untuned)}"
        )
    every, unconverged = count_probes(rows)
    if unconverged:
        console.print(
            f"{unconverged} of {every} probes were still improving when training ended (column "
            "converged); their scores are lower bounds. Give more --epochs, or a higher learning rate"
        )
    console.print(f"Results: {config.out / 'results.parquet'}")
    console.print(f"The project page's tables, with our numbers and the paper's: {config.out / 'tables.md'}")


def run_finetune(config: FinetuneConfig) -> None:
    """Fine-tune, print the leading metric, and say what the folder holds."""
    check_data_sets(*config.data)
    from echojepa.evaluation.finetune import finetune

    with progress_bar("finetune epochs") as show:
        rows = finetune(config, show)
    show_numbers(rows)
    for note in {row.note for row in rows} - {""}:
        console.print(f"Note: {note}")
    console.print(f"Results: {config.out / 'results.parquet'}")
    console.print(f"Encoder (for frozen use) and its head: {config.out}")


def show_numbers(rows: Sequence[ResultRow]) -> None:
    """Print the leading metric's rows with their intervals."""
    from echojepa.evaluation.results import leading, said

    cells = [
        (r.task, r.backbone, r.probe, said(r), f"{r.value:.2f} {r.unit}".strip(),
         f"{r.lo:.2f} to {r.hi:.2f}", r.patients) for r in leading(rows)
    ]  # fmt: skip
    columns = ("task", "backbone", "probe", "of", "value", "95 % interval", "patients")
    show_table("Test patients", columns, cells)
