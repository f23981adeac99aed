"""Claims about the way from echo to grey."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from echojepa.phantom.scanner.beam import Beam
from echojepa.phantom.scanner.display import Display, ScanConverter, grey_table
from echojepa.phantom.scanner.recording import Draws, record
from echojepa.phantom.scanner.settings import GreyMap, Scanner

SCANNER = Scanner(depth=120, half_angle=0.7, frame_rate=30, gain_drift=0.0, persistence=0.0, speckle=1.0)


def display(**changes: object) -> Display:
    return Display(Beam(replace(SCANNER, **changes), 1.0), 0)


def flat(screen: Display, level: float) -> np.ndarray:
    """An echo of one strength, in decibels, on the display's grid."""
    shape = len(screen.gain), screen.scanner.lines
    return np.full(shape, 10 ** (level / 20), dtype=np.complex64)


def test_pixels_lie_between_the_samples_around_them() -> None:
    """Range and angle themselves, put on the grid, come back at every pixel away from the sector's edge."""
    beam = Beam(SCANNER, 1.0)
    screen = ScanConverter(SCANNER, beam)
    ranges = screen.matrix @ np.repeat(beam.ranges, len(beam.angles))
    angles = screen.matrix @ np.tile(beam.angles, len(beam.ranges))
    inner = (np.abs(screen.angle) < 0.68) & (screen.reach > 8) & (screen.reach < 118)
    np.testing.assert_allclose(ranges[inner], screen.reach[inner], atol=0.03)
    np.testing.assert_allclose(angles[inner], screen.angle[inner], atol=0.004)
    np.testing.assert_allclose(screen.matrix.sum(axis=1), 1, atol=1e-5)


def test_a_curved_face_cuts_the_sector_s_tip_off() -> None:
    rows = np.flatnonzero(ScanConverter(replace(SCANNER, face=30.0), Beam(SCANNER, 1.0)).sector.any(axis=1))
    assert rows[0] == pytest.approx(30 * np.cos(0.7), abs=1)


@pytest.mark.parametrize("grey_map", GreyMap)
def test_grey_maps_rise_from_black_to_white_each_in_its_own_way(grey_map: GreyMap) -> None:
    table = grey_table(grey_map).astype(int)
    assert table[0] == 0 and table[-1] == 255 and (np.diff(table) >= 0).all()
    others = [grey_table(other) for other in GreyMap if other != grey_map]
    assert all(np.abs(table - other).max() > 10 for other in others)


def test_decibels_over_the_dynamic_range_are_shares_of_grey() -> None:
    for span in (40.0, 60.0):
        screen = display(dynamic_range=span)
        quiet, loud = (screen.compress(flat(screen, level), 0.0).mean() for level in (-12.0, -2.0))
        assert loud - quiet == pytest.approx(10 / span, rel=1e-3)
        assert screen.compress(flat(screen, -80), 0.0).max() == 0


def test_gain_slope_and_sliders_add_decibels_where_they_should() -> None:
    plain = display()
    base = plain.compress(flat(plain, -20), 0.0)[:, 0] * 55
    gain, slope = display(gain=5.0), display(slope=10.0)
    slider = display(sliders=(0.0, 0.0, 0.0, 6.0, 0.0, 0.0, 0.0, 0.0))
    np.testing.assert_allclose(gain.compress(flat(gain, -20), 0.0)[:, 0] * 55 - base, 5, atol=0.01)
    assert (slope.compress(flat(slope, -20), 0.0)[:, 0] * 55 - base)[-1] == pytest.approx(-10, abs=0.1)
    lifted = slider.compress(flat(slider, -20), 0.0)[:, 0] * 55 - base
    assert lifted.max() == pytest.approx(6, abs=0.2)
    assert lifted.argmax() / len(lifted) == pytest.approx(3.5 / 8, abs=0.02)


def test_the_gain_drifts_slowly_and_no_further_than_set() -> None:
    screen = display(gain_drift=3.0)
    times = np.arange(0, 6, 1 / 30)
    level = np.array([screen.compress(flat(screen, -20), time).mean() for time in times]) * 55
    assert 2.5 < np.ptp(level) / 2 <= 3.01
    assert np.abs(np.diff(level)).max() < 0.5


def test_persistence_forgets_by_its_share_each_frame() -> None:
    screen = display(persistence=0.5)
    middle = (100, screen.converter.sector.shape[1] // 2)
    screen.show(flat(screen, 0), 0.0)
    fading = [int(screen.show(flat(screen, -100), 0.0)[middle]) for _ in range(3)]
    assert fading[0] > 50
    assert fading[1] == pytest.approx(fading[0] / 2, abs=2) and fading[2] == pytest.approx(
        fading[0] / 4, abs=2
    )


def test_a_persistent_loop_does_not_begin_with_a_noisier_frame(scenes) -> None:
    """Frames are made before the first, so nothing tells the beginning of a loop from its middle."""
    scene = scenes.Uniform(120, 10, 0.0)
    scanner = replace(SCANNER, persistence=0.6, noise=-30.0, gain=10.0)
    shown = record(scene, scenes.pose, scanner, 8, 0.0, Draws.of(0), 1.0).pictures[:, 60:100, 60:100]
    spread = shown.std(axis=(1, 2))
    assert spread[0] == pytest.approx(spread[3:].mean(), rel=0.1)


def test_smoothing_takes_speckle_and_leaves_the_mean() -> None:
    value = np.random.default_rng(0).uniform(0.2, 0.8, (200, 120)).astype(np.float32)
    untouched, half, none = (display(speckle=share).smooth(value) for share in (1.0, 0.5, 0.0))
    np.testing.assert_array_equal(untouched, value)
    assert none.std() < half.std() < value.std()
    np.testing.assert_allclose(half, 0.5 * (value + none), atol=1e-5)
    assert none.mean() == pytest.approx(float(value.mean()), abs=0.005)
