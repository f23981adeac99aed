"""Draw the pictures of the report in docs/tour.md: `make_report.py REPORT` with Debian's Chromium.

They show the top of the page on a desktop and on a phone, how well probes read in the dark, and the first
page as it is printed.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

HERE = Path(__file__).parent


def save(page: Any, name: str, width: int, clip: dict[str, float]) -> None:
    """A part of the page, reduced to a width and to the colours that it needs."""
    whole = Image.open(io.BytesIO(page.screenshot(full_page=True, clip=clip)))
    small = whole.convert("RGB").resize(
        (width, round(whole.height * width / whole.width)), Image.Resampling.LANCZOS
    )
    small.quantize(256, Image.Quantize.MAXCOVERAGE).save(HERE / f"report-{name}.png", optimize=True)


def main() -> None:
    """All four."""
    report = Path(sys.argv[1]).resolve().as_uri()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])

        def opened(width: int, theme: str = "light") -> Any:
            page = browser.new_context(
                viewport={"width": width, "height": 900}, color_scheme=theme
            ).new_page()
            page.goto(report)
            page.wait_for_timeout(1000)
            return page

        save(opened(1280), "desktop", 900, {"x": 0, "y": 0, "width": 1280, "height": 1560})
        save(opened(390), "phone", 390, {"x": 0, "y": 0, "width": 390, "height": 1250})
        dark = opened(1000, "dark")
        place = dark.get_by_role("heading", name="How well it reads").bounding_box()
        save(dark, "dark", 560, {"x": 0, "y": place["y"] - 20, "width": 1000, "height": 1250})
        printed = opened(794)  # the width of A4 at 96 points an inch
        printed.emulate_media(media="print")
        save(printed, "print", 520, {"x": 0, "y": 0, "width": 794, "height": 1123})
        browser.close()


if __name__ == "__main__":
    main()
