"""Claims about a user's own files: one command looks at them, and says which lie far from training."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from echojepa.answer.model import Model
from echojepa.answer.survey import survey
from echojepa.cli import COMMANDS, main, settings_of
from echojepa.config import ConfigError, DemoConfig, EmbedConfig, SurpriseConfig, SurveyConfig
from echojepa.demo import demo_stages
from echojepa.errors import UserError
from echojepa.evaluation.features.embed import embed
from echojepa.files.records import write_record
from echojepa.progress import quiet
from echojepa.recipes import smoke

from .conftest import Made


@pytest.fixture(scope="module")
def own(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `echojepa demo --data` makes of a study."""
    out = tmp_path_factory.mktemp("own") / "look"
    assert main(["demo", "--data", str(made.tested), "--model", str(made.model), "--out", str(out)]) == 0
    return out


def test_one_command_makes_a_page_of_own_files(own: Path, made: Made) -> None:
    for name in (
        "dataset/loops.lance",
        "sheet.html",
        "embedding/embed.json",
        "seen/numbers.md",
        "report.html",
    ):
        assert (own / name).exists(), name
    page = (own / "report.html").read_text()
    said = re.search(r"(\d+) of (\d+) loops lie farther from the training set", page)
    assert said and int(said[2]) == len(list(made.tested.iterdir()))
    assert (
        "sheet.html" in page and page.count("data:image/jpeg") >= 2 and "only on a synthetic phantom" in page
    )
    assert made.tested.parent.name not in page and str(made.tested) not in page
    key = (own / "own.key").read_bytes()
    assert b"fixed and public" not in key, "own files have a key of their own"
    assert all(stage.finished() for stage in demo_stages(DemoConfig(own, data=made.tested, model=made.model)))


def test_distances_are_those_that_answers_state(own: Path, made: Made, strict: Model, tmp_path: Path) -> None:
    """The model's own training loops lie at about 1; a data set is surveyed in its own order of distance."""
    embed(EmbedConfig(made.dataset, tmp_path / "e", str(made.model / "encoder"),
                      clips_per_loop=strict.card.clips_per_loop), quiet)  # fmt: skip
    found = survey(SurveyConfig(made.dataset, tmp_path / "e", tmp_path / "s.html", made.model))
    distances = [loop.distance for loop in found.loops]
    assert distances == sorted(distances, reverse=True) and 0.3 < np.median(distances) < 3
    limit = strict.card.thresholds.most_distance
    assert [loop.far for loop in found.loops] == [loop.distance > limit for loop in found.loops]
    with pytest.raises(UserError, match="that are not in"):
        survey(SurveyConfig(own / "dataset", tmp_path / "e", tmp_path / "s.html", made.model))


def test_settings_that_do_not_fit_are_refused(made: Made, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="--run works only"):
        DemoConfig(tmp_path, run=made.run)
    with pytest.raises(UserError, match="echojepa embed"):
        survey(SurveyConfig(made.dataset, tmp_path, tmp_path / "s.html", made.model))


def test_stages_of_own_files_run_in_order_of_commands(made: Made, tmp_path: Path) -> None:
    """With a run its surprise is among them, asked of the data set that the run was trained on."""
    order = [settings_of(run) for run in COMMANDS.values()]
    (tmp_path / "run").mkdir()
    write_record(tmp_path / "run" / "config.json", smoke(made.dataset, tmp_path / "run"))
    config = DemoConfig(tmp_path, data=made.tested, model=made.model, run=tmp_path / "run")
    stages = demo_stages(config)
    places = [order.index(type(stage.config)) for stage in stages]
    assert places == sorted(places)
    (asked,) = [stage.config for stage in stages if isinstance(stage.config, SurpriseConfig)]
    assert asked.data == made.dataset and asked.unlike == (f"your files={tmp_path / 'dataset'}",)
    assert stages[-1].config.surprise == asked.out
    assert len(demo_stages(replace(config, run=None))) == len(stages) - 1
