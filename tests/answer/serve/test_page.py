"""The page as a person uses it, in Debian's Chromium: drop, watch, play, click through, reject, take away."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from programs import program

from echojepa.serve.access import AccessRules

from ..conftest import Made
from .conftest import LIMITS, Live, Puppet, send, served, settled

playwright = pytest.importorskip("playwright.sync_api")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
PHONE, DESKTOP = (390, 844), (1280, 900)
PATIENCE = 120_000


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    chromium = program("chromium")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=chromium, args=FLAGS)
        yield opened
        opened.close()


class Watched:
    """A page, and all that it said and asked for."""

    def __init__(self, browser: Any, url: str, size: tuple[int, int], theme: str = "light") -> None:
        self.context = browser.new_context(
            viewport={"width": size[0], "height": size[1]}, color_scheme=theme, base_url=url
        )
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.on(
            "console", lambda said: self.complaints.append(said.text) if said.type != "log" else None
        )
        self.page.on("request", lambda asked: self.asked(asked.url, url))

    def asked(self, url: str, own: str) -> None:
        if not url.startswith((own, "data:")):
            self.complaints.append(f"asked for {url}")

    def check(self) -> None:
        """Nothing wider than the screen, and nothing that a screen reader stumbles over."""
        assert self.page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "it scrolls sideways"
        try:
            from axe_playwright_python.sync_playwright import Axe
        except ImportError:
            return
        source = (Path(__import__("axe_playwright_python").__file__).parent / "axe.min.js").read_text()
        assert Axe and source
        # the page forbids scripts of others; the tool is put in from outside of it
        self.page.evaluate(source)
        found = self.page.evaluate("axe.run({resultTypes: ['violations']})")["violations"]
        assert not found, json.dumps(
            [(one["id"], [n["html"] for n in one["nodes"]]) for one in found], indent=1
        )

    def close(self) -> None:
        assert not self.complaints, self.complaints
        self.context.close()


@pytest.mark.parametrize(("size", "theme"), [(PHONE, "dark"), (DESKTOP, "light")])
def test_a_person_gets_an_answer_looks_behind_it_rejects_it_and_takes_it_away(
    browser: Any, live: Live, made: Made, tmp_path: Path, size: tuple[int, int], theme: str
) -> None:
    watched = Watched(browser, live.url, size, theme)
    page = watched.page
    page.goto("/")
    watched.check()
    folder = tmp_path / "SECRETFOLDER"
    shutil.copytree(made.tested, folder)
    page.set_input_files("#folder", folder)
    page.wait_for_url("**/jobs/*")
    if "/studies/" not in page.url:
        assert page.locator("[role=status]").inner_text()
    page.wait_for_url("**/studies/1", timeout=PATIENCE)
    watched.check()
    assert "%" in page.locator(".number").first.inner_text()
    assert page.locator(".strip[role=img]").first.get_attribute("aria-label")
    play_and_stop(page)
    page.get_by_role("link", name="loop 1").first.click()
    assert page.url.endswith("#loop-1") and page.locator("#loop-1").evaluate("one => one.matches(':target')")
    page.wait_for_function(
        "() => document.querySelector('#loop-1').getBoundingClientRect().top < innerHeight"
    )
    page.get_by_label("Reject").check()
    page.get_by_label("Reason").fill("foreshortened")
    page.get_by_role("button", name="Save").click()
    page.locator(".verdict").wait_for()
    assert "Rejected by a reader: foreshortened" in page.locator(".verdict").inner_text()
    with page.expect_download() as waiting:
        page.get_by_role("link", name="prediction.json").click()
    document = json.loads(waiting.value.path().read_text())
    assert waiting.value.suggested_filename == "prediction.json"
    assert document["reviews"] == [{"task": "lvef", "verdict": "rejected", "reason": "foreshortened"}]
    assert "SECRET" not in page.content()
    page.get_by_text("Delete this upload").click()
    page.get_by_role("button", name="Delete for good").click()
    page.wait_for_url("**/")
    watched.close()


def test_two_models_stand_side_by_side(browser: Any, written: Path, shy: Path, tmp_path: Path) -> None:
    with served(Puppet(written, beside=shy), tmp_path / "out", LIMITS, AccessRules()) as port:
        url = f"http://127.0.0.1:{port}"
        with httpx.Client(base_url=url) as client:
            job = send(client, [b"x"])
            client.post(f"/api/jobs/{job}/start")
            assert settled(client, job)["studies"] == 2
        watched = Watched(browser, url, PHONE)
        page = watched.page
        page.goto(f"/jobs/{job}")
        assert page.url.endswith("/studies/1")
        row = page.get_by_role("row").nth(1).inner_text().split("\t")
        assert "% (" in row[1] and row[2:] == ["no answer: unlike training", ""]
        words = page.locator("main").inner_text()
        assert words.index("Not a medical device") < words.index("Two models side by side")
        watched.check()
        page.get_by_role("link", name="The whole answer by shy").click()
        assert page.locator(".number").first.inner_text() == "No answer"
        page.get_by_role("link", name="The whole answer by tiny").click()
        page.wait_for_url("**/studies/1")
        watched.close()


def play_and_stop(page: Any) -> None:
    """A loop of a number plays by itself, and stops; one of none plays when it is told to."""
    card = page.locator("#loop-1")
    slider = card.get_by_role("slider")
    before = slider.input_value()
    page.wait_for_function("before => document.querySelector('#loop-1 input').value !== before", arg=before)
    card.get_by_role("button", name="Pause loop 1").click()
    held = slider.input_value()
    plain = card.locator("img").get_attribute("src")
    attention = page.get_by_role("button", name="Show attention")
    attention.click()
    page.wait_for_function("before => document.querySelector('#loop-1 img').src !== before", arg=plain)
    assert attention.get_attribute("aria-pressed") == "true" and slider.input_value() == held
    attention.click()
    page.wait_for_function("before => document.querySelector('#loop-1 img').src === before", arg=plain)
    other = page.locator(".cards > li.out").first
    other.get_by_role("button").click()
    page.wait_for_function("document.querySelector('.cards > li.out img').src.startsWith('data:image/jpeg')")
    other.get_by_role("button", name="Pause").wait_for()
    assert slider.input_value() == held


def test_the_keyboard_alone_suffices(browser: Any, live: Live, made: Made) -> None:
    """The chooser opens by Enter on its button; the answer is rejected and saved without a mouse."""
    watched = Watched(browser, live.url, DESKTOP)
    page = watched.page
    page.goto("/")
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.textContent") == "Choose files":
            break
    # headless Chromium does not always say that it opened a chooser; that it was told to is what counts
    page.evaluate("document.getElementById('files').onclick = () => { window.opened = true; return false; }")
    page.keyboard.press("Enter")
    assert page.evaluate("window.opened")
    page.set_input_files("#files", sorted(made.tested.iterdir()))
    page.wait_for_url("**/studies/1", timeout=PATIENCE)
    for _ in range(10):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.value") == "accepted":
            break
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Tab")
    page.keyboard.type("too dark")
    page.keyboard.press("Enter")
    page.locator(".verdict").wait_for()
    assert "Rejected by a reader: too dark" in page.locator(".verdict").inner_text()
    watched.close()


def test_an_upload_goes_on_in_another_page_over_a_connection_that_breaks_and_a_refusal_is_a_sentence(
    browser: Any, live: Live, made: Made
) -> None:
    watched = Watched(browser, live.url, PHONE)
    page, cut = watched.page, []

    def cut_once(route: Any) -> None:
        if not cut:
            cut.append(route.request.url)
            route.abort()
        else:
            route.continue_()

    path = next(made.tested.iterdir())
    content = path.read_bytes()
    with live.client() as client:
        job = client.post("/api/jobs").json()["id"]
        client.post(f"/api/jobs/{job}/files", json={"sizes": [len(content)]})
        raw = {"Content-Type": "application/octet-stream"}
        client.put(f"/api/jobs/{job}/files/1?offset=0", content=content[:9000], headers=raw)
    page.goto(f"/jobs/{job}")
    watched.check()
    for wrong, why in (
        (content[:-1], "sizes differ"),
        (content[::-1], "differs from the one that was begun"),
    ):
        page.set_input_files("#files", {"name": "a", "mimeType": "", "buffer": wrong})
        page.get_by_role("alert").wait_for()
        assert why in page.get_by_role("alert").inner_text()
    assert watched.complaints.pop().startswith("Failed to load resource")  # the browser's word for a 409
    page.route("**/files/1?offset=9000", cut_once)
    page.set_input_files("#files", path)
    page.wait_for_url("**/studies/1", timeout=PATIENCE)
    assert cut and watched.complaints.pop().startswith("Failed to load resource")
    page.goto("/")
    page.evaluate("document.getElementById('drop').dataset.files = 1")
    page.route("**/api/jobs", lambda route: route.fulfill(status=429, json={"detail": "the server holds 40"}))
    page.set_input_files("#files", next(made.tested.iterdir()))
    page.get_by_role("alert").wait_for()
    assert page.get_by_role("alert").inner_text() == "The server holds 40."
    assert watched.complaints.pop().startswith("Failed to load resource")
    with live.client() as client:
        job = send(client, [b"x"])
    page.goto(f"/jobs/{job}")
    watched.check()
    assert page.goto("/jobs/none").status == 404
    watched.complaints.pop()
    watched.check()
    watched.close()
