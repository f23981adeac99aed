"""Claims about the phantom's screens: the truth that comes with them is the truth."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from echojepa.phantom.cohort.loops import PhantomLoop, one_loop, simulate_loop
from echojepa.phantom.cohort.presets import PRESETS
from echojepa.phantom.cohort.sites import Planned, Protocol
from echojepa.phantom.cohort.study import draw_study
from echojepa.phantom.screen.layouts import LAYOUTS
from echojepa.phantom.screen.screens import PlantedText, ScreenLayout, ecg_wave
from echojepa.vocabulary import View


@cache
def record(layout: ScreenLayout | None, *planted: PlantedText, ordinal: int = 0) -> PhantomLoop:
    return one_loop(View.A4C, 0.2, layout, planted, ordinal=ordinal)


def test_there_are_six_different_screens() -> None:
    assert len({layout.name for layout in LAYOUTS}) >= 6
    assert len({(layout.width, layout.height) for layout in LAYOUTS}) >= 6
    assert {isinstance(layout.background, int) for layout in LAYOUTS} == {True, False}
    assert any(layout.face for layout in LAYOUTS)


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_what_is_neither_ultrasound_nor_overlay_is_background(layout: ScreenLayout) -> None:
    recorded = record(layout)
    frames = recorded.loop.frames
    assert frames.shape[1:3] == (layout.height, layout.width)
    for frame, overlay in zip(frames, recorded.overlay, strict=True):
        rest = frame[~recorded.sector & ~overlay]
        assert (rest == np.asarray(layout.background)).all()
        assert overlay.any() and (frame[overlay] != np.asarray(layout.background)).any()


@pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.name)
def test_the_ultrasound_is_the_same_whatever_stands_around_it(layout: ScreenLayout) -> None:
    """Without its overlays a screen of the same size shows the same pixels in the sector."""
    recorded = record(layout)
    bare = record(replace(layout, still=lambda paint: None, moving=lambda paint: None))
    assert not bare.overlay.any()
    np.testing.assert_array_equal(bare.sector, recorded.sector)
    same = (bare.loop.frames == recorded.loop.frames).reshape(*recorded.overlay.shape, -1).all(-1)
    assert same[recorded.sector & ~recorded.overlay].all()


def test_some_sectors_are_cut_off_by_the_screen_and_the_region_stays_on_it() -> None:
    cut = set()
    for layout in LAYOUTS:
        recorded = record(layout)
        region = recorded.loop.regions[0]
        assert 0 <= region.x0 <= region.x1 < layout.width and 0 <= region.y0 <= region.y1 < layout.height
        if recorded.sector[-1].any():
            cut.add("bottom")
        if recorded.sector[:, 0].any():
            cut.add("side")
        rows, columns = np.nonzero(recorded.sector)
        assert (rows.min() >= region.y0, rows.max() <= region.y1) == (True, True)
        assert (columns.min() >= region.x0, columns.max() <= region.x1) == (True, True)
    assert cut == {"bottom", "side"}


def test_a_curved_array_has_no_picture_above_its_face() -> None:
    layout = next(layout for layout in LAYOUTS if layout.face)
    recorded = record(layout)
    first = np.flatnonzero(recorded.sector[:, layout.apex[0]])[0]
    assert first - layout.apex[1] == pytest.approx(layout.face * layout.picture, abs=1)


def test_readouts_dots_clocks_and_traces_move_and_names_stand_still() -> None:
    for layout in LAYOUTS:
        recorded = record(layout)
        moving = recorded.loop.frames.max(0) != recorded.loop.frames.min(0)
        moving = moving if moving.ndim == 2 else moving.any(-1)
        outside = recorded.overlay.any(0) & ~recorded.sector
        assert (moving & outside).any() and (~moving & outside).sum() > 100


def test_the_ecg_has_its_r_waves_where_the_rhythm_has_them() -> None:
    waves = draw_study(PRESETS["demo"], 0).loops[0].patient.rhythm.r_waves[3:8]
    peaks = ecg_wave(waves, waves)
    between = ecg_wave((waves[1:] + waves[:-1]) / 2, waves)
    assert (peaks > 0.99).all() and (between < 0.3).all()


@pytest.mark.parametrize("layout", [LAYOUTS[0], LAYOUTS[1]], ids=("rgb", "grey"))
def test_a_scale_of_colours_stands_on_the_screen_when_doppler_is_on_and_not_else(
    layout: ScreenLayout,
) -> None:
    order = replace(PRESETS["demo"], seconds=0.1, protocol=Protocol((Planned(View.A4C, colour=True),)))
    coloured = simulate_loop(draw_study(order, 0), 0, layout)
    assert coloured.loop.frames.ndim == 4 and not coloured.sector[layout.colour_bar[1], layout.colour_bar[0]]
    x, y = layout.colour_bar
    bar = coloured.loop.frames[0, y : y + layout.height // 6, x : x + 10].astype(int)
    assert np.ptp(bar, axis=-1).max() > 150
    plain = record(layout).loop.frames
    assert plain.ndim == 3 or np.ptp(plain[0, y : y + layout.height // 6, x : x + 10], axis=-1).max() < 150


def test_the_name_on_the_screen_is_the_patients_own() -> None:
    one, other = (record(LAYOUTS[0], ordinal=ordinal) for ordinal in (11, 72))
    title = (slice(0, 1), slice(0, 40), slice(40, 300))
    assert (one.loop.frames[title] != other.loop.frames[title]).any()


def test_planted_text_changes_the_picture_where_it_is_planted_and_nowhere_else() -> None:
    plain = record(LAYOUTS[0])
    named = record(LAYOUTS[0], PlantedText("DOE", 300, 250, size=16, level=240))
    changed = (plain.loop.frames != named.loop.frames).any((0, 3))
    rows, columns = np.nonzero(changed)
    assert rows.min() >= 250 and rows.max() < 250 + 2 * 16
    assert rows.max() - rows.min() + 1 == pytest.approx(16, abs=2)
    assert columns.min() >= 300 and columns.max() < 300 + 4 * 16
    assert plain.sector[changed].all() and named.overlay[:, changed].any()
