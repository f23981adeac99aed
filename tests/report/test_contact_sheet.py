"""What is on the contact sheet and what is not, and that it opens in a browser without a network."""

from __future__ import annotations

import base64
import html
import io
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from echojepa.config import SheetConfig
from echojepa.data.store.loop_store import REJECTED_SCHEMA, SCHEMA, LoopStore, StoredLoop
from echojepa.files.tables import write_parquet
from echojepa.progress import quiet
from echojepa.report.contact_sheet import BY, LISTED, thumbnail, write_sheet
from echojepa.vocabulary import Reason

HELD = "a" * 20


@pytest.fixture(scope="module")
def odd(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> LoopStore:
    """Six loops of the cohort: one doubtful in time, one damaged, one of another scanner; files rejected."""
    source = LoopStore.open(dataset)
    loops = [StoredLoop(**row) for row in source.table.take(list(range(6)), columns=SCHEMA.names).to_pylist()]
    loops[0] = replace(loops[0], time_warning="FrameTime <b>says</b> 0", site="St. <Mary>")
    loops[1] = replace(loops[1], frames=[b"damaged"] * len(loops[1].frames))
    loops[2] = replace(
        loops[2], view=None, manufacturer="other", sex="F", age=67.4, pixel_width_mm=None, frame_rate=500.0,
        pixel_height_mm=None,
    )  # fmt: skip
    loops[3] = replace(loops[3], loop_id="DOE^JANE^19500101")
    store = LoopStore.create(tmp_path_factory.mktemp("sheet") / "data", 0)
    store.append(loops)
    rows = [
        {"file_id": f"{n:020x}", "reason": Reason.NOT_DICOM.value, "detail": "no preamble"}
        for n in range(150)
    ]
    rows.append({"file_id": HELD, "reason": Reason.HELD_TEXT.value, "detail": "text at 10, 20"})
    rows.append({"file_id": "DOE_JANE.dcm", "reason": Reason.NO_TIME.value, "detail": "none of five"})
    write_parquet(store.root / "rejected.parquet", pa.Table.from_pylist(rows, schema=REJECTED_SCHEMA))
    return store


@pytest.fixture(scope="module")
def config(odd: LoopStore) -> SheetConfig:
    return SheetConfig(odd.root, odd.root.parent / "sheet.html")


@pytest.fixture(scope="module")
def page(config: SheetConfig) -> str:
    return write_sheet(config, quiet).read_text("utf-8")


def cards_of(page: str) -> list[str]:
    return re.findall(r"<li data-kind.*?</li>", page, re.DOTALL)


def text_of(card: str) -> str:
    return html.unescape(" ".join(re.sub(r"<[^>]+>", " ", card).split()))


def test_a_card_says_what_is_known_of_its_loop_and_what_is_not(page: str, odd: LoopStore) -> None:
    cards, rows = cards_of(page), odd.metadata().to_pylist()
    assert len(cards) == 6
    text, row = text_of(cards[4]), rows[4]
    for part in (
        row["view"], row["loop_id"][:8], "cine, synthetic", row["split"], row["site"], "frames",
        f"{row['frame_rate']:.1f} fps", f"{row['width']}{BY}{row['height']} px",
        f"{row['pixel_height_mm']:.3f} mm/px", f"{row['heart_rate']:.0f}/min",
    ):  # fmt: skip
        assert part in text
    assert row["loop_id"] not in page
    other = text_of(cards[2])
    assert "view not stated" in other and "synthetic" not in other
    assert "F, 67 years" in other and "no scale" in other


def test_what_is_odd_is_marked_and_only_that(page: str) -> None:
    cards = cards_of(page)
    assert ['data-odd="yes"' in card and 'class="odd"' in card for card in cards] == [True] * 3 + [False] * 3
    assert "doubtful frame times" in cards[0] and "FrameTime <b>says</b> 0" in text_of(cards[0])
    assert "pixels do not decode" in cards[1] and "<img" not in cards[1]
    assert "odd or no frame rate" in cards[2] and "cine without a view" not in cards[2]
    assert "St. &lt;Mary&gt;" in page and "<Mary>" not in page


def test_what_did_not_come_in_is_counted_listed_and_cut_short(page: str) -> None:
    assert "152 files did not come in" in page
    assert len(re.findall(r"<td>no preamble</td>", page)) == LISTED
    assert f"The first {LISTED} of 150" in page and "none of five" in page


def test_an_empty_data_set_has_a_page_that_says_so(tmp_path: Path) -> None:
    LoopStore.create(tmp_path / "data", 0)
    page = write_sheet(SheetConfig(tmp_path / "data", tmp_path / "s.html"), quiet).read_text("utf-8")
    assert "0 loops of 0 studies" in page and "Nothing: every file came in" in page and not cards_of(page)


def test_of_a_file_held_for_review_nothing_but_its_id_is_told(page: str) -> None:
    assert HELD in page and html.escape(Reason.HELD_TEXT.value) in page
    assert "text at 10" not in page and page.count("<img ") == 5


def test_an_id_that_is_no_pseudonym_is_not_repeated(page: str) -> None:
    assert "DOE" not in page


def test_the_page_says_research_only_and_which_loops_are_synthetic(
    page: str, dataset: Path, tmp_path: Path
) -> None:
    assert "Research use only" in page and "Loops marked “synthetic” are a phantom" in page
    whole = write_sheet(SheetConfig(dataset, tmp_path / "s.html", limit=7), quiet).read_text("utf-8")
    assert "Every loop here is synthetic" in whole
    loops = LoopStore.open(dataset).table.count_rows()
    assert f"7 evenly spaced loops of {loops} are shown" in whole and len(cards_of(whole)) == 7
    assert len({re.search(r"loop (\w{8})", card) and card for card in cards_of(whole)}) == 7


def test_four_hundred_cards_of_the_largest_kind_fit_into_eight_megabytes(page: str) -> None:
    assert 400 * max(map(len, cards_of(page))) < 8e6


def test_a_thumbnail_shows_the_frame_and_the_edge_of_the_sector() -> None:
    frame, mask = np.full((100, 200), 90, dtype=np.uint8), np.zeros((100, 200), dtype=bool)
    mask[20:80, 50:150] = True
    uri = thumbnail(frame, mask)
    picture = Image.open(io.BytesIO(base64.b64decode(uri.removeprefix("data:image/jpeg;base64,"))))
    assert picture.size == (208, 104)
    pixels = np.asarray(picture).astype(int)
    assert np.abs(pixels[40:60, 80:120] - 90).max() < 8 and np.abs(pixels[:10] - 90).max() < 8
    assert pixels[21, 60:140, 0].mean() - pixels[21, 60:140, 2].mean() > 10


def test_the_page_needs_nothing_from_outside(page: str) -> None:
    assert not re.findall(r"""(?:src|href)\s*=\s*["'](?!data:)[^"'#]""", page)
    assert "http:" not in page and "https:" not in page and "@import" not in page
    assert "default-src 'none'" in page


def test_the_page_works_without_a_script(page: str) -> None:
    still = re.sub(r"<script>.*?</script>", "", page, flags=re.DOTALL)
    assert '<form id="filters" hidden>' in still
    assert not [card for card in cards_of(still) if re.match(r"<li[^>]* hidden", card)]


def test_the_page_opens_in_chromium_filters_and_says_no_error(
    page: str, open_page: Callable[[Path], str], tmp_path: Path
) -> None:
    choose = '<script>form.elements.odd.value = "yes"; form.onchange();</script></body>'
    for name, text, shown in (("all", page, 6), ("odd", page.replace("</body>", choose), 3)):
        file = tmp_path / f"{name}.html"
        file.write_text(text, encoding="utf-8")
        seen = open_page(file)
        assert f"{shown} of 6 shown" in seen
        assert len(re.findall(r"<li[^>]* hidden", seen)) == 6 - shown
