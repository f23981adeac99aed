"""The whole path on a small cohort, to a page that opens in a browser without a network."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from echojepa.config import PlanConfig, ReportConfig
from echojepa.errors import UserError
from echojepa.evaluation.protocol.plans import PLANS
from echojepa.evaluation.results import read_results
from echojepa.evaluation.run import PlanRun
from echojepa.explain.attention import attention_received, overlay
from echojepa.explain.maps import embedding_map
from echojepa.progress import quiet
from echojepa.recipes import smoke
from echojepa.report.html import write_report
from echojepa.training.pretrain import pretrain


@pytest.fixture(scope="module")
def config(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> ReportConfig:
    """Pretrained, probed and scored; ready to report."""
    out = tmp_path_factory.mktemp("path")
    pretrain(smoke(dataset, out / "run"), quiet)
    PlanRun(PLANS["demo"], settings(dataset, out)).run(quiet)
    return ReportConfig(dataset, out / "run", out / "results", out / "report.html")


def settings(dataset: Path, out: Path) -> PlanConfig:
    return PlanConfig(
        data=(dataset,),
        out=out / "results",
        backbones=(str(out / "run"),),
        epochs=2,
        min_steps=1,
        resamples=50,
    )


@pytest.fixture(scope="module")
def page(config: ReportConfig) -> str:
    return write_report(config).read_text(encoding="utf-8")


def test_every_table_has_its_constant_and_its_random_row(config: ReportConfig) -> None:
    rows = read_results(config.results)
    for task in ("lvef", "view"):
        found = {(row.backbone, row.probe) for row in rows if row.task == task}
        assert found == {("constant", "constant")} | {
            (backbone, probe)
            for backbone in ("JEPA", "random encoder")
            for probe in ("linear", "attentive", "ridge")
        }
    assert all(row.lo <= row.value <= row.hi for row in rows if not np.isnan(row.lo))
    assert all(row.patients == 3 for row in rows)


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)[^"'#]""", page)
    assert "url(http" not in page and "@import" not in page
    assert "is a synthetic phantom: no result here is clinical" in page and "Research use only" in page


@pytest.mark.usefixtures("page")
def test_the_page_opens_in_chromium_without_a_request_or_a_console_error(
    config: ReportConfig, open_page: Callable[[Path], str]
) -> None:
    seen = open_page(config.out)
    assert "EchoJEPA report" in seen
    assert re.search(r'<output id="where">\d+ / \d+</output>', seen), "the player's script did not run"


def test_a_missing_stage_is_named(config: ReportConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="echojepa evaluate"):
        write_report(replace(config, results=tmp_path))
    with pytest.raises(UserError, match="Known"):
        write_report(replace(config, attention_site="nowhere"))


def test_attention_received_averages_to_one_and_finds_the_token_everybody_looks_at() -> None:
    attention = torch.full((3, 24, 24), 0.5 / 23)
    attention[:, :, 7] = 0.5
    received = attention_received(attention / attention.sum(-1, keepdim=True), (2, 3, 4))
    assert received.mean().item() == pytest.approx(1.0)
    assert int(received.flatten().argmax()) == 7


def test_an_overlay_colours_the_sector_and_leaves_the_rest() -> None:
    frames = np.full((4, 30, 30), 100, dtype=np.uint8)
    mask = np.zeros((30, 30), dtype=bool)
    mask[:, :15] = True
    painted = overlay(frames, torch.rand(2, 3, 3, generator=torch.Generator().manual_seed(0)), mask)
    assert (painted[:, :, 15:] == 100).all() and (painted[:, :, :15] != 100).any()


def test_umap_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UserError, match=r"echojepa\[umap\]"):
        embedding_map(np.zeros((5, 3), dtype=np.float32), "umap")


def test_a_map_keeps_the_directions_of_most_variance() -> None:
    rng = np.random.default_rng(0)
    far = rng.normal(size=(60, 1)) @ rng.normal(size=(1, 10)) + 0.05 * rng.normal(size=(60, 10))
    points = embedding_map(far.astype(np.float32))
    assert points.shape == (60, 2) and points[:, 0].std() > 5 * points[:, 1].std()
