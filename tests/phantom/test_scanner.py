"""Claims about settings: what physics allows, how sites differ, what nuisance changes."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from echojepa.errors import ConfigError
from echojepa.phantom.cohort.habits import (
    CHILDREN,
    OESOPHAGUS,
    PLAIN,
    SHARP,
    SMOOTH,
    Preset,
    draw_scanner,
    with_colour,
)
from echojepa.phantom.scanner.settings import Nuisance, Scanner, at_level

PRESETS = {"sharp": SHARP, "smooth": SMOOTH, "plain": PLAIN, "children": CHILDREN, "oesophagus": OESOPHAGUS}
ADULT = (SHARP, SMOOTH, PLAIN)


def drawn(preset: Preset, count: int = 200) -> list[Scanner]:
    return [draw_scanner(np.random.default_rng(seed), preset) for seed in range(count)]


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_no_scanner_is_faster_than_sound(preset: Preset) -> None:
    """A frame needs lines / parallel pulses, and each the time to its deepest echo and back."""
    for seed, scanner in enumerate(drawn(preset)):
        seconds = scanner.lines / scanner.parallel * 2 * scanner.depth / 1000 / 1540
        assert 10 < scanner.frame_rate <= 1 / seconds
        coloured = with_colour(scanner, np.random.default_rng(seed))
        assert coloured.colour is not None
        assert coloured.frame_rate < min(scanner.frame_rate + 1e-9, coloured.fastest)
        assert coloured.colour.repetition <= 1000 * 1540 / (2 * coloured.colour.far)


def test_an_impossible_frame_rate_is_refused_and_lines_and_depth_cost_frames() -> None:
    with pytest.raises(ConfigError, match=r"at most 61\.1 frames"):
        Scanner(depth=210, half_angle=0.7, frame_rate=62, lines=120, parallel=2)
    wide = Scanner(depth=160, half_angle=0.7, frame_rate=20)
    assert replace(wide, lines=200).fastest < wide.fastest < replace(wide, depth=100).fastest


@pytest.mark.parametrize("wrong", [{"persistence": 1.0}, {"speckle": 2.0}, {"decorrelation": 0.0}])
def test_impossible_settings_are_refused(wrong: dict) -> None:
    with pytest.raises(ConfigError, match="must be in"):
        Scanner(depth=160, half_angle=0.7, frame_rate=20, **wrong)


def test_sites_differ_and_every_recording_of_a_site_does() -> None:
    for one, two in ((SHARP, SMOOTH), (SMOOTH, PLAIN), (SHARP, PLAIN)):
        first, second = drawn(one), drawn(two)
        gaps = []
        for name in ("lines", "frequency", "dynamic_range", "speckle", "persistence", "frame_rate", "haze"):
            a, b = (np.array([getattr(scanner, name) for scanner in group]) for group in (first, second))
            gaps.append(abs(a.mean() - b.mean()) / np.hypot(a.std(), b.std()))
        assert max(gaps) > 1.5
    assert len({scanner.gain for scanner in drawn(SHARP)}) == 200


def test_children_are_scanned_shallower_faster_and_at_higher_frequencies() -> None:
    children = drawn(CHILDREN)
    for preset in ADULT:
        adults = drawn(preset)
        for name, sign in (("depth", -1), ("frame_rate", 1), ("frequency", 1)):
            a, b = (np.median([getattr(s, name) for s in group]) for group in (children, adults))
            assert sign * (a - b) > 0


def test_a_given_depth_moves_nothing_else_that_is_drawn() -> None:
    one = draw_scanner(np.random.default_rng(3), SHARP)
    other = draw_scanner(np.random.default_rng(3), SHARP, depth=130.0)
    moved = {f.name for f in fields(Scanner) if getattr(one, f.name) != getattr(other, f.name)}
    assert moved <= {"depth", "focus", "frame_rate"} and other.depth == 130.0


def test_every_preset_draws_equally_often() -> None:
    """So what is drawn next from the same generator does not depend on the site."""
    after = []
    for preset in PRESETS.values():
        rng = np.random.default_rng(0)
        draw_scanner(rng, preset)
        after.append(rng.random())
    assert len(set(after)) == 1


@pytest.mark.parametrize("preset", PRESETS.values(), ids=PRESETS)
def test_nuisance_moves_its_own_knobs_and_each_with_the_dose(preset: Preset) -> None:
    for scanner in drawn(preset, 50):
        low, standard, high = (at_level(scanner, level) for level in Nuisance)
        assert standard == scanner
        knobs = {"speckle", "decorrelation", "haze", "side_lobes", "gain_drift"}
        for other in (low, high):
            moved = {f.name for f in fields(Scanner) if getattr(other, f.name) != getattr(scanner, f.name)}
            assert moved == knobs
        for name in knobs:
            values = [getattr(level, name) for level in (low, standard, high)]
            assert values == sorted(values, reverse=name == "decorrelation")
