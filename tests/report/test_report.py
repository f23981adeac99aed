"""The whole path on a small cohort, to a page that opens in a browser without a network."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_results import ADULTS, VAL_SEED, predicted, store_results

from echojepa.config import (
    AttendConfig,
    EvaluateConfig,
    PlanConfig,
    ReportConfig,
    SurpriseConfig,
    save_config,
)
from echojepa.errors import UserError
from echojepa.evaluation.probes.stored import find_probes
from echojepa.evaluation.protocol.plans import PLANS, Condition, Plan, PlanBlock
from echojepa.evaluation.results import leading, read_results
from echojepa.evaluation.run import PlanRun
from echojepa.evaluation.tables.chosen import drawn_predictions
from echojepa.evaluation.tables.page import SKETCHES
from echojepa.explain.attend import attend
from echojepa.explain.maps import embedding_map
from echojepa.explain.surprise import surprise
from echojepa.progress import quiet
from echojepa.recipes import smoke
from echojepa.report.agreement import Confidence
from echojepa.report.html import Player, card_place, plain, truth_beside, write_report
from echojepa.tasks import LVEF, VIEW
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
        workers=1,
    )


@pytest.fixture(scope="module")
def page(config: ReportConfig) -> str:
    """The page, with a copy of the results as another run."""
    again = config.results.with_name("again")
    shutil.copytree(config.results, again, ignore=shutil.ignore_patterns("features"))
    for out in (config.results, again):
        save_config(EvaluateConfig(plan="demo", **vars(replace(settings(config.data, out.parent), out=out))))
    return write_report(replace(config, against=(again,))).read_text(encoding="utf-8")


def test_every_table_has_its_constant_and_its_random_row(config: ReportConfig) -> None:
    rows = read_results(config.results)
    for task in ("lvef", "view"):
        found = {(row.backbone, row.probe) for row in rows if row.task == task}
        assert found == {("constant", "constant")} | {
            (backbone, probe)
            for backbone in ("JEPA", "random encoder")
            for probe in ("linear", "attentive", "ridge", "ridge, over time")
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


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's Chromium, driven."""
    playwright, chromium = pytest.importorskip("playwright.sync_api"), shutil.which("chromium")
    if chromium is None:
        if os.environ.get("CI"):
            pytest.fail("no Chromium on this machine; .ci/run must install it")
        pytest.skip("no Chromium on this machine: the page was not opened in a browser")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        yield opened
        opened.close()


@pytest.mark.usefixtures("page")
@pytest.mark.parametrize(("width", "theme"), [(390, "dark"), (1280, "light")])
def test_the_page_suits_screen_readers_phones_and_both_themes(
    config: ReportConfig, browser: Any, width: int, theme: str
) -> None:
    context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=theme)
    opened, complaints = context.new_page(), []
    opened.on("console", lambda said: complaints.append(said.text))
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("request", lambda asked: complaints.append(asked.url) if asked.url.startswith("http") else None)
    opened.goto(config.out.as_uri())
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
    assert opened.locator(".story h3").all_inner_texts() == [
        "What came in", "What it learned", "How well it reads", "What it looks at", "When it fails"
    ]  # fmt: skip
    axe = pytest.importorskip("axe_playwright_python")
    opened.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text())
    found = opened.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
    assert not found, [(one["id"], [node["html"] for node in one["nodes"]]) for one in found]
    table = opened.get_by_role("region", name="Results of LVEF")
    sort_and_filter(opened, table)
    look_and_play(opened)
    context.close()
    assert not complaints


def sort_and_filter(page: Any, table: Any) -> None:
    """By the keyboard: rows in order of a number, and those alone that hold two words."""

    def errors() -> list[float]:
        cells = table.locator("tbody tr:not([hidden]) td:nth-child(3)").all_inner_texts()
        return [float(cell.split()[0]) for cell in cells]

    table.get_by_role("button", name="MAE").focus()
    page.keyboard.press("Enter")
    assert errors() == sorted(errors()) and table.locator("th[aria-sort=ascending]").count() == 1
    page.keyboard.press("Enter")
    assert errors() == sorted(errors(), reverse=True)
    page.get_by_label("Filter Results of LVEF").fill("random over time")
    assert len(errors()) == 1


def look_and_play(page: Any) -> None:
    """A dot shows its loop, by the mouse and by the keyboard, and plays it."""
    part = page.locator(".atlas").first
    still, slider = part.locator(".still"), page.get_by_label("Loop on the map")
    first = still.get_attribute("src")
    slider.focus()
    page.keyboard.press("ArrowRight")
    second = still.get_attribute("src")
    assert slider.input_value() == "1" and second != first
    dot = part.locator("circle[data-dot='0']").first
    dot.dispatch_event("mouseenter")
    assert still.get_attribute("src") == first and still.get_attribute("alt").startswith("Middle frame of ")
    dot.dispatch_event("click")
    page.wait_for_function("first => document.querySelector('.atlas .still').src !== first", arg=first)
    part.locator(".dot-play").click()
    assert part.locator(".dot-play").inner_text() == "Play"
    by_view = dot.get_attribute("fill")
    part.get_by_label("Coloured by").select_option("LVEF")
    assert part.locator("[data-key='LVEF']").is_visible() and part.locator("[data-key='view']").is_hidden()
    part.get_by_label("Coloured by").select_option("view")
    assert dot.get_attribute("fill") == by_view and not page.locator("#map").is_visible()


def test_the_page_tells_all_without_its_script(page: str) -> None:
    """Rows, stills and sentences stand in the page; the script sorts, filters and plays."""
    whole = page[: page.index("<script>")]
    assert len(page.encode()) < 10e6
    assert whole.count("The middle frame of a loop") >= 2 and "nearest loops of other patients" in whole
    assert 'class="controls" hidden' in whole and whole.count("<tr") > 20
    for name in ("fingerprint", "sha256", "torch", "CPUs"):
        assert name in whole[whole.index('id="provenance"') :]


def test_a_copy_of_the_results_is_a_run_that_differs_by_nothing(page: str) -> None:
    part = page[page.index('id="several"') : page.index('id="page"')]
    assert part.count("+0.00 (+0.00, +0.00)") >= 16, "each probe of each encoder"
    assert "again minus results" in part


def test_the_model_card_stands_in_the_page_and_beside_it_and_is_of_this_encoder(
    page: str, config: ReportConfig
) -> None:
    text = card_place(config.out).read_text(encoding="utf-8")
    told = [line.removeprefix("## ") for line in text.splitlines() if line.startswith("## ")]
    inside = page[page.index('id="card"') : page.index('id="provenance"')]
    assert told == re.findall("<h3>(.*?)</h3>", inside)
    assert "by the plan 'demo'" in text and "50 resamples of patients" in text
    assert "| lvef | JEPA | attentive | MAE | " in text and "no row for this encoder" not in text
    assert page.count("<code>echojepa evaluate rvsp --data DATA") == 2, "a table, and a picture of the page"


def test_surprise_of_the_run_is_the_figure_of_when_it_fails(config: ReportConfig, tmp_path: Path) -> None:
    wanted = SurpriseConfig(
        config.run, config.data, tmp_path / "s", unlike=(f"short axis={config.data}[view=PSAX-AV]",),
        train_loops=6, loops=3, resamples=20, workers=1,
    )  # fmt: skip
    made = surprise(wanted, quiet)
    assert "| short axis | " in made.page and "others of the same data set" in made.page
    assert {path.name for path in made.folders} == {"validation-01", "short-axis-01"}
    assert {path.name for path in made.folders[0].iterdir()} == {
        "film.mp4",
        "film.gif",
        "strip.png",
        "maps.npz",
    }
    text = write_report(replace(config, surprise=tmp_path / "s", out=tmp_path / "r.html")).read_text()
    assert "Right, how well each score detects" in text and "--unlike NAME=PATH" in text
    assert "short axis 0." in text or "short axis 1." in text
    with pytest.raises(UserError, match="echojepa surprise"):
        write_report(replace(config, surprise=tmp_path))


def test_a_probe_that_is_sure_where_it_is_right_has_a_risk_that_rises() -> None:
    """Ten items: six right of which five are said with 0.9, four wrong with 0.6; worked out by hand."""
    right = np.array([1, 1, 1, 1, 1, 0, 0, 0, 0, 1], dtype=bool)
    sure = np.array([0.9] * 5 + [0.6] * 5)
    one = Confidence(sure, right)
    np.testing.assert_allclose(one.bins(), [[0.6, 0.2, 5], [0.9, 1.0, 5]])
    assert one.calibration_error == pytest.approx((0.4 + 0.1) / 2)
    assert one.error_at(0.5) == 0 and one.error_at(1.0) == pytest.approx(0.4)
    np.testing.assert_allclose(one.risk()[[0, 4, 5, 9]], [[0.1, 0], [0.5, 0], [0.6, 1 / 6], [1, 0.4]])


def test_a_missing_stage_is_named(config: ReportConfig, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="echojepa evaluate"):
        write_report(replace(config, results=tmp_path))
    with pytest.raises(UserError, match="Known"):
        write_report(replace(config, attention_site="nowhere"))


def test_attend_shows_and_asks_the_probes_of_the_results(config: ReportConfig, tmp_path: Path) -> None:
    """Each backbone its own probe, told by its weights; a kind that has no pooling is refused."""
    wanted = AttendConfig(
        (str(config.run),), tmp_path / "seen", data=config.data, results=config.results, split="train",
        sources=("probe", "occlusion"), loops=2, films=1, hide=(2, 2, 2), resamples=5,
    )  # fmt: skip
    made = attend(wanted, quiet)
    assert "the prediction (%)" in made.page and "## probe" in made.page
    record = json.loads((tmp_path / "seen" / "attend.json").read_text())
    assert len(record["sources"]) == 4, "the random start has its own probe"
    with pytest.raises(UserError, match="does not read tokens"):
        attend(replace(wanted, probe="ridge"), quiet)
    with pytest.raises(UserError, match="has no probe 'attentive' of the task 'rvsp'"):
        attend(replace(wanted, task="rvsp"), quiet)


def test_umap_that_is_not_installed_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    with pytest.raises(UserError, match=r"echojepa\[umap\]"):
        embedding_map(np.zeros((5, 3), dtype=np.float32), "umap")


def test_a_map_keeps_the_directions_of_most_variance() -> None:
    rng = np.random.default_rng(0)
    far = rng.normal(size=(60, 1)) @ rng.normal(size=(1, 10)) + 0.05 * rng.normal(size=(60, 10))
    points = embedding_map(far.astype(np.float32))
    assert points.shape == (60, 2) and points[:, 0].std() > 5 * points[:, 1].std()


@pytest.mark.parametrize("plan", PLANS)
def test_every_plan_s_folder_makes_a_report(
    plan: str, config: ReportConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = Player(["data:,"], 100, "site", 1.0, "")
    monkeypatch.setattr("echojepa.report.html.attention_player", lambda *parts: player)
    results = tmp_path / "results"
    store_results(PLANS[plan], results)
    save_config(
        EvaluateConfig(plan=plan, data=(config.data,), out=results, backbones=("run",), children="kids")
    )
    text = write_report(replace(config, results=tmp_path / "results", out=tmp_path / "r.html")).read_text()
    cells = PLANS[plan].cells(lambda task: ADULTS)
    frozen = [
        number for number, cell in enumerate(cells)
        if (cell.task, cell.trained_on, cell.calibrated, cell.fraction, cell.seed) == (LVEF, "", False, 1, 0)
        and not cell.probe.finetuned and any(condition == Condition() for condition in cell.conditions)
    ]  # fmt: skip
    assert ("Predicted against true ejection fraction" in text) == bool(frozen)
    filled = set(re.findall('aria-label="Ours, (.*?)"', text))
    assert SKETCHES[plan].title in filled if plan in SKETCHES and SKETCHES[plan].theirs else filled
    leaders = leading([row for row in read_results(results) if plain(row)])
    shown = truth_beside(drawn_predictions(results, leaders).get("lvef"))
    assert set(shown) == ({"JEPA", "random encoder"} if frozen else set())
    validated = {
        n: np.abs((made := predicted(LVEF, VAL_SEED + n)).values - made.truth).mean() for n in frozen
    }
    for truth, prediction in shown.values():
        expected = predicted(LVEF, min(validated, key=validated.__getitem__))
        assert (truth == expected.truth).all() and (prediction == expected.values).all(), (
            "of the kind that validation patients choose, not the calibrated"
        )
    perturbed = {n: validated[n] for n in frozen if any(c.perturbation for c in cells[n].conditions)}
    by = cells[min(perturbed, key=perturbed.__getitem__)].probe.name if perturbed else ""
    assert (f"Probe: {by}. All sites" in text) == bool(perturbed)


def test_a_folder_of_ridge_alone_makes_a_report_without_curves_of_heads(
    config: ReportConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    player = Player(["data:,"], 100, "site", 1.0, "")
    monkeypatch.setattr("echojepa.report.html.attention_player", lambda *parts: player)
    store_results(Plan("ridge", (PlanBlock((LVEF, VIEW), ("ridge",)),)), tmp_path / "results")
    text = write_report(replace(config, results=tmp_path / "results", out=tmp_path / "r.html")).read_text()
    assert "Predicted against true ejection fraction of test studies (ridge;" in text
    assert "attentive probe of" not in text


def test_results_of_version_one_are_read() -> None:
    """As they were written before there were versions: `settled` in the rows, no version on the card."""
    folder = Path(__file__).parent / "version_1"
    rows = read_results(folder)
    assert {"JEPA", "random encoder", "constant"} < {row.backbone for row in rows}
    assert all(isinstance(row.converged, bool) for row in rows)
    (stored,) = find_probes(folder, "lvef", "attentive").values()
    card = stored.card()
    assert (card.format_version, card.calibrated, card.backbone) == (1, None, "JEPA")
    assert card.history["validation"] and set(
        truth_beside(drawn_predictions(folder, leading(rows))["lvef"])
    ) == {"JEPA"}
