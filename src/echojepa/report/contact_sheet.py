"""The contact sheet: a picture of each loop, and a list of what did not come in, for a person to see."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import binary_erosion

from echojepa.config import SheetConfig
from echojepa.data.store.loop_store import LoopStore
from echojepa.data.verify.loop_checks import PIXEL_CHECKS, ROW_CHECKS, SHORT, WITHOUT_VIEW, inspect, shown
from echojepa.data.verify.verify import evenly_spaced, read_rows
from echojepa.progress import Progress
from echojepa.report.page import fitted_into, jpeg_uri, write_page
from echojepa.vocabulary import SYNTHETIC_MANUFACTURER, Reason

THUMBNAIL = 208
"""Pixels of a picture's longer side."""
JPEG_QUALITY = 72
OUTLINE = np.array([224, 178, 74])
"""Colour of the sector's outline, half transparent."""
BY = " \N{MULTIPLICATION SIGN} "
LISTED = 100
"""Files listed of each reason at most."""
FILTERS = ("kind", "view", "split", "site")


@dataclass(frozen=True)
class Card:
    """One loop on the page."""

    loop_id: str
    """Its first eight digits."""
    picture: str
    """Data URI of the middle frame; empty where it does not decode."""
    values: dict[str, str]
    """What the page can be filtered by: kind, view, split, site."""
    facts: list[str]
    """Lines a person reads."""
    odd: list[str]
    """What `echojepa verify` would say of this loop."""
    synthetic: bool


def thumbnail(frame: NDArray[np.uint8], mask: NDArray[np.bool_]) -> str:
    """A small JPEG data URI of (H, W) or (H, W, 3), the outline of the mask (H, W) drawn on it."""
    picture = fitted_into(frame, THUMBNAIL).convert("RGB")
    small = np.asarray(Image.fromarray(mask).resize(picture.size, Image.Resampling.NEAREST))
    edge = small & np.logical_not(binary_erosion(small))
    pixels = np.array(picture)
    pixels[edge] = (pixels[edge] + OUTLINE) // 2
    return jpeg_uri(pixels, JPEG_QUALITY)


def facts_of(row: dict[str, Any], frames: int) -> list[str]:
    """What is known of a loop, in lines; what is not stated is said where a reader would look for it."""
    rate = row["frame_rate"]
    motion = f"{frames} frame{'s' * (frames != 1)}" + (f", {rate:.1f} fps" if rate else "")
    sides = [row["pixel_height_mm"], row["pixel_width_mm"]]
    scale = BY.join(dict.fromkeys(f"{side:.3f}" for side in sides if side is not None))
    lines = [
        f"{motion}{', colour' if row['colour'] else ''}",
        f"{row['width']}{BY}{row['height']} px, {scale + ' mm/px' if scale else 'no scale'}",
    ]
    person = [row["sex"], f"{row['age']:.0f} years" if row["age"] is not None else None]
    person.append(f"{row['heart_rate']:.0f}/min" if row["heart_rate"] is not None else None)
    if any(person):
        lines.append(", ".join(filter(None, person)))
    return lines


def card(store: LoopStore, number: int, row: dict[str, Any]) -> Card:
    """The card of the loop in row `number` of the table."""
    look = inspect(store, number, row)
    odd = [check.name for check in ROW_CHECKS if check not in (WITHOUT_VIEW, SHORT) and check.fails(row)]
    odd += [check.name for check in PIXEL_CHECKS if check.fails(look)]
    odd += [row["time_warning"]] if row["time_warning"] else []
    count = len(row["times"] or ())
    picture = ""
    if not look.damaged:
        picture = thumbnail(store.frames(number, [look.frame_count // 2])[0], store.mask(number))
    values = {name: str(row[name] or "not stated") for name in FILTERS}
    synthetic = row["manufacturer"] == SYNTHETIC_MANUFACTURER
    return Card(shown(row["loop_id"])[:8], picture, values, facts_of(row, count), odd, synthetic)


def rejected_files(store: LoopStore) -> list[dict[str, Any]]:
    """Reasons, the commonest first, with how many files and the first of them.

    Of files held for review nothing but their id is told.
    """
    rows = store.rejected().to_pylist()
    out = []
    for reason, count in Counter(row["reason"] for row in rows).most_common():
        listed = [row for row in rows if row["reason"] == reason][:LISTED]
        told = reason != Reason.HELD_TEXT
        files = [(shown(row["file_id"]), row["detail"] if told else "") for row in listed]
        out.append({"reason": reason, "count": count, "files": files})
    return out


def counts(store: LoopStore) -> dict[str, Any]:
    """Numbers at the head of the page, and whether "all", "some" or "none" of the loops are synthetic."""
    table = store.metadata(["patient_id", "study_id", "manufacturer"])
    synthetic = table["manufacturer"].to_pylist().count(SYNTHETIC_MANUFACTURER)
    return {
        "loops": table.num_rows,
        "patients": len(set(table["patient_id"].to_pylist())),
        "studies": len(set(table["study_id"].to_pylist())),
        "synthetic": "none" if not synthetic else "all" if synthetic == table.num_rows else "some",
    }


def write_sheet(config: SheetConfig, progress: Progress) -> Path:
    """Write the page; calls progress(done, total) over the loops on it."""
    store = LoopStore.open(config.data)
    numbers = counts(store)
    chosen = evenly_spaced(numbers["loops"], config.limit)
    cards = []
    for number, row in enumerate(read_rows(store)):
        if number in chosen:
            cards.append(card(store, number, row))
            progress(len(cards), len(chosen))
    return write_page(
        config.out,
        "contact_sheet.html",
        counts=numbers,
        cards=cards,
        filters={name: Counter(card.values[name] for card in cards) for name in FILTERS},
        rejected=rejected_files(store),
        fingerprint=store.fingerprint(),
    )
