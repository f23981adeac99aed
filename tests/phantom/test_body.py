"""Claims about what a plane sees of a chest."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from echojepa.phantom.heart.anatomy import Anatomy
from echojepa.phantom.heart.body import Slab, empty_scene, heart_scene
from echojepa.phantom.heart.patients import draw_patient, with_ejection
from echojepa.phantom.heart.rhythm import timing_of
from echojepa.phantom.heart.views import standard_pose
from echojepa.vocabulary import View

PATIENT = replace(draw_patient(np.random.default_rng(1)), breath_depth=0.0, sway=0.0)
SLAB = Slab(160, 0.7, 4.0)


def scene(view: View = View.A4C, density: float = 0.05, seed: int = 0, patient=PATIENT):
    pose = standard_pose(view, Anatomy(patient))
    return pose, heart_scene(patient, pose, SLAB, density, np.random.default_rng(seed))


def test_scatterers_keep_their_identity_and_move_smoothly() -> None:
    _, heart = scene()
    before = heart.tissue(1.0)
    for time in np.arange(1.01, 2.2, 0.01):
        after = heart.tissue(time)
        moved = np.linalg.norm(after.positions - before.positions, axis=1)
        assert moved.max() < 7 and np.median(moved) < 1.0
        np.testing.assert_array_equal(after.amplitude, before.amplitude)
        before = after


@pytest.mark.parametrize("view", [View.A4C, View.PSAX_MV])
def test_the_slice_is_as_densely_filled_in_systole_as_in_diastole(view: View) -> None:
    pose, heart = scene(view)
    start, end = PATIENT.rhythm.r_waves[2:4]
    counts = []
    for time in (start, start + timing_of(end - start).closing):
        positions = heart.tissue(float(time)).positions
        counts.append(SLAB.holds(pose, positions).sum())
    assert counts[1] == pytest.approx(counts[0], rel=0.2)


def test_density_and_seed_do_what_they_say() -> None:
    (_, thin), (_, thick), (_, other) = scene(), scene(density=0.1), scene(seed=1)
    assert len(thick.amplitude) == pytest.approx(2 * len(thin.amplitude), rel=0.1)
    again = scene()[1].tissue(0.7).positions
    np.testing.assert_array_equal(thin.tissue(0.7).positions, again)
    assert again.dtype == np.float32 and len(other.amplitude) != len(again)


def test_another_ejection_fraction_leaves_the_same_scatterers_in_place_at_end_diastole() -> None:
    start = float(PATIENT.rhythm.r_waves[2])
    (_, one), (_, other) = scene(), scene(patient=with_ejection(PATIENT, 0.3))
    first, second = (
        {tuple(row) for row in np.round(each.tissue(start).positions, 2)} for each in (one, other)
    )
    assert len(first & second) > 0.9 * min(len(first), len(second))


def test_muscle_beside_the_beam_is_fainter_than_muscle_across_it() -> None:
    """In A4C the lateral wall runs along the beam; in short axes the beam meets the front wall squarely."""
    means = {}
    for view in (View.A4C, View.PSAX_PM):
        _, heart = scene(view, density=0.2)
        size = heart.motion.anatomy.ventricles
        rest = heart.motion.rest(heart.tissue(0.0).positions, heart.motion.state(PATIENT.rhythm.at(0.0)))
        depth = np.hypot(rest[:, 0], rest[:, 1]) - size.radius
        angle = np.degrees(np.arctan2(rest[:, 1], rest[:, 0])) % 360
        wall = (depth > 1.5) & (depth < PATIENT.wall - 1.5) & (np.abs(rest[:, 2] / size.length - 0.5) < 0.2)
        where = (angle < 25) | (angle > 335) if view == View.A4C else np.abs(angle - 120) < 30
        means[view] = np.sqrt((heart.amplitude[wall & where] ** 2).mean())
    assert means[View.A4C] < 0.8 * means[View.PSAX_PM]


def test_breathing_moves_everything_together_and_slowly() -> None:
    breathing = replace(PATIENT, breath_depth=4.0, breathing=0.25)
    (_, still), (_, moving) = scene(), scene(patient=breathing)
    shifts = np.array([moving.drift.at(time) - still.drift.at(time) for time in np.arange(0, 8, 0.1)])
    assert 3 < np.linalg.norm(shifts, axis=1).max() < 5
    assert np.linalg.norm(np.diff(shifts, axis=0), axis=1).max() < 1.0


def test_a_phantom_without_a_heart_has_tissue_and_no_blood() -> None:
    pose, _ = scene()
    empty = empty_scene(pose, SLAB, 0.05, np.random.default_rng(0))
    start, later = empty.tissue(0.0), empty.tissue(0.8)
    assert SLAB.holds(pose, start.positions).sum() > 2000 and (start.amplitude > 0).all()
    assert len(later.positions) == len(start.positions)
    assert not empty.flow(start.positions, 0.5).inside.any()
