"""Claims about when the heart does what."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from echojepa.phantom.heart.rhythm import LONGEST, Rhythm, timing_of

SINUS = Rhythm(70, 0.03, False, 0.65, 1)
FIBRILLATION = Rhythm(85, 0.2, True, 1.0, 1)


@pytest.mark.parametrize("rate", [45, 60, 75, 120, 190])
def test_the_phases_of_a_beat_come_in_their_order_at_every_rate(rate: float) -> None:
    timing = timing_of(60 / rate)
    moments = [0, timing.opening, timing.closing, timing.mitral, timing.early, timing.kick, timing.length]
    assert all(early <= late for early, late in itertools.pairwise(moments))
    assert timing.mitral < 0.7 * timing.length


@pytest.mark.parametrize("rhythm", [SINUS, FIBRILLATION], ids=["sinus", "fibrillation"])
def test_curves_have_no_jumps_and_stay_within_their_limits(rhythm: Rhythm) -> None:
    times = np.arange(1, 11, 0.002)
    states = [rhythm.at(time) for time in times]
    for name in ("contraction", "reservoir", "pressure"):
        values = np.array([getattr(state, name) for state in states])
        assert values.min() >= -1e-9 and values.max() <= 1 + 1e-9
        assert np.abs(np.diff(values)).max() < 0.08, name
    openings = np.array([rhythm.openings(time) for time in times])
    assert np.abs(np.diff(openings, axis=0)).max() < 0.35


def test_ventricles_are_largest_at_the_r_wave_and_smallest_when_the_aortic_valve_shuts() -> None:
    for start, end in zip(SINUS.r_waves[1:9], SINUS.r_waves[2:10], strict=True):
        assert SINUS.at(start).contraction == pytest.approx(0, abs=1e-9)
        assert SINUS.at(start + timing_of(end - start).closing).contraction == pytest.approx(1)


@pytest.mark.parametrize("rhythm", [SINUS, FIBRILLATION], ids=["sinus", "fibrillation"])
def test_inlet_and_outlet_valves_are_never_open_together(rhythm: Rhythm) -> None:
    openings = np.array([rhythm.openings(time) for time in np.arange(1, 9, 0.003)])
    assert openings.min(axis=1).max() == 0
    assert openings.max(axis=0) == pytest.approx([1, 1], abs=0.05)


@pytest.mark.parametrize(("rhythm", "share"), [(SINUS, 0.35), (FIBRILLATION, 0.0)])
def test_the_kick_is_there_in_sinus_rhythm_and_gone_in_fibrillation(rhythm: Rhythm, share: float) -> None:
    timing = timing_of(1.6)
    late = rhythm.unfilled(timing.kick, timing) - rhythm.unfilled(timing.length - 1e-6, timing)
    assert late == pytest.approx(share, abs=0.01)


def test_fibrillation_is_irregular_and_short_beats_fill_incompletely() -> None:
    spread = [
        np.diff(rhythm.r_waves).std() / np.diff(rhythm.r_waves).mean() for rhythm in (SINUS, FIBRILLATION)
    ]
    assert spread[0] < 0.06 < 0.12 < spread[1]
    left = [FIBRILLATION.at(time).contraction for time in FIBRILLATION.r_waves[1:40]]
    assert max(left) > 0.1 > min(left)


def test_a_rhythm_covers_its_recordings_and_comes_from_its_seed() -> None:
    assert SINUS.r_waves[0] <= 0 and SINUS.r_waves[-1] > LONGEST
    np.testing.assert_array_equal(SINUS.r_waves, Rhythm(70, 0.03, False, 0.65, 1).r_waves)
    assert SINUS.r_waves[3] != Rhythm(70, 0.03, False, 0.65, 2).r_waves[3]
    assert np.diff(SINUS.r_waves).mean() == pytest.approx(60 / 70, rel=0.03)
