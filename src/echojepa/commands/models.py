"""Commands that train, apply, explain and convert encoders, and the report."""

from __future__ import annotations

from typing import TYPE_CHECKING

from echojepa.commands.data import check_data_sets
from echojepa.config import (
    AttendConfig,
    ConvertConfig,
    EmbedConfig,
    PretrainConfig,
    ReportConfig,
    SurpriseConfig,
    save_config,
)
from echojepa.terminal import console, progress_bar

if TYPE_CHECKING:
    from echojepa.explain.writing import Seen


def run_pretrain(config: PretrainConfig) -> None:
    """Pretrain and say what was made."""
    check_data_sets(config.data)
    from echojepa.training.distributed import speaks
    from echojepa.training.pretrain import pretrain

    console.quiet = not speaks()
    with progress_bar("pretrain steps") as show:
        summary = pretrain(config, show)
    console.print(
        f"{summary.steps} steps, {summary.clips} clips of {summary.loops} loops, "
        f"{summary.flops:.3g} FLOPs, last loss {summary.loss:.3f}"
    )
    for warning in summary.warnings:
        console.print(f"Warning: {warning}")
    console.print(f"Frozen encoder: {config.out / 'encoder.safetensors'}")


def run_embed(config: EmbedConfig) -> None:
    """Embed and say where the table is."""
    check_data_sets(config.data)
    from echojepa.evaluation.features.embed import embed

    with progress_bar("embed loops") as show:
        summary = embed(config, show)
    save_config(config)
    console.print(
        f"{summary.new} loops embedded, {summary.before} existed already: {summary.clips} rows of "
        f"{summary.width} numbers in {config.out / 'features'}"
    )
    if summary.csv is not None:
        console.print(f"Also as text: {summary.csv}")


def run_attend(config: AttendConfig) -> None:
    """Make maps, print their numbers and say where the films are."""
    if config.data:
        check_data_sets(config.data)
    from echojepa.explain.attend import attend

    with progress_bar("attend") as show:
        made = attend(config, show)
    say_films(made)
    console.print(
        f"Numbers: {config.out / 'numbers.parquet'}. Attention shows where an encoder looks, not why."
    )


def run_surprise(config: SurpriseConfig) -> None:
    """Measure surprise, print how well it tells unlike loops and say where the films are."""
    check_data_sets(config.data)
    from echojepa.explain.surprise import surprise

    with progress_bar("surprise") as show:
        made = surprise(config, show)
    say_films(made)
    console.print(f"Numbers: {config.out / 'unlike.parquet'}; every loop: {config.out / 'loops.parquet'}")


def say_films(made: Seen) -> None:
    """Print the numbers, why files are not among the loops, and where the films are."""
    console.print(made.page)
    for why in made.left_out:
        console.print(f"Not shown: {why}")
    for folder in made.folders:
        console.print(f"Film: {folder}")


def run_report(config: ReportConfig) -> None:
    """Write the report and its model card, and say where."""
    check_data_sets(config.data)
    from echojepa.report.html import card_place, write_report

    console.print(f"Report: {write_report(config)}")
    console.print(f"Model card: {card_place(config.out)}")


def run_convert(config: ConvertConfig) -> None:
    """Convert and say what was read and written."""
    from echojepa.weights.layouts import read_weights, write_weights

    weights = read_weights(config.source, untold=config.untold)
    write_weights(config.out, weights, config.to)
    shape = weights.predictor_shape
    predictor = f"predictor {shape.width} x {shape.depth}" if shape else "no predictor"
    console.print(f"{config.source.name} (sha256 {weights.sha256})")
    console.print(
        f"'{weights.architecture.size}', patch {weights.architecture.patch}, {predictor}, "
        f"fed {weights.spec.sampling} at {weights.spec.size} px: written for {config.to} to {config.out}"
    )
