"""The command line: arguments to settings, settings to the command that runs on them."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tyro

from echojepa.commands.answers import run_assemble, run_listen, run_predict, run_serve, run_survey
from echojepa.commands.data import run_ingest, run_sheet, run_simulate, run_verify
from echojepa.commands.evaluation import run_evaluate, run_finetune, run_probe
from echojepa.commands.models import (
    run_attend,
    run_convert,
    run_embed,
    run_pretrain,
    run_report,
    run_surprise,
)
from echojepa.config import (
    AssembleConfig,
    AttendConfig,
    ConvertConfig,
    DemoConfig,
    EmbedConfig,
    EvaluateConfig,
    FinetuneConfig,
    IngestConfig,
    ListenConfig,
    PredictConfig,
    PretrainConfig,
    ProbeConfig,
    ReportConfig,
    ServeConfig,
    SheetConfig,
    SimulateConfig,
    SurpriseConfig,
    SurveyConfig,
    VerifyConfig,
)
from echojepa.errors import UserError, unknown
from echojepa.files.durable import disk_full
from echojepa.files.records import read_record
from echojepa.terminal import complain, console


@dataclass(frozen=True)
class Command:
    """A stage of the work: its settings and what runs it."""

    config: type[Any]
    run: Callable[[Any], None]


def parse(arguments: Sequence[str]) -> tuple[Command, Any]:
    """The command and its resolved config; ConfigError for unknown names."""
    name, rest = arguments[0], list(arguments[1:])
    if name not in COMMANDS:
        raise unknown(name, COMMANDS, "command")
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
        default = read_record(PretrainConfig, Path(name))
    else:
        raise unknown(name, RECIPES, "recipe")
    return tyro.cli(PretrainConfig, args=rest, default=default, prog=f"echojepa pretrain {name}")


def run_demo(config: DemoConfig) -> None:
    """Run the stages that are not finished; each says what it made."""
    from echojepa.demo import demo_stages, peak_memory, write_demo_key

    write_demo_key(config)
    stages = demo_stages(config)
    for number, stage in enumerate(stages, start=1):
        if stage.finished():
            console.print(f"{number}/{len(stages)} {stage.name}: done before", style="bold")
            continue
        console.print(f"{number}/{len(stages)} {stage.name}", style="bold")
        if stage.command == "predict":  # it writes into an empty folder alone; a stopped one may have begun
            shutil.rmtree(stage.config.out, ignore_errors=True)
        begun = time.perf_counter()
        COMMANDS[stage.command].run(stage.config)
        seconds = time.perf_counter() - begun
        stage.finish(seconds)
        console.print(f"{seconds:.0f} s\n")
    seconds = sum(stage.cost() for stage in stages)
    console.print(f"All stages: {seconds:.0f} s; peak memory of this process {peak_memory():.1f} GB")
    console.print(f"Report: {(config.out / 'report.html').resolve()}")
    if config.data is None:
        answers = (config.out / "answer").resolve()
        console.print(f"Answers for a synthetic study and two real cines: {answers}")


COMMANDS: dict[str, Command] = {
    "simulate": Command(SimulateConfig, run_simulate),
    "ingest": Command(IngestConfig, run_ingest),
    "verify": Command(VerifyConfig, run_verify),
    "sheet": Command(SheetConfig, run_sheet),
    "pretrain": Command(PretrainConfig, run_pretrain),
    "probe": Command(ProbeConfig, run_probe),
    "finetune": Command(FinetuneConfig, run_finetune),
    "embed": Command(EmbedConfig, run_embed),
    "evaluate": Command(EvaluateConfig, run_evaluate),
    "attend": Command(AttendConfig, run_attend),
    "surprise": Command(SurpriseConfig, run_surprise),
    "report": Command(ReportConfig, run_report),
    "assemble": Command(AssembleConfig, run_assemble),
    "survey": Command(SurveyConfig, run_survey),
    "predict": Command(PredictConfig, run_predict),
    "serve": Command(ServeConfig, run_serve),
    "listen": Command(ListenConfig, run_listen),
    "convert": Command(ConvertConfig, run_convert),
    "demo": Command(DemoConfig, run_demo),
}

POSITIONAL = {"convert": "--source", "verify": "--data", "evaluate": "--plan", "predict": "--studies"}
"""Commands whose first setting needs no name."""


def usage() -> str:
    """The list of commands, in order of work."""
    lines = [f"  {name:<10} {(command.config.__doc__ or '').strip()}" for name, command in COMMANDS.items()]
    return "usage: echojepa COMMAND [settings]    (echojepa COMMAND --help explains them)\n\n" + "\n".join(
        lines
    )


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
        full = disk_full(error) if isinstance(error, OSError) else ""
        complain(f"echojepa {arguments[0]}: {full or error}")
        return 1
    except KeyboardInterrupt:
        complain("stopped; run the same command again to resume")
        return 130
    return 0
