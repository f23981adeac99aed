"""Claims about echoes: speckle, beams, decorrelation, artefacts, and which seed moves what."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats

from echojepa.phantom.scanner.artefacts import Artefacts, decibel
from echojepa.phantom.scanner.beam import HALF_WIDTH, Beam
from echojepa.phantom.scanner.recording import Draws, Imager, record
from echojepa.phantom.scanner.settings import Nuisance, Scanner, at_level

OFF = -400.0
CLEAN = Scanner(
    depth=120, half_angle=0.7, frame_rate=30, height=128, noise=OFF, blood=OFF, haze=OFF, ring_down=OFF,
    reverberation=OFF, dropout=0.0, gain_drift=0.0, side_lobes=OFF, persistence=0.0,
)  # fmt: skip
"""Nothing but tissue and the beam."""


@pytest.fixture(scope="module")
def field(scenes):
    """The echo of uniform tissue, of one strength, without any random phase but its place's."""
    scene = scenes.Uniform(120, 500_000)
    beam = Beam(CLEAN, scene.density)
    ranges, angles, elevation = scenes.pose.project(scene.positions)
    strength = np.exp(-0.5 * (elevation / beam.elevation(np.maximum(ranges, 1))) ** 2)
    grid = beam.echoes(ranges, angles, strength.astype(np.complex64))
    return beam, beam.tissue(grid)


def test_uniform_tissue_has_rayleigh_speckle_of_unit_power_at_every_depth(field) -> None:
    """A Rayleigh envelope has mean / standard deviation sqrt(pi / (4 - pi)) = 1.913, and passes a KS test."""
    beam, echo = field
    rows = (beam.ranges > 40) & (beam.ranges < 115)
    envelope = np.abs(echo[rows])
    assert envelope.mean() / envelope.std() == pytest.approx(1.913, abs=0.06)
    power = (envelope**2).mean(axis=1)
    for part in np.array_split(power, 4):
        assert part.mean() == pytest.approx(1, abs=0.08)
    apart = envelope[::6, ::6].ravel()
    assert stats.kstest(apart, stats.rayleigh(scale=math.sqrt(0.5)).cdf).pvalue > 0.01


def test_echoes_half_a_wave_apart_on_their_two_way_path_cancel() -> None:
    beam = Beam(CLEAN, 1.0)
    both = np.zeros(2), np.ones(2, dtype=np.complex64)
    cancelled = beam.echoes(np.array([60.0, 60.0 + beam.scanner.wavelength / 4]), *both)
    added = beam.echoes(np.array([60.0, 60.0 + beam.scanner.wavelength / 2]), *both)
    assert np.abs(beam.tissue(cancelled)).max() < 0.4 * np.abs(beam.tissue(added)).max()


def point(beam: Beam, depth: float, angle: float = 0.0) -> np.ndarray:
    """Envelope (rows, lines) of one reflector."""
    echo = beam.echoes(np.array([depth]), np.array([angle]), np.ones(1, dtype=np.complex64))
    return np.abs(beam.tissue(echo))


@pytest.mark.parametrize("depth", [40.0, 80.0, 115.0])
def test_a_point_is_as_wide_as_diffraction_says_and_as_long_as_the_pulse(depth: float) -> None:
    scanner = replace(CLEAN, height=400, lines=400, frame_rate=10)
    beam = Beam(scanner, 1.0)
    seen = point(beam, depth, 0.0)
    across, along = seen[seen.max(1).argmax()], seen[:, seen.max(0).argmax()]
    width = math.sqrt(np.sum(across * beam.angles**2) / across.sum())
    middle = np.sum(along * beam.ranges) / along.sum()
    length = math.sqrt(np.sum(along * (beam.ranges - middle) ** 2) / along.sum())
    assert width == pytest.approx(float(beam.lateral(np.array([depth]))[0]), rel=0.05)
    assert length * HALF_WIDTH == pytest.approx(scanner.cycles * scanner.wavelength / 2, rel=0.1)


def test_the_beam_is_sharpest_in_angle_at_its_focus_and_widens_in_mm_below_it() -> None:
    beam = Beam(replace(CLEAN, focus=60.0), 1.0)
    depths = np.array([20.0, 40, 60, 80, 100, 120])
    angle = beam.lateral(depths)
    assert angle.argmin() == 2
    assert (np.diff(angle * depths)[2:] > 0).all()
    higher = Beam(replace(CLEAN, focus=60.0, frequency=5e6), 1.0)
    assert (higher.lateral(depths) < angle).all()


def test_side_lobes_stand_where_and_as_high_as_set() -> None:
    seen = point(Beam(replace(CLEAN, side_lobes=-30.0, lines=121), 1.0), 80.0)
    across = seen[seen.max(1).argmax()]
    angles = np.linspace(-0.7, 0.7, 121)
    lobe = across[np.abs(angles - 0.2).argmin()] / across.max()
    assert 20 * math.log10(lobe) == pytest.approx(-30 - 10 * math.log10(math.e), abs=1.0)


@pytest.mark.parametrize("rate", [20.0, 80.0])
def test_still_tissue_decorrelates_at_the_knob_s_rate_whatever_the_frame_rate(scenes, rate: float) -> None:
    """Correlation after t seconds is exp(-t / decorrelation)."""
    scanner = replace(CLEAN, depth=60.0, focus=40.0, frame_rate=rate, decorrelation=0.2)
    scene = scenes.Uniform(60, 20_000)
    imager = Imager(scene, scenes.pose, scanner, Draws.of(3), scene.density)
    fields = np.stack([imager.field(n / rate) for n in range(round(3 * rate))])
    for lag in (0.05, 0.1, 0.2):
        step = round(lag * rate)
        overlap = np.mean(fields[step:] * fields[:-step].conj()).real / np.mean(np.abs(fields) ** 2)
        assert overlap == pytest.approx(math.exp(-lag / 0.2), abs=0.05)


def test_noise_grows_with_depth_as_the_compensation_does(scenes) -> None:
    """0.5 dB a cm and MHz, both ways: at 2.5 MHz 10 dB over the last 40 mm; no lower than 16 dB."""
    scanner = replace(CLEAN, depth=150, noise=-30.0)
    imager = Imager(scenes.Uniform(150, 10, 0.0), scenes.pose, scanner, Draws.of(0), 1.0)
    power = np.mean([np.mean(np.abs(imager.field(n / 30)) ** 2, axis=1) for n in range(12)], axis=0)
    level = 10 * np.log10(power)
    at = [level[np.abs(imager.beam.ranges - depth) < 4].mean() for depth in (145, 105, 40)]
    assert at[0] == pytest.approx(-31.25, abs=0.5)
    assert at[0] - at[1] == pytest.approx(10, abs=0.7)
    assert at[2] == pytest.approx(-46, abs=0.5)


def test_a_rib_s_shadow_begins_below_it_and_runs_to_the_bottom() -> None:
    beam = Beam(replace(CLEAN, ribs=1), 1.0)
    without = Artefacts(Beam(CLEAN, 1.0), 5).passing(0.0)
    share = Artefacts(beam, 5).passing(0.0) / without
    dark = share[-1] < 0.3
    assert 0.03 < dark.mean() < 0.5
    assert share[0].min() > 0.95
    assert (share[beam.ranges > 40][:, dark] < 0.32).all()


def test_a_shadow_takes_tissue_away_and_leaves_noise(scenes) -> None:
    """Power falls by the square of the amplitude that passes; electronic noise is made behind the probe."""
    for amplitude, noise in ((1.0, OFF), (0.0, -20.0)):
        scene = scenes.Uniform(120, 40_000, amplitude)
        scanner = replace(CLEAN, ribs=2, noise=noise)
        imager = Imager(scene, scenes.pose, scanner, Draws.of(5), scene.density)
        passing = imager.artefacts.passing(0.0)[imager.beam.ranges > 60]
        power = np.abs(imager.field(0.0)[imager.beam.ranges > 60]) ** 2
        dark, clear = passing < 0.15, passing > 0.3
        expected = (passing[dark] ** 2).mean() / (passing[clear] ** 2).mean() if amplitude else 1.0
        assert power[dark].mean() / power[clear].mean() == pytest.approx(expected, rel=0.35)


def test_lung_moves_with_breathing_and_ribs_do_not() -> None:
    lung = Artefacts(Beam(replace(CLEAN, lung=0.3), 1.0), 5)
    ribs = Artefacts(Beam(replace(CLEAN, ribs=2), 1.0), 5)
    times = np.linspace(0, 5, 20)
    covered = [float((lung.passing(time)[-1] < 0.2).mean()) for time in times]
    assert np.ptp(covered) > 0.05
    assert all(np.array_equal(ribs.passing(0.0), ribs.passing(time)) for time in times)


def test_reverberation_copies_a_reflector_deeper_and_fainter() -> None:
    beam = Beam(replace(CLEAN, reverberation=-20.0), 1.0)
    artefacts = Artefacts(beam, 2)
    strip = np.zeros(beam.shape, dtype=np.complex64)
    row = len(beam.ranges) // 4
    strip[row] = 1.0
    power = np.mean(np.abs(artefacts.reverberate(strip)) ** 2, axis=1)
    copies = np.flatnonzero(power > 1e-5)
    assert copies.tolist() == [row, row + artefacts.delay, row + 2 * artefacts.delay]
    assert 10 * math.log10(power[copies[1]]) == pytest.approx(-20, abs=0.1)


def test_haze_lies_near_the_probe_and_hardly_moves_while_speckle_does(scenes) -> None:
    imager = Imager(scenes.Uniform(120, 10, 0.0), scenes.pose, replace(CLEAN, haze=-10.0), Draws.of(1), 1.0)
    first, second = imager.field(0.0), imager.field(1 / 30)
    overlap = np.abs(np.vdot(first, second)) / np.linalg.norm(first) / np.linalg.norm(second)
    assert overlap > 0.99
    power = np.mean(np.abs(first) ** 2, axis=1)
    near, far = (power[np.abs(imager.beam.ranges - depth) < 5].mean() for depth in (20, 100))
    expected = 20 * 80 / imager.scanner.haze_depth * math.log10(math.e)
    assert 10 * math.log10(near / far) == pytest.approx(expected, abs=3)
    assert near < decibel(-10) ** 2 * 10


def test_the_same_draws_give_the_same_bytes_and_another_speckle_another_picture(scenes) -> None:
    scene, scanner = scenes.Disc(), Scanner(depth=120, half_angle=0.7, frame_rate=30, ribs=1, lung=0.2)
    one, same, other = (
        record(scene, scenes.pose, scanner, 3, 0.0, draws, scene.density).pictures
        for draws in (Draws.of(4), Draws.of(4), replace(Draws.of(4), speckle=9))
    )
    assert one.tobytes() == same.tobytes()
    assert 1 < np.abs(one.astype(float) - other).mean() < 40


@pytest.mark.parametrize(
    ("seed", "silence"),
    [
        ("noise", {"noise": OFF}),
        ("gain", {"gain_drift": 0.0}),
        ("artefacts", {"haze": OFF, "ring_down": OFF, "reverberation": OFF, "dropout": 0.0}),
    ],
)
def test_a_seed_moves_its_own_feature_and_nothing_else(scenes, seed: str, silence: dict) -> None:
    """With the feature silenced, its seed changes not one bit; with the feature on, it does."""
    scene, loud = scenes.Disc(), Scanner(depth=120, half_angle=0.7, frame_rate=30)
    base, moved = Draws.of(4), replace(Draws.of(4), **{seed: 77})
    for scanner, same in ((replace(loud, **silence), True), (loud, False)):
        pair = [
            record(scene, scenes.pose, scanner, 2, 0.0, draws, scene.density).pictures
            for draws in (base, moved)
        ]
        assert np.array_equal(*pair) == same


def test_nuisance_is_a_dose_of_flicker_and_clutter_on_one_anatomy(scenes) -> None:
    """Tissue flickers more from level to level, and less of the dark disc stays dark."""
    scene, scanner = scenes.Disc(), Scanner(depth=120, half_angle=0.7, frame_rate=30)
    rows, columns = np.mgrid[0 : scanner.height, 0 : scanner.width]
    x, y = (columns - scanner.width // 2) * scanner.mm_per_pixel, (rows + 0.5) * scanner.mm_per_pixel
    hole = np.hypot(x, y - scene.centre[2]) < scene.hole - 10
    flicker, clutter = [], []
    for level in Nuisance:
        shown = record(scene, scenes.pose, at_level(scanner, level), 6, 0.0, Draws.of(2), scene.density)
        tissue = shown.pictures[:, 95:110, 70:110].astype(float)
        pairs = pairwise(tissue)
        flicker.append(1 - np.mean([np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in pairs]))
        clutter.append(shown.pictures[:, hole].mean())
    assert flicker == sorted(flicker) and flicker[2] > 2 * flicker[0]
    assert clutter == sorted(clutter) and clutter[2] > 1.1 * clutter[0]


def test_a_dark_disc_in_a_bright_ring_is_seen_where_it_is(scenes) -> None:
    scene, scanner = scenes.Disc(), Scanner(depth=120, half_angle=0.7, frame_rate=30, dropout=0.0)
    shown = record(scene, scenes.pose, scanner, 16, 0.0, Draws.of(0), scene.density)
    rows, columns = np.mgrid[0 : scanner.height, 0 : scanner.width]
    x, y = (columns - scanner.width // 2) * scanner.mm_per_pixel, (rows + 0.5) * scanner.mm_per_pixel
    away = np.hypot(x, y - scene.centre[2])
    hole, ring = away < scene.hole - 4, (away > scene.hole + 2) & (away < scene.hole + 10)
    assert shown.pictures[0][hole].mean() < 0.4 * shown.pictures[0][ring].mean()
    assert shown.pictures[15][away < scene.hole].mean() > shown.pictures[0][away < scene.hole].mean()
    assert (shown.pictures[:, ~shown.sector] == 0).all()
