"""A run's folder that was cut, edited or moved: a sentence each, or mended, and never the wrong run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from echojepa.config import Architecture, ConfigError, InputSpec, PretrainConfig
from echojepa.errors import UserError
from echojepa.recipes import smoke
from echojepa.report.html import read_metrics
from echojepa.training import rotation
from echojepa.training.journal import DATA, METRICS, Journal, open_run, read_lines
from echojepa.training.pretrain import pretrain
from echojepa.weights.folder import load_card
from echojepa.weights.tensors import CheckpointError

CONFIG = smoke(Path("data"), Path("run"))


def tiny(dataset: Path, out: Path, steps: int) -> PretrainConfig:
    return replace(
        smoke(dataset, out), architecture=Architecture("32x1x2x64", patch=16, tubelet=2),
        spec=InputSpec(64, 2, 0.4), predictor_width=32, predictor_depth=1, predictor_heads=2, batch_size=2,
        steps=steps, checkpoint_every=1, monitor_every=100,
    )  # fmt: skip


def lines(folder: Path, steps: int) -> Path:
    file = folder / METRICS
    file.write_text("".join(json.dumps({"step": n, "loss": 1.0}) + "\n" for n in range(steps)))
    return file


@pytest.mark.parametrize(
    ("spoil", "left"),
    [
        (lambda file: os.truncate(file, file.stat().st_size - 40), 8), (lambda file: file.write_text(""), 0),
        (lambda file: file.write_text(file.read_text().replace('"step": 3', '"step": {{', 1)), 9),
        (lambda file: file.write_bytes(b"\0" * 60 + file.read_bytes()[60:]), 7), (Path.unlink, 0),
    ],
)  # fmt: skip
def test_metrics_that_lack_steps_are_an_event_and_the_run_goes_on(
    spoil: Callable[[Path], None], left: int, tmp_path: Path
) -> None:
    spoil(lines(tmp_path, 10))
    journal = Journal(tmp_path, writes=True)
    journal.cut(10)
    assert len(journal.lines) == left == len(read_lines(tmp_path / METRICS))
    (event,) = read_lines(tmp_path / "events.jsonl")
    assert event["event"] == "damaged metrics" and f"lacks {10 - left} of 10" in event["reason"]


def test_whole_metrics_are_no_event(tmp_path: Path) -> None:
    lines(tmp_path, 12)
    journal = Journal(tmp_path, writes=True)
    journal.cut(10)
    assert len(journal.lines) == 10 and not (tmp_path / "events.jsonl").exists()


def test_a_run_goes_on_where_its_data_lie_now_and_with_no_other_data(tmp_path: Path) -> None:
    config = replace(CONFIG, out=tmp_path / "run", data=tmp_path / "here")
    open_run(config, "first", begun=False)
    for place in ("moved", "here/../here", "linked"):
        open_run(replace(config, data=tmp_path / place), "first", begun=True)
    assert json.loads((config.out / "config.json").read_text())["data"].endswith("linked")
    with pytest.raises(ConfigError, match="on other data"):
        open_run(config, "second", begun=True)
    (config.out / DATA).unlink()  # a run of before has none
    open_run(replace(config, data=tmp_path / "here" / ".." / "linked"), "first", begun=True)
    (config.out / DATA).unlink()
    with pytest.raises(ConfigError, match="on other data"):
        open_run(replace(config, data=tmp_path / "elsewhere"), "first", begun=True)


def test_data_given_by_mistake_do_not_block_the_right_ones(tmp_path: Path) -> None:
    config = replace(CONFIG, out=tmp_path / "run")
    for wrong in ("absent", "another"):
        open_run(replace(config, data=tmp_path / wrong), wrong, begun=False)
    open_run(replace(config, data=tmp_path / "right"), "right", begun=False)
    open_run(replace(config, data=tmp_path / "right"), "right", begun=True)
    with pytest.raises(ConfigError, match="another run with different seed"):
        open_run(replace(config, seed=5), "right", begun=True)


def test_a_moved_data_set_and_a_wrong_one_in_a_whole_run(dataset: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises((UserError, OSError)):
        pretrain(tiny(tmp_path / "nothing", out, 1))
    pretrain(tiny(dataset, out, 1))
    config = json.loads((out / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"steps": 2}))  # as if it had been stopped at half
    (tmp_path / "elsewhere").symlink_to(dataset)
    summary = pretrain(tiny(tmp_path / "elsewhere", out, 2))
    assert summary.steps == 2 and [line["step"] for line in read_lines(out / METRICS)] == [0, 1]
    assert rotation.checkpoints(out)[0].name == "00000002"


@pytest.mark.parametrize("kind", ["cut", "empty", "a list", "words", "no utf-8", "an entry less"])
def test_a_damaged_config_of_a_run_is_refused_with_its_path(kind: str, tmp_path: Path) -> None:
    config = replace(CONFIG, out=tmp_path)
    open_run(config, "data", begun=False)
    file = tmp_path / "config.json"
    whole = file.read_text()
    less = {name: value for name, value in json.loads(whole).items() if name != "seed"}
    file.write_bytes({
        "cut": whole[:80].encode(), "empty": b"", "a list": b"[]", "words": b"the config",
        "no utf-8": b"\xff\xfe{",
        "an entry less": json.dumps(less).encode(),
    }[kind])  # fmt: skip
    with pytest.raises(ConfigError, match=r"config\.json"):
        open_run(config, "data", begun=True)


def test_a_damaged_card_or_log_is_a_sentence(tmp_path: Path) -> None:
    for content in ("", "{", '{"version": "1"}', "[1, 2]", "{}"):
        (tmp_path / "encoder.json").write_text(content)
        with pytest.raises(CheckpointError, match=r"encoder\.json"):
            load_card(tmp_path)
        (tmp_path / METRICS).write_text(content)
        with pytest.raises(UserError, match=r"metrics\.jsonl"):
            read_metrics(tmp_path)
