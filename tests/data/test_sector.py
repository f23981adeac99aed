"""Claims about the sector: what is ultrasound is kept, what is overlay is not, and text inside is held."""

from __future__ import annotations

import itertools
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

from echojepa.data.reading.cine import Region
from echojepa.data.reading.dicom.reader import example_cines
from echojepa.data.reading.dicom.writer import write_cine
from echojepa.data.reading.recording import read_cine
from echojepa.data.reading.rejection import Rejected
from echojepa.data.sector.burned_text import find_text
from echojepa.data.sector.fan import Fan, fit_fan
from echojepa.data.sector.sector import Mask, Sector, find_sector
from echojepa.phantom.cohort.loops import PhantomLoop, one_loop
from echojepa.phantom.screen.layouts import LAYOUTS
from echojepa.phantom.screen.screens import PlantedText, ScreenLayout, burn_in
from echojepa.vocabulary import Reason, View

SCREENS = (None, *LAYOUTS)
on_every_screen = pytest.mark.parametrize(
    "layout", SCREENS, ids=lambda layout: layout.name if layout else "small"
)


@cache
def record(layout: ScreenLayout | None, *planted: PlantedText, view: View = View.A4C) -> PhantomLoop:
    return one_loop(view, 0.5, layout, planted, seed=1, ordinal=40)


@cache
def real_cine(path: Path) -> NDArray[np.uint8]:
    return read_cine(path, b"key").frames


def overlap(one: Mask, other: Mask) -> float:
    return float((one & other).sum() / (one | other).sum())


@on_every_screen
def test_the_sector_is_found_to_a_pixel_and_no_overlay_with_it(
    layout: ScreenLayout | None, tmp_path: Path
) -> None:
    """As the scanner holds it, and after JPEG in a file as the writer makes it."""
    recorded = record(layout)
    write_cine(tmp_path / "a.dcm", recorded.loop, patient_name="X", study_date="20260101")
    for frames in (recorded.loop.frames, read_cine(tmp_path / "a.dcm", b"key").frames):
        mask = find_sector(frames).mask
        assert overlap(mask, recorded.sector) > (0.98 if layout else 0.96)
        assert not (mask & ~recorded.sector & recorded.overlay.any(0)).any()


@pytest.mark.parametrize(("path", "scale"), list(zip(example_cines(), (0.5, 1.0), strict=True)))
def test_on_the_real_cine_the_mask_covers_the_fan_and_no_text_outside_survives(
    path: Path, scale: float
) -> None:
    """The fan as read off the 640 x 480 picture: apex near (340, 44), corners (84, 300) and (595, 300),
    lowest point (340, 403). Everything bright beyond it by 4 pixels is text, a tick or the button bar."""
    frames = real_cine(path)
    mask = find_sector(frames).mask
    height, width = mask.shape
    y, x = np.mgrid[:height, :width] / scale
    reach = np.hypot(x - 340, y - 20)
    left, right = (y - 44) * (315 - 84) / (300 - 44), (y - 44) * (595 - 365) / (300 - 44)
    fan = (y > 44) & (x > 315 - left) & (x < 365 + right) & (reach < 383)
    assert (mask & fan).sum() / fan.sum() > 0.97
    assert (mask & fan).sum() / (mask | fan).sum() > 0.94
    beyond = mask & ~((y > 38) & (x > 311 - left) & (x < 369 + right) & (reach < 389))
    assert frames[:, beyond].max(initial=0) < 40


def test_regions_that_are_wrong_or_of_another_picture_change_nothing() -> None:
    recorded = record(LAYOUTS[0])
    mask = find_sector(recorded.loop.frames).mask
    for region in (Region(0, 0, 60, 60), Region(900, 700, 5000, 4000), Region(0, 0, 639, 479, kind="pw")):
        np.testing.assert_array_equal(find_sector(recorded.loop.frames, (region,)).mask, mask)


def test_of_two_sectors_side_by_side_the_region_says_which() -> None:
    frames, sector = record(None).loop.frames, record(None).sector
    twice = np.concatenate([frames, frames[:, :, ::-1]], axis=2)
    width = frames.shape[2]
    for side in (0, 1):
        region = Region(side * width, 0, side * width + width - 1, frames.shape[1] - 1)
        mask = find_sector(twice, (region,)).mask
        truth = sector[:, ::-1] if side else sector
        assert overlap(mask[:, side * width : (side + 1) * width], truth) > 0.95
        assert not mask[:, (1 - side) * width : (2 - side) * width].any()


def test_a_colour_doppler_box_is_part_of_the_sector() -> None:
    recorded = record(LAYOUTS[0])
    frames = recorded.loop.frames.copy()
    flow = np.random.default_rng(0).integers(60, 255, (len(frames), 90, 120), dtype=np.uint8)
    frames[:, 220:310, 270:390] = 0
    frames[:, 220:310, 270:330, 0] = flow[..., :60]
    frames[:, 220:310, 330:390, 2] = flow[..., 60:]
    assert overlap(find_sector(frames).mask, recorded.sector) > 0.98


@pytest.mark.parametrize("count", [1, 2, 5])
def test_a_loop_of_a_few_frames_or_one_is_found_too(count: int) -> None:
    recorded = record(LAYOUTS[0])
    mask = find_sector(recorded.loop.frames[:count]).mask
    assert overlap(mask, recorded.sector) > 0.95
    assert not (mask & ~recorded.sector & recorded.overlay.any(0)).any()


def test_a_linear_arrays_rectangle_is_kept_without_the_ticks_beside_it() -> None:
    rng = np.random.default_rng(0)
    frames = np.zeros((12, 300, 400), dtype=np.uint8)
    frames[:, 40:260, 80:300] = rng.integers(0, 200, (12, 220, 220))
    frames[:, 40:260:20, 303:312] = 220
    truth = np.zeros((300, 400), dtype=bool)
    truth[40:260, 80:300] = True
    mask = find_sector(frames).mask
    assert overlap(mask, truth) > 0.95 and not mask[~truth].any()


def test_where_nothing_moves_or_only_a_trace_does_there_is_no_sector() -> None:
    page = np.zeros((8, 240, 320), dtype=np.uint8)
    page[:, 20:30, 20:120] = 200
    trace = page.copy()
    for number, frame in enumerate(trace):
        frame[200, 40 * number : 40 * number + 40] = 255
    noise = np.random.default_rng(0).integers(0, 255, (1, 240, 320), dtype=np.uint8)
    for frames in (page, trace, page[:1], noise):
        with pytest.raises(Rejected) as caught:
            find_sector(frames)
        assert caught.value.reason is Reason.NO_SECTOR


def test_a_fan_is_fitted_to_itself_though_half_its_pixels_are_dead() -> None:
    true = Fan(x=212.3, y=17.6, left=-0.61, right=0.74, near=31.0, far=260.0)
    alive = true.mask((300, 420))
    rng = np.random.default_rng(0)
    alive &= rng.random(alive.shape) < 0.85
    alive[150:260, 60:150] = False
    fitted = fit_fan(alive)
    assert fitted is not None
    assert (fitted.x, fitted.y) == pytest.approx((true.x, true.y), abs=1.0)
    assert (fitted.left, fitted.right) == pytest.approx((true.left, true.right), abs=0.01)
    assert (fitted.near, fitted.far) == pytest.approx((true.near, true.far), abs=1.0)


def planted(
    layout: ScreenLayout | None, words: str, level: int, size: int = 14
) -> tuple[PhantomLoop, PlantedText]:
    rows, columns = np.nonzero(record(layout).sector)
    place = PlantedText(words, int(columns.mean()) - 30, int(rows.mean()), size, level)
    return record(layout, place), place


@on_every_screen
def test_a_clean_loop_is_not_held(layout: ScreenLayout | None) -> None:
    frames = record(layout).loop.frames
    assert not find_text(frames, find_sector(frames))


@pytest.mark.parametrize("path", example_cines(), ids=lambda path: path.stem)
def test_the_real_cine_is_not_held(path: Path) -> None:
    frames = real_cine(path)
    assert not find_text(frames, find_sector(frames))


@on_every_screen
def test_a_name_in_the_picture_is_found_where_it_stands(layout: ScreenLayout | None) -> None:
    recorded, place = planted(layout, "DOE JANE", 220)
    sector = find_sector(recorded.loop.frames)
    found = find_text(recorded.loop.frames, sector)
    assert any(box.left < place.x + 60 and box.right > place.x for box in found)
    assert all(place.y <= box.top and box.bottom <= place.y + 24 for box in found[:1])


@pytest.mark.parametrize(("size", "level"), [(10, 240), (14, 180), (14, 240)])
def test_two_letters_are_enough_after_jpeg_too(size: int, level: int, tmp_path: Path) -> None:
    recorded, _ = planted(LAYOUTS[0], "LV", level, size)
    write_cine(tmp_path / "a.dcm", recorded.loop, patient_name="X", study_date="20260101")
    frames = read_cine(tmp_path / "a.dcm", b"key").frames
    assert find_text(frames, find_sector(frames))


def restless(count: int = 24) -> tuple[NDArray[np.uint8], Sector]:
    """Speckle of grey 130 on average, of grains three pixels wide, new in every frame."""
    noise = np.random.default_rng(0).normal(size=(count, 160, 240))
    grains = gaussian_filter(noise, (0, 1.5, 1.5))
    frames = np.clip(130 + 35 * grains / grains.std(), 0, 255).astype(np.uint8)
    return frames, Sector(np.ones(frames.shape[1:], dtype=bool))


@pytest.mark.parametrize("size", [9, 14, 22])
def test_letters_of_the_tissues_own_grey_are_found_by_standing_still(size: int) -> None:
    frames, sector = restless()
    assert not find_text(frames, sector)
    assert find_text(burn_in(frames, (PlantedText("DOE JANE", 60, 70, size, 130),)), sector)


def test_a_patch_that_stands_still_as_a_whole_is_no_text() -> None:
    """Speckle at rest has letters' greys and edges in it, but is no stiller than what is around it."""
    frames, sector = restless()
    frames[:, 40:120, 60:180] = frames[0, 40:120, 60:180]
    frames[:, 40:120, 60:180] += np.random.default_rng(1).integers(0, 8, (24, 80, 120), dtype=np.uint8)
    inner = Sector(np.zeros_like(sector.mask))
    inner.mask[50:110, 70:170] = True
    assert not find_text(frames, inner)


def test_a_name_on_a_single_frame_is_found() -> None:
    recorded, _ = planted(LAYOUTS[0], "DOE JANE", 230)
    frames = recorded.loop.frames[:1]
    assert find_text(frames, find_sector(frames))
    clean = record(LAYOUTS[0]).loop.frames[:1]
    assert not find_text(clean, find_sector(clean))


def test_a_bright_reflector_that_stands_still_is_no_text() -> None:
    """A calcification: white, at rest, smooth at its edges."""
    recorded = record(LAYOUTS[0])
    y, x = np.mgrid[:480, :640]
    echo = np.clip(400 * np.exp(-(((y - 300) / 3.0) ** 2) / 2 - ((x - 330) / 25.0) ** 4), 0, 255)
    frames = np.maximum(recorded.loop.frames, echo[..., None].astype(np.uint8))
    assert (frames.min(0) == 255).sum() > 100
    assert not find_text(frames, find_sector(frames))


def box_outline(frames: NDArray[np.uint8], level: int = 210) -> NDArray[np.uint8]:
    """A colour Doppler box in the middle of frames (T, H, W): two beams and two arcs, one pixel wide, and
    flow in it that comes and goes and at times covers a stretch of a beam."""
    y, x = np.mgrid[: frames.shape[1], : frames.shape[2]]
    reach, angle = np.hypot(y + 60, x - 120), np.arctan2(x - 120, y + 60)
    inside = (np.abs(angle) < 0.35) & (reach > 100) & (reach < 190)
    core = (
        inside
        & np.roll(inside, 1, 0)
        & np.roll(inside, -1, 0)
        & np.roll(inside, 1, 1)
        & np.roll(inside, -1, 1)
    )
    drawn = np.repeat(frames[..., None], 3, axis=3)
    for number, frame in enumerate(drawn):
        flow = core & (np.hypot(y - 80, x - 150) < 6 + number % 20)
        frame[flow] = (150, 0, 0)
        frame[inside & ~core] = level
    return drawn


@pytest.mark.parametrize("level", [120, 160, 210])
def test_the_outline_of_a_colour_box_is_no_text_and_letters_in_it_or_across_it_are(level: int) -> None:
    frames, sector = restless()
    boxed = box_outline(frames, level)
    assert not find_text(boxed, sector)
    for words, x, y in (("LV", 110, 80), ("DOE JANE", 90, 30), ("SMITH", 140, 70)):
        found = find_text(burn_in(boxed, (PlantedText(words, x, y, 14, 235),)), sector)
        assert any(x - 5 < box.left < x + 90 and abs(box.top - y) < 12 for box in found), words


def test_an_ecg_over_the_picture_is_no_text_even_where_only_the_tip_of_a_wave_is_in_the_sector() -> None:
    frames, sector = restless()
    tip = Sector(sector.mask.copy())
    tip.mask[90:] = False
    columns = np.arange(240)
    rows = (140 - 65 * np.exp(-(((columns - 90) / 5.0) ** 2))).astype(int)
    for column, (before, row) in enumerate(itertools.pairwise(rows)):
        frames[:, min(before, row) : max(before, row) + 1, column] = 200
    assert not find_text(frames, tip)


def dark_fan(noisy: float, shade: Mask) -> tuple[NDArray[np.uint8], Mask]:
    """A fan with a black cavity; only `noisy` of its pixels sparkle, and none in the shade."""
    fan = Fan(x=100.0, y=12.0, left=-0.7, right=0.7, near=0.0, far=130.0).mask((160, 200))
    rng = np.random.default_rng(0)
    frames = rng.integers(0, 90, (16, 160, 200), dtype=np.uint8) * (rng.random((16, 160, 200)) < noisy)
    y, x = np.mgrid[:160, :200]
    dark = shade | (np.hypot((y - 75) / 1.6, x - 100) < 20)
    return (frames * (fan & ~dark)).astype(np.uint8), fan


def test_a_band_of_black_across_the_sector_does_not_cut_it_in_two() -> None:
    y, x = np.mgrid[:160, :200]
    band = (y > 52) & (y < 60) & (x < 125)
    frames, fan = dark_fan(0.8, band | ((y > 45) & (y < 75) & (x > 118)))
    assert overlap(find_sector(frames).mask, fan) > 0.95


def test_a_side_in_the_dark_is_where_the_other_side_says() -> None:
    """The outermost wall on the dark side is straight too, and must not be taken for the edge."""
    y, x = np.mgrid[:160, :200]
    shade = (x - 100 > 0.35 * (y - 12)) & ~((np.hypot(x - 100, y - 12) > 112) & (y > 100))
    frames, fan = dark_fan(0.8, shade)
    assert overlap(find_sector(frames).mask, fan) > 0.95


def test_what_is_neither_fan_nor_solid_is_refused_and_not_cropped() -> None:
    rng = np.random.default_rng(0)
    frames = np.zeros((16, 200, 260), dtype=np.uint8)
    frames[:, 20:180, 20:60] = rng.integers(0, 200, (16, 160, 40))
    frames[:, 140:180, 20:240] = rng.integers(0, 200, (16, 40, 220))
    with pytest.raises(Rejected) as caught:
        find_sector(frames)
    assert caught.value.reason is Reason.NO_SECTOR


def test_the_box_of_a_sector_is_tight() -> None:
    sector = find_sector(record(None).loop.frames)
    rows, columns = sector.box
    inside = sector.mask[rows, columns]
    assert inside.sum() == sector.mask.sum()
    assert inside[0].any() and inside[-1].any() and inside[:, 0].any() and inside[:, -1].any()
    assert replace(sector, mask=inside).box == (slice(0, inside.shape[0]), slice(0, inside.shape[1]))
