"""Commands that compare frozen encoders, and the one that trains an encoder for a task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from echojepa.config import EvaluateConfig, FinetuneConfig, ProbeConfig, save_config
from echojepa.errors import unknown
from echojepa.tasks import find_task
from echojepa.terminal import console, progress_bar, show_table

if TYPE_CHECKING:
    from echojepa.evaluation.protocol.plans import Plan


def run_probe(config: ProbeConfig) -> None:
    """Probe tasks of the user's choice, and print the table."""
    from echojepa.evaluation.protocol.plans import PROBES, Block, Plan

    for name in config.probes:
        if name not in PROBES:
            raise unknown(name, PROBES, "probe")
    tasks = tuple(find_task(name) for name in config.tasks)
    run_plan(Plan("probe", (Block(tasks, config.probes),)), config)


def run_evaluate(config: EvaluateConfig) -> None:
    """Make the numbers of a named plan, and print the table."""
    from echojepa.evaluation.protocol.plans import PLANS

    if config.plan not in PLANS:
        raise unknown(config.plan, PLANS, "plan")
    run_plan(PLANS[config.plan].without(config.without), config)


def run_plan(plan: Plan, config: ProbeConfig | EvaluateConfig) -> None:
    """Run a plan and print the leading metric of each of its numbers."""
    import pyarrow.parquet as pq

    from echojepa.evaluation.results import leading
    from echojepa.evaluation.run import COMPARISONS, Harness
    from echojepa.report.differences import difference_table
    from echojepa.report.figures import damage_panels
    from echojepa.report.html import synthetic_share
    from echojepa.report.tables import as_markdown, damage_curves, page_tables
    from echojepa.training.checkpoint import write_text_atomically

    harness = Harness(plan, config)
    with progress_bar(f"evaluate {plan.name}") as show:
        rows = harness.run(show).to_pylist()
    save_config(config)
    synthetic = any(synthetic_share(store) != "none" for store in harness.cohort.stores)
    tables = page_tables(rows, harness.children)
    against = difference_table(pq.read_table(config.out / COMPARISONS).to_pylist())
    tables += [against] if against else []
    write_text_atomically(config.out / "tables.md", as_markdown(tables, synthetic))
    curves = damage_curves(rows)
    if curves:
        drawn = damage_panels(curves, "LVEF MAE, points")
        write_text_atomically(config.out / "damage.svg", drawn)
    show_numbers(leading(rows))
    if harness.untuned:
        console.print(
            f"Without fine-tuned rows, for this package does not train them: {', '.join(harness.untuned)}"
        )
    every, unsettled = probes_of(rows)
    if unsettled:
        console.print(
            f"{unsettled} of {every} probes still improved when training ended (column settled): what they "
            "reach is a lower bound. Give more --epochs, or a higher learning rate"
        )
    console.print(f"Results: {config.out / 'results.parquet'}")
    console.print(f"The project page's tables, ours and theirs: {config.out / 'tables.md'}")


def probes_of(rows: Sequence[dict[str, Any]]) -> tuple[int, int]:
    """How many trained probes stand behind rows, and how many of them had not settled."""
    trained = [row for row in rows if row["weights"] and row["seed"] is not None]
    names = ("backbone", "task", "probe", "trained_on", "label_fraction", "seed")
    found = {tuple(row[name] for name in names): row["settled"] for row in trained}
    return len(found), sum(not settled for settled in found.values())


def run_finetune(config: FinetuneConfig) -> None:
    """Fine-tune, print the leading metric, and say what the folder holds."""
    from echojepa.evaluation.finetune import finetune
    from echojepa.evaluation.results import leading

    with progress_bar("finetune epochs") as show:
        rows = finetune(config, show)
    show_numbers(leading(rows))
    for note in {row["note"] for row in rows} - {""}:
        console.print(f"Note: {note}")
    console.print(f"Results: {config.out / 'results.parquet'}")
    console.print(f"Encoder, to be used frozen, and its head: {config.out}")


def show_numbers(rows: Sequence[dict[str, Any]]) -> None:
    """Print rows of results with their intervals."""
    from echojepa.evaluation.results import said

    cells = [
        (r["task"], r["backbone"], r["probe"], said(r), f"{r['value']:.2f} {r['unit']}".strip(),
         f"{r['lo']:.2f} to {r['hi']:.2f}", r["patients"]) for r in rows
    ]  # fmt: skip
    columns = ("task", "backbone", "probe", "of", "value", "95 % interval", "patients")
    show_table("Test patients", columns, cells)
