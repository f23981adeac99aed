"""The command line: arguments to settings, settings to the command that runs on them."""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_type_hints

import tyro

from echojepa.commands import answers, data, evaluation, models
from echojepa.config import DemoConfig, PredictConfig, PretrainConfig
from echojepa.errors import UserError, unknown
from echojepa.files.durable import disk_full
from echojepa.files.records import read_record
from echojepa.terminal import complain, console

Run = Callable[[Any], None]
"""What runs a command on its settings, which are the type of its argument `config`."""


def settings_of(run: Run) -> type[Any]:
    """The settings of a command."""
    return get_type_hints(run)["config"]


def parse(arguments: Sequence[str]) -> tuple[Run, Any]:
    """What runs the command and its resolved config; ConfigError for unknown names."""
    name, rest = arguments[0], list(arguments[1:])
    if name not in COMMANDS:
        raise unknown(name, COMMANDS, "command")
    run = COMMANDS[name]
    if name == "pretrain":
        return run, parse_pretrain(rest)
    if name in POSITIONAL and rest and not rest[0].startswith("-"):
        rest = [POSITIONAL[name], *rest]
    if name == "ingest":
        rest = [f"--layout{word[6:]}" if re.match("--from(=|$)", word) else word for word in rest]
    return run, tyro.cli(settings_of(run), args=rest, prog=f"echojepa {name}")


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
    stages, runs = demo_stages(config), {settings_of(run): run for run in COMMANDS.values()}
    for number, stage in enumerate(stages, start=1):
        if stage.finished():
            console.print(f"{number}/{len(stages)} {stage.name}: done before", style="bold")
            continue
        console.print(f"{number}/{len(stages)} {stage.name}", style="bold")
        if isinstance(stage.config, PredictConfig):
            # it writes into an empty folder alone; a stopped one may have begun
            shutil.rmtree(stage.config.out, ignore_errors=True)
        begun = time.perf_counter()
        runs[type(stage.config)](stage.config)
        seconds = time.perf_counter() - begun
        stage.finish(seconds)
        console.print(f"{seconds:.0f} s\n")
    seconds = sum(stage.cost() for stage in stages)
    console.print(f"All stages: {seconds:.0f} s; peak memory of this process {peak_memory():.1f} GB")
    console.print(f"Report: {(config.out / 'report.html').resolve()}")
    if config.data is None:
        place = (config.out / "answer").resolve()
        console.print(f"Answers for a synthetic study and two real cines: {place}")


COMMANDS: dict[str, Run] = {
    "simulate": data.run_simulate,
    "ingest": data.run_ingest,
    "verify": data.run_verify,
    "sheet": data.run_sheet,
    "pretrain": models.run_pretrain,
    "probe": evaluation.run_probe,
    "finetune": evaluation.run_finetune,
    "embed": models.run_embed,
    "evaluate": evaluation.run_evaluate,
    "attend": models.run_attend,
    "surprise": models.run_surprise,
    "report": models.run_report,
    "assemble": answers.run_assemble,
    "survey": answers.run_survey,
    "predict": answers.run_predict,
    "serve": answers.run_serve,
    "listen": answers.run_listen,
    "convert": models.run_convert,
    "demo": run_demo,
}

POSITIONAL = {"convert": "--source", "verify": "--data", "evaluate": "--plan", "predict": "--studies"}
"""Commands whose first setting needs no name."""


def usage() -> str:
    """The list of commands, in order of work."""
    lines = [f"  {name:<10} {(settings_of(run).__doc__ or '').strip()}" for name, run in COMMANDS.items()]
    return "\n".join(
        ["usage: echojepa COMMAND [settings]    (echojepa COMMAND --help explains them)\n", *lines]
    )


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; 0 on success, 1 with one clear sentence on stderr, 2 for wrong usage."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if not arguments or arguments[0] in ("-h", "--help"):
        console.print(usage())
        return 0 if arguments else 2
    try:
        run, config = parse(arguments)
        run(config)
    except (UserError, OSError) as error:
        full = disk_full(error) if isinstance(error, OSError) else ""
        complain(f"echojepa {arguments[0]}: {full or error}")
        return 1
    except KeyboardInterrupt:
        complain("stopped; run the same command again to resume")
        return 130
    return 0
