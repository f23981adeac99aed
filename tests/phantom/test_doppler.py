"""Claims about colour Doppler, on streams of blood that are known."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from echojepa.errors import ConfigError
from echojepa.phantom.scanner.beam import Beam
from echojepa.phantom.scanner.display import ScanConverter
from echojepa.phantom.scanner.doppler import ColourFlow, colour_table
from echojepa.phantom.scanner.recording import Acquisition, Draws, record
from echojepa.phantom.scanner.settings import Colour, Scanner

BOX = Colour(near=30, far=80, left=-0.3, right=0.4, frequency=2e6, repetition=4000, persistence=0.0)
SCANNER = Scanner(
    depth=100, half_angle=0.7, frame_rate=20, colour=BOX, haze=-60.0, ring_down=-60.0, dropout=0.0
)  # fmt: skip


def flow(scenes, away: float, spread: float = 0.0, **changes: object) -> ColourFlow:
    scanner = replace(SCANNER, colour=replace(BOX, **changes))
    screen = ScanConverter(scanner, Beam(scanner, 1.0))
    return ColourFlow(scenes.Stream(away, spread), scenes.pose, scanner, screen, 0)


def filmed(scenes, away: float, spread: float = 0.0) -> tuple[Acquisition, np.ndarray]:
    """A recording of a stream, and which pixels of its first frame have a colour within the box."""
    shown = record(scenes.Stream(away, spread), scenes.pose, SCANNER, 1, 0.0, Draws.of(0), 1.0)
    frame = shown.pictures[0].astype(int)
    return shown, np.ptp(frame, axis=2) > 10


def test_velocity_along_the_beam_is_measured_and_towards_the_probe_is_positive(scenes) -> None:
    """v cos(angle), with the sign turned."""
    for away in (-0.4, 0.5):
        seen = flow(scenes, away)
        first, _ = seen.estimate(0.0)
        measured = np.angle(first).reshape(len(seen.ranges), -1).mean(axis=0) / math.pi * BOX.nyquist
        np.testing.assert_allclose(measured, -away * np.cos(seen.angles), atol=0.02)


@pytest.mark.parametrize("speed", [1.3, -1.3, 2.2])
def test_speeds_beyond_nyquist_wrap_around(scenes, speed: float) -> None:
    seen = flow(scenes, -speed * BOX.nyquist, left=-0.02, right=0.02)
    first, _ = seen.estimate(0.0)
    measured = np.angle(first.mean()) / math.pi
    assert measured == pytest.approx((speed + 1) % 2 - 1, abs=0.02)


def test_nyquist_follows_the_pulses_and_the_frequency() -> None:
    """c PRF / (4 f): 1540 x 4000 / (4 x 2 MHz) = 0.77 m/s."""
    assert BOX.nyquist == pytest.approx(0.77)
    with pytest.raises(ConfigError, match="pulses a second"):
        replace(BOX, repetition=12_000)


def test_towards_is_red_and_away_is_blue_inside_the_box_only(scenes) -> None:
    for away, bright, dark in ((-0.4, 0, 2), (0.4, 2, 0)):
        shown, coloured = filmed(scenes, away)
        frame = shown.pictures[0].astype(int)
        assert coloured.sum() > 500
        assert (frame[coloured][:, bright] > frame[coloured][:, dark]).mean() > 0.99
        rows, columns = np.nonzero(coloured)
        x, y = (columns - SCANNER.width // 2) * SCANNER.mm_per_pixel, (rows + 0.5) * SCANNER.mm_per_pixel
        reach, angle = np.hypot(x, y), np.arctan2(x, y)
        assert reach.min() > BOX.near and reach.max() < BOX.far
        assert angle.min() > BOX.left and angle.max() < BOX.right


def test_the_wall_filter_removes_slow_blood_and_blood_aliased_to_slow(scenes) -> None:
    assert filmed(scenes, 0.02)[1].sum() == 0
    assert filmed(scenes, 0.4)[1].sum() > 500
    _, total = flow(scenes, 2 * BOX.nyquist, left=-0.01, right=0.01).estimate(0.0)
    assert total.max() < 0.1


def test_a_turbulent_jet_is_a_green_mosaic_and_laminar_flow_is_not(scenes) -> None:
    greens, mixed = [], []
    for spread in (0.0, 0.45):
        shown, coloured = filmed(scenes, -0.5, spread)
        pixels = shown.pictures[0][coloured].astype(int)
        greens.append(pixels[:, 1].mean())
        mixed.append(pixels[:, 0].std())
    assert greens[1] > greens[0] + 40
    assert mixed[1] > 3 * mixed[0]


def test_bright_tissue_wins_over_colour_and_nothing_flows_without_blood(scenes) -> None:
    loud = replace(SCANNER, gain=60.0)
    stream = scenes.Stream(-0.4)
    for scene, scanner in ((stream, loud), (scenes.Disc(100.0), SCANNER)):
        frame = record(scene, scenes.pose, scanner, 1, 0.0, Draws.of(0), 1.0).pictures[0].astype(int)
        assert (np.ptp(frame, axis=2) > 0).sum() == 0


def test_the_colour_table_turns_from_cyan_through_blue_and_red_to_yellow() -> None:
    table = colour_table(variance=True).astype(int)
    assert table[0, 0].tolist()[0] == 0 and table[0, 0, 2] == 255 and table[0, 0, 1] > 180
    assert table[-1, 0, 0] == 255 and table[-1, 0, 1] > 180 and table[-1, 0, 2] == 0
    assert table[100, 63, 1] > table[100, 0, 1] + 150
    assert (colour_table(variance=False)[:, 63] == table[:, 0]).all()


def test_colour_costs_frames() -> None:
    assert SCANNER.fastest < replace(SCANNER, colour=None).fastest
    slower = replace(SCANNER, colour=replace(BOX, ensemble=14), frame_rate=10)
    assert slower.fastest < SCANNER.fastest
