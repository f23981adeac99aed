"""The commands. Only this file reads arguments and prints; each command calls one function."""

from __future__ import annotations

import difflib
import errno
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tyro

from echojepa.config import (
    ConfigError,
    ConvertConfig,
    DemoConfig,
    EvaluateConfig,
    IngestConfig,
    PretrainConfig,
    ProbeConfig,
    ReportConfig,
    SheetConfig,
    SimulateConfig,
    VerifyConfig,
    config_from_json,
    config_to_json,
)
from echojepa.errors import UserError
from echojepa.terminal import complain, console, progress_bar, show_table
from echojepa.vocabulary import Reason

if TYPE_CHECKING:
    from echojepa.evaluation.plans import Plan


@dataclass(frozen=True)
class Command:
    """A stage of the work: its settings and what runs it."""

    config: type[Any]
    run: Callable[[Any], None]


def nearest(word: str, known: Iterable[str], what: str) -> ConfigError:
    """The error for an unknown name: the known ones, and the likely meaning."""
    names = sorted(known)
    close = difflib.get_close_matches(word, names, n=1)
    hint = f" Did you mean '{close[0]}'?" if close else ""
    return ConfigError(f"unknown {what} '{word}'. Known: {', '.join(names)}.{hint}")


def save_config(config: SimulateConfig | ProbeConfig | EvaluateConfig) -> None:
    """Leave the resolved settings beside what they made. Pretraining does so itself; an ingest must not,
    because the paths it was given can name a patient."""
    (config.out / "config.json").write_text(config_to_json(config), encoding="utf-8")


def run_simulate(config: SimulateConfig) -> None:
    """Simulate and say what was written."""
    from echojepa.phantom.cohort import write_cohort

    with progress_bar("simulate patients") as show:
        loops = write_cohort(config, show)
    save_config(config)
    console.print(f"{config.patients} synthetic patients, {loops} cine loops as DICOM in {config.out}")


def run_ingest(config: IngestConfig) -> None:
    """Ingest and print the table of what came in, or only look."""
    from echojepa.data.importers.known import ARCHIVE, IMPORTERS

    if config.layout not in (ARCHIVE, *IMPORTERS):
        raise nearest(config.layout, (ARCHIVE, *IMPORTERS), "layout")
    if config.dry_run:
        return run_dry(config)
    from echojepa.data.ingest import ingest

    with progress_bar("ingest files") as show:
        summary = ingest(config, show)
    rejected = summary.came.rejected
    show_table("What came in", ("", "loops"), summary.came_in())
    if rejected:
        show_table("What did not", ("reason", "files"), sorted(rejected.items()))
        console.print(f"Paths of rejected files stand in your private map {summary.file_map}")
    if Reason.HELD_TEXT.value in rejected:
        console.print(
            f"Held for review: look at the pictures in {summary.pictures}; list the file ids (their names) "
            "of those without a person's name in a CSV, column file_id, and run again with --cleared CSV"
        )
    show_left_out(summary.left_out, summary.left_out_map)
    console.print(f"Data set: {config.out}")
    return None


def show_left_out(counts: dict[str, int], where: Path) -> None:
    """What a data set's own tables name that was passed over."""
    if counts:
        show_table("Left out", ("why", "how many"), sorted(counts.items()))
        console.print(f"Which ones stands in your private table {where}")


def run_dry(config: IngestConfig) -> None:
    """Print what an ingest would bring in and cost."""
    from echojepa.data.dry_run import dry_run

    with progress_bar("look at files") as show:
        found = dry_run(config, show)
    show_table("Would come in, by header", ("kind", "files"), sorted(found.kinds.items()))
    show_table("Would not, by header", ("reason", "files"), sorted(found.refused.items()))
    refused = sum(found.sample_refused.values())
    console.print(f"Converted whole as a sample: {found.sampled} files, of which {refused} did not come in")
    for reason, number in sorted(found.sample_refused.items()):
        console.print(f"  {reason}: {number}")
    show_left_out(found.left_out, found.left_out_map)
    console.print(
        f"Disk: about {found.disk_bytes / 1e9:.2f} GB. Time: about {found.seconds / 60:.1f} min. "
        f"No data set was written; the verdict on each file stands in your private table {found.table}"
    )


def run_verify(config: VerifyConfig) -> None:
    """Print every check and what was found; UserError when something would spoil a result."""
    from echojepa.data.store import LoopStore
    from echojepa.data.verify import verify

    with progress_bar("look at loops") as show:
        findings = verify(LoopStore.open(config.data), config.pixels, show)
    rows = [(f.check, f.verdict, f.count, f.looked_at) for f in findings]
    show_table("What was checked", ("check", "verdict", "found", "looked at"), rows)
    faults = {severity: [f for f in findings if f.verdict == severity] for severity in ("error", "warning")}
    for finding in (*faults["error"], *faults["warning"]):
        console.print(f"{finding.verdict}: {finding.check}: {finding.detail}. To do: {finding.advice}.")
    verdict = f"errors: {len(faults['error'])}, warnings: {len(faults['warning'])}"
    if faults["error"]:
        raise UserError(f"{verdict}; results from this data set could be wrong, mend the errors first")
    console.print(f"{verdict}; nothing was found that would spoil a result")


def run_sheet(config: SheetConfig) -> None:
    """Write the contact sheet and say where."""
    from echojepa.report.contact_sheet import write_sheet

    with progress_bar("draw loops") as show:
        console.print(f"Contact sheet: {write_sheet(config, show)}")


def run_pretrain(config: PretrainConfig) -> None:
    """Pretrain and say what was made."""
    from echojepa.backbones.layouts import read_start
    from echojepa.training.distributed import speaks
    from echojepa.training.pretrain import pretrain

    console.quiet = not speaks()
    with progress_bar("pretrain steps") as show:
        summary = pretrain(config, show, read_start)
    console.print(
        f"{summary.steps} steps, {summary.clips} clips of {summary.loops} loops, "
        f"{summary.flops:.3g} FLOPs, last loss {summary.loss:.3f}"
    )
    for warning in summary.warnings:
        console.print(f"Warning: {warning}")
    console.print(f"Frozen encoder: {config.out / 'encoder.safetensors'}")


def parse(arguments: Sequence[str]) -> tuple[Command, Any]:
    """The command and its resolved config; ConfigError for unknown names."""
    name, rest = arguments[0], list(arguments[1:])
    if name not in COMMANDS:
        raise nearest(name, COMMANDS, "command")
    command = COMMANDS[name]
    if command.config is PretrainConfig:
        return command, parse_pretrain(rest)
    if name in POSITIONAL and rest and not rest[0].startswith("-"):
        rest = [POSITIONAL[name], *rest]
    if name == "ingest":
        rest = [f"--layout{word[6:]}" if re.match("--from(=|$)", word) else word for word in rest]
    return command, tyro.cli(command.config, args=rest, prog=f"echojepa {name}")


def parse_pretrain(arguments: list[str]) -> PretrainConfig:
    """`pretrain RECIPE --data D --out R`, where RECIPE is a name or a saved config.json."""
    from echojepa.recipes import RECIPES

    recipes = "\n".join(
        f"  {name}: {(recipe.__doc__ or '').splitlines()[0]}" for name, recipe in RECIPES.items()
    )
    if not arguments or arguments[0].startswith("-"):
        console.print(f"usage: echojepa pretrain RECIPE --data D --out R [settings]\n\nRecipes:\n{recipes}")
        raise SystemExit(0 if arguments and arguments[0] in ("-h", "--help") else 2)
    name, rest = arguments[0], arguments[1:]
    if name.replace("_", "-") in RECIPES:
        default = RECIPES[name.replace("_", "-")](tyro.MISSING, tyro.MISSING)  # pyright: ignore[reportArgumentType]
    elif name.endswith(".json"):
        default = config_from_json(PretrainConfig, Path(name).read_text(encoding="utf-8"))
    else:
        raise nearest(name, RECIPES, "recipe")
    return tyro.cli(PretrainConfig, args=rest, default=default, prog=f"echojepa pretrain {name}")


def run_probe(config: ProbeConfig) -> None:
    """Probe tasks of the user's choice, and print the table."""
    from echojepa.evaluation.plans import PROBES, Block, Plan
    from echojepa.tasks import find_task

    for name in config.probes:
        if name not in PROBES:
            raise nearest(name, PROBES, "probe")
    tasks = tuple(find_task(name) for name in config.tasks)
    run_plan(Plan("probe", (Block(tasks, config.probes),)), config)


def run_evaluate(config: EvaluateConfig) -> None:
    """Make the numbers of a named plan, and print the table."""
    from echojepa.evaluation.plans import PLANS

    if config.plan not in PLANS:
        raise nearest(config.plan, PLANS, "plan")
    run_plan(PLANS[config.plan], config)


def run_plan(plan: Plan, config: ProbeConfig | EvaluateConfig) -> None:
    """Run a plan; print each row's leading metric and which probes had not settled."""
    from echojepa.evaluation.harness import Harness
    from echojepa.evaluation.results import leading, said

    with progress_bar(f"evaluate {plan.name}") as show:
        rows = Harness(plan, config).run(show).to_pylist()
    save_config(config)
    cells = [
        (r["task"], r["backbone"], r["probe"], said(r), f"{r['value']:.2f} {r['unit']}".strip(),
         f"{r['lo']:.2f} to {r['hi']:.2f}", r["patients"]) for r in leading(rows)
    ]  # fmt: skip
    columns = ("task", "backbone", "probe", "of", "value", "95 % interval", "patients")
    show_table("Test patients", columns, cells)
    console.print(f"Results: {config.out / 'results.parquet'}")


def run_report(config: ReportConfig) -> None:
    """Write the report and say where."""
    from echojepa.report.html import write_report

    console.print(f"Report: {write_report(config)}")


def run_convert(config: ConvertConfig) -> None:
    """Convert and say what was read and written."""
    from echojepa.backbones.layouts import read_weights, write_weights

    weights = read_weights(config.source)
    write_weights(config.out, weights, config.to)
    shape = weights.predictor_shape
    predictor = f"predictor {shape.width} x {shape.depth}" if shape else "no predictor"
    console.print(f"{config.source.name} (sha256 {weights.sha256})")
    console.print(
        f"'{weights.architecture.size}', patch {weights.architecture.patch}, {predictor}, "
        f"fed {weights.spec.sampling} at {weights.spec.size} px: written for {config.to} to {config.out}"
    )


def run_demo(config: DemoConfig) -> None:
    """Run the stages that are not finished; each says what it made."""
    from echojepa.demo import Stopwatch, demo_stages, peak_memory, write_demo_key

    write_demo_key(config)
    stages = demo_stages(config)
    for number, stage in enumerate(stages, start=1):
        if stage.finished():
            console.print(f"{number}/{len(stages)} {stage.name}: done before", style="bold")
            continue
        console.print(f"{number}/{len(stages)} {stage.name}", style="bold")
        watch = Stopwatch()
        COMMANDS[stage.command].run(stage.config)
        seconds, cpu_seconds = watch.read()
        stage.finish(seconds, cpu_seconds)
        console.print(f"{seconds:.0f} s, {cpu_seconds:.0f} CPU seconds\n")
    seconds, cpu_seconds = (sum(column) for column in zip(*(stage.cost() for stage in stages), strict=True))
    console.print(
        f"All stages: {seconds:.0f} s, {cpu_seconds:.0f} CPU s; peak {peak_memory():.1f} GB a process"
    )
    console.print((config.out / "report.html").resolve())


COMMANDS: dict[str, Command] = {
    "simulate": Command(SimulateConfig, run_simulate),
    "ingest": Command(IngestConfig, run_ingest),
    "verify": Command(VerifyConfig, run_verify),
    "sheet": Command(SheetConfig, run_sheet),
    "pretrain": Command(PretrainConfig, run_pretrain),
    "probe": Command(ProbeConfig, run_probe),
    "evaluate": Command(EvaluateConfig, run_evaluate),
    "report": Command(ReportConfig, run_report),
    "convert": Command(ConvertConfig, run_convert),
    "demo": Command(DemoConfig, run_demo),
}

POSITIONAL = {"convert": "--source", "verify": "--data", "evaluate": "--plan"}
"""Commands whose first setting needs no name."""


def usage() -> str:
    """The list of commands, in order of work."""
    lines = [f"  {name:<10} {(command.config.__doc__ or '').strip()}" for name, command in COMMANDS.items()]
    return "usage: echojepa COMMAND [settings]    (echojepa COMMAND --help tells them)\n\n" + "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 1 with one clear sentence on stderr, 2 for wrong usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        console.print(usage())
        return 0 if arguments else 2
    try:
        command, config = parse(arguments)
        command.run(config)
    except (UserError, OSError) as error:
        if isinstance(error, OSError) and error.errno == errno.ENOSPC:
            error = "the disk is full; make room and run the same command again: finished work is kept"
        complain(f"echojepa {arguments[0]}: {error}")
        return 1
    except KeyboardInterrupt:
        complain("stopped; run the same command again to go on from here")
        return 130
    return 0
