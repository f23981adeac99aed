"""Claims about the command line: what it says when asked, and when asked wrongly."""

from __future__ import annotations

import errno
import re
import shutil
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import torch
from encoders import weights_of

from echojepa.cli import COMMANDS, main, settings_of
from echojepa.config import Architecture, DemoConfig, InputSpec, SimulateConfig
from echojepa.data.store.loop_store import LoopStore
from echojepa.demo import demo_stages, write_demo_key
from echojepa.files.records import decode
from echojepa.models.predictor import Predictor, PredictorShape
from echojepa.models.vit import VisionTransformer
from echojepa.weights.folder import Origin, save_weights
from echojepa.weights.layouts import read_weights

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_a_sentence_for_every_setting(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [command, "smoke", "--help"] if command == "pretrain" else [command, "--help"]
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 0
    text = capsys.readouterr().out
    assert ("--out" in text) == (command != "verify"), "only verify makes nothing"
    assert text.count(".") > len(fields(settings_of(COMMANDS[command])))


def test_the_list_of_commands_is_in_order_of_work(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    text = capsys.readouterr().out
    assert "usage: echojepa COMMAND [settings]" in text
    places = [text.index(f"  {name} ") for name in COMMANDS]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["pretrian"], "Did you mean 'pretrain'?"),
        (
            ["pretrain", "micr", "--data", "d", "--out", "o"],
            "unknown recipe 'micr'. Known: cooldown, cooldown-g, echojepa-g, echojepa-l, gpu, micro, "
            "micro-mae, small, small-contrastive, small-mae, small-supervised, smoke, videomae-l.",
        ),
        (["ingest", "--sources", "absent", "--out", "o", "--key", "k"], "absent does not exist"),
        (["pretrain", "smoke", "--data", "absent", "--out", "o"], "is not a data set"),
        (["simulate", "--out", "o", "--patients", "0"], "at least 1"),
        (
            ["evaluate", "dmo", "--data", "d", "--out", "o", "--backbones", "b"],
            "unknown plan 'dmo'. Known: compared, demo, intervals, latent-vs-pixel, learned, lvef-sites, "
            "mechanism, paper, robustness, rvsp, transfer, view-labels. Did you mean 'demo'?",
        ),
        (
            ["probe", "--data", "d", "--out", "o", "--backbones", "b", "--tasks", "lvfe"],
            "unknown task 'lvfe'. Known: lvef, rvsp, view",
        ),
        (["probe", "--data", "d", "--out", "o", "--backbones", "b", "--probes", "ride"], "'ridge'?"),
        (["probe", "--data", "absent", "--out", "o", "--backbones", "r"], "is not a data set"),
    ],
)
def test_a_mistake_is_answered_by_one_sentence_and_status_one(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str], tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert expected in error and "Traceback" not in error and len(error.splitlines()) == 1


def test_an_impossible_setting_is_wrong_usage_and_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        main(["pretrain", "smoke", "--data", "d", "--out", "o", "--spec.size", "90"])
    assert done.value.code == 2 and "multiples" in capsys.readouterr().err


def test_the_resolved_config_is_left_beside_what_it_made(tmp_path: Path) -> None:
    out = tmp_path / "archive"
    assert main(["simulate", "--out", str(out), "--patients", "1", "--seconds", "0.1", "--workers", "1"]) == 0
    config = decode(SimulateConfig, (out / "config.json").read_text(encoding="utf-8"))
    assert (config.patients, config.seconds, config.preset) == (1, 0.1, "demo")


def test_a_full_disk_is_said_in_words(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(config: DemoConfig) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setitem(COMMANDS, "demo", full)
    assert main(["demo"]) == 1
    assert "make room and run again: finished work is kept" in capsys.readouterr().err


def test_a_saved_config_is_accepted_in_place_of_a_recipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.json").write_text("{}")
    assert main(["pretrain", str(tmp_path / "c.json"), "--data", "d"]) == 1
    assert "missing entries" in capsys.readouterr().err


def test_importing_the_command_line_is_quick_work() -> None:
    """Help must not wait for torch's data loaders, Lance or matplotlib."""
    code = (
        "import sys, echojepa.cli; print(any(m in sys.modules for m in ('lance', 'matplotlib', 'sklearn')))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "False"
    )


def test_the_demo_s_stages_run_in_order_of_commands_and_remember_what_is_done(tmp_path: Path) -> None:
    config = DemoConfig(tmp_path)
    write_demo_key(config)
    stages = demo_stages(config)
    order = [settings_of(run) for run in COMMANDS.values()]
    places = [order.index(type(stage.config)) for stage in stages]
    assert places == sorted(places)
    assert not stages[0].finished()
    stages[0].finish(1.0)
    assert demo_stages(config)[0].finished()
    assert not demo_stages(DemoConfig(tmp_path, patients=7))[0].finished()


def test_the_readme_s_commands_exist() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for command in re.findall(r"echojepa ([a-z]+) ", text):
        assert command in COMMANDS, f"the README calls `echojepa {command}`"
    for target in re.findall(r"make ([a-z]+)", text):
        assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for path in re.findall(r"\]\(((?!http)[^)#]+)", text):
        assert (ROOT / path).exists(), f"the README links {path}"


def test_verify_exits_with_zero_for_a_sound_data_set_and_one_for_leakage(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(dataset), "--pixels", "5"]) == main(["verify", "--data", str(dataset)]) == 0
    text = capsys.readouterr().out
    assert "one patient in two splits" in text and "no fault was found that would spoil a result" in text
    shutil.copytree(dataset, tmp_path / "leaky")
    store = LoopStore(tmp_path / "leaky")
    store.table.update({"split": "'test'"}, where=f"loop_id = '{store.metadata()['loop_id'][0]}'")
    assert main(["verify", str(store.root), "--pixels", "5"]) == 1
    said = capsys.readouterr()
    assert "error: one patient in two splits: 1 of 20 patients: patient " in said.out
    assert "errors: 1, warnings: " in said.err and len(said.err.splitlines()) == 1
    assert main(["verify", str(tmp_path)]) == 1
    assert "is not a data set" in capsys.readouterr().err


def test_sheet_writes_one_page_and_says_where(
    dataset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "new" / "sheet.html"
    assert main(["sheet", "--data", str(dataset), "--out", str(page), "--limit", "3"]) == 0
    assert str(page) in capsys.readouterr().out and page.read_text("utf-8").count("<img ") == 3


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["verify", "d", "--pixels", "-1"], "0 for all; got -1"),
        (["sheet", "--data", "d", "--out", "o", "--limit", "0"], "at least 1"),
    ],
)
def test_a_number_of_loops_that_cannot_be_is_wrong_usage(
    arguments: list[str], expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as done:
        main(arguments)
    assert done.value.code == 2 and expected in " ".join(capsys.readouterr().err.split())


def test_convert_reads_one_layout_and_writes_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = InputSpec(size=64, frames=4, seconds=1.0)
    architecture = Architecture("micro", patch=8)
    encoder = VisionTransformer(architecture, spec, torch.Generator().manual_seed(0))
    predictor = Predictor(
        192, encoder.grid, PredictorShape(32, 1, 1, 192), "vjepa2", torch.Generator().manual_seed(1)
    )
    save_weights(tmp_path / "ours", weights_of(encoder, architecture, spec, Origin("jepa"), predictor))
    assert main(["convert", str(tmp_path / "ours"), "--to", "meta", "--out", str(tmp_path / "vit.pt")]) == 0
    assert "sha256" in capsys.readouterr().out
    back = read_weights(tmp_path / "vit.pt", spec)
    assert all(torch.equal(value, back.encoder[name]) for name, value in encoder.state_dict().items())
    assert main(["convert", str(tmp_path / "ours"), "--to", "meta", "--out", str(tmp_path / "vit.pt")]) == 1
    assert "nothing is overwritten" in capsys.readouterr().err
    assert main(["convert", str(tmp_path / "none.pt"), "--to", "meta", "--out", str(tmp_path / "x.pt")]) == 1
    assert "is not a weights file" in capsys.readouterr().err
