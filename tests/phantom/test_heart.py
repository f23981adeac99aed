"""Claims about the moving heart and about what is said to be true of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from discs import biplane_volume

from echojepa.phantom.heart.anatomy import APEXWARD, Anatomy, direction
from echojepa.phantom.heart.motion import Layers
from echojepa.phantom.heart.organs import Organ, find_organs
from echojepa.phantom.heart.patients import Population, draw_patient
from echojepa.phantom.heart.rhythm import timing_of
from echojepa.phantom.heart.truth import Truth, in_plane
from echojepa.phantom.heart.valves import draw_leaflets
from echojepa.phantom.heart.views import APICAL, facing
from echojepa.phantom.planes import Pose
from echojepa.vocabulary import View

PATIENTS = [
    draw_patient(np.random.default_rng(seed), Population.CHILD if seed % 3 == 0 else Population.ADULT)
    for seed in range(24)
]
REGIONAL = replace(PATIENTS[1], regional=0.8, ejection=0.45, regional_level=0.6)


def beat(patient) -> tuple[float, float]:
    """An R wave and the end of the systole that follows, s."""
    start, end = patient.rhythm.r_waves[2:4]
    return float(start), float(start) + timing_of(float(end - start)).closing


def true_apical_poses(anatomy: Anatomy) -> tuple[Pose, Pose]:
    """A4C and A2C planes through the long axis itself, neither tilted nor foreshortened."""
    probe = APEXWARD * (anatomy.ventricles.apex + anatomy.patient.chest)
    four, two = (facing(probe, np.zeros(3), direction(APICAL[view])) for view in (View.A4C, View.A2C))
    return four, two


@pytest.mark.parametrize("patient", [*PATIENTS[:4], REGIONAL])
def test_lvef_is_that_of_the_cavity_counted_in_space(patient) -> None:
    """Monte Carlo over a box, which no volume formula knows of."""
    truth, counted = Truth(patient), []
    low, high = truth.motion.anatomy.ventricles.apex * np.array([[-0.6, -0.6, -0.05], [0.6, 0.6, 1.0]])
    points = np.random.default_rng(0).uniform(low, high, (120_000, 3))
    for contraction in (0.0, 1.0):
        state = truth.motion.state(patient.rhythm.full(contraction))
        inside = truth.motion.in_cavity(points, state)
        counted.append(inside.mean() * np.prod(high - low) / 1000)
    assert counted[0] == pytest.approx(patient.edv, rel=0.02)
    assert truth.lvef == pytest.approx(100 * patient.ejection, abs=0.01)
    assert 100 * (1 - counted[1] / counted[0]) == pytest.approx(truth.lvef, abs=1.0)


@pytest.mark.parametrize("patient", [*PATIENTS[:6], REGIONAL])
def test_muscle_keeps_its_volume_at_every_point(patient) -> None:
    """The motion's Jacobian, by differences, is 1 throughout the left ventricle's wall."""
    truth = Truth(patient)
    motion, size = truth.motion, truth.motion.anatomy.ventricles
    rest = (
        np.random.default_rng(0)
        .uniform([-50, -50, 3], [50, 50, 0.95 * size.length], (6000, 3))
        .astype(np.float32)
    )
    layers = Layers(motion.anatomy, np.arctan2(rest[:, 1], rest[:, 0]), rest[:, 2])
    depth = np.hypot(rest[:, 0], rest[:, 1])
    edges = np.sqrt(layers.relaxed)
    rest = rest[(depth > edges[1] + 1) & (depth < edges[2] - 1)]
    state = motion.state(patient.rhythm.full(1.0))
    columns = [
        (motion.place(rest + step, state) - motion.place(rest - step, state)) / 0.8
        for step in 0.4 * np.eye(3, dtype=np.float32)
    ]
    volume = np.linalg.det(np.stack(columns, axis=2))
    assert len(rest) > 100 and np.median(np.abs(volume - 1)) < 0.005 and np.abs(volume - 1).max() < 0.08


def test_the_wall_thickens_the_base_descends_the_apex_stays_and_turns_counterclockwise() -> None:
    patient = PATIENTS[4]
    motion = Truth(patient).motion
    size = motion.anatomy.ventricles
    inner, outer = [size.radius * 0.9, 0, 0.5 * size.length], [size.radius * 1.3, 0, 0.5 * size.length]
    rest = np.array([inner, outer, [5, 0, 0], [0, 0, size.apex], [10, 0, 0.9 * size.length]])
    placed = motion.place(rest, motion.state(patient.rhythm.full(1.0)))
    assert np.hypot(*placed[1, :2]) - np.hypot(*placed[0, :2]) > 1.15 * (outer[0] - inner[0])
    assert placed[2, 2] > 5 and np.abs(placed[3] - rest[3]).max() < 0.01
    assert placed[4, 1] > 0


@pytest.mark.parametrize("patient", PATIENTS[:6])
def test_no_layer_ever_crosses_another(patient) -> None:
    motion = Truth(patient).motion
    columns = motion.anatomy.ventricles.grid_columns
    for time in np.arange(1, 3, 0.05):
        knots = columns.knots(motion.state(patient.rhythm.at(time)).squeeze)
        assert np.diff(knots, axis=0).min() > -1e-3


def test_the_inverse_of_the_motion_finds_the_points_again() -> None:
    motion = Truth(PATIENTS[5]).motion
    rest = np.random.default_rng(0).uniform([-50, -40, -50], [40, 50, 80], (4000, 3))
    for time in (1.0, 1.2, 1.5):
        state = motion.state(PATIENTS[5].rhythm.at(time))
        missed = np.linalg.norm(motion.rest(motion.place(rest, state), state) - rest, axis=1)
        assert np.median(missed) < 0.02 and np.percentile(missed, 95) < 0.6


@pytest.mark.parametrize("patient", [*PATIENTS[:4], REGIONAL])
def test_the_cavity_is_where_the_inverse_of_the_motion_leads_into_it(patient) -> None:
    motion = Truth(patient).motion
    low, high = motion.anatomy.ventricles.apex * np.array([[-0.7, -0.7, -0.3], [0.7, 0.7, 1.3]])
    points = np.random.default_rng(1).uniform(low, high, (20_000, 3))
    for contraction in (0.0, 0.4, 1.0):
        state = motion.state(patient.rhythm.full(contraction))
        x, y, z = motion.rest(points, state).T
        led = (z >= 0) & (x * x + y * y < Layers(motion.anatomy, np.arctan2(y, x), z).relaxed[1])
        assert np.array_equal(motion.in_cavity(points, state), led) and led.any()


def test_the_septum_flattens_in_systole_the_more_the_higher_the_pressure() -> None:
    systole, diastole = [], []
    for rvsp in (25, 35, 50, 65, 80):
        patient = replace(PATIENTS[1], rvsp=float(rvsp), rap=8.0)
        start, end = beat(patient)
        systole.append(Truth(patient).eccentricity(end - 0.02))
        diastole.append(Truth(patient).eccentricity(start))
    assert systole[0] == pytest.approx(1, abs=0.01) and all(np.diff(systole) > 0.01)
    assert 1.25 < systole[-1] < 1.6 and systole[-1] > diastole[-1]


def test_the_right_ventricle_lies_around_the_septum_and_ejects_what_the_left_does() -> None:
    patient = PATIENTS[1]
    truth = Truth(patient)
    large, small = truth.extremes
    assert large.right_ventricle == pytest.approx(patient.rv_edv, rel=1e-3)
    ejected = large.left_ventricle - small.left_ventricle
    assert large.right_ventricle - small.right_ventricle == pytest.approx(ejected, rel=1e-3)
    size = truth.motion.anatomy.ventricles
    angles = np.radians([110, 150, 200])
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros(3)], axis=1) * (size.radius + patient.wall + 6)
    organs = find_organs(truth.motion.anatomy, ring + 0.25 * size.length * np.eye(3)[2]).organ
    assert (organs == Organ.RIGHT_VENTRICLE).all()


def test_the_left_atrium_fills_in_systole_and_empties_in_two_steps() -> None:
    patient = replace(PATIENTS[1], fibrillation=False, early_share=0.7, heart_rate=60.0, variability=0.01)
    truth, start = Truth(patient), float(patient.rhythm.r_waves[2])
    timing = timing_of(float(patient.rhythm.r_waves[3]) - start)
    full, passive, kicked = (
        truth.volumes(start + time).left_atrium
        for time in (timing.closing, timing.kick, timing.length - 0.005)
    )
    assert full == pytest.approx(patient.la_volume, rel=0.15)
    assert full > 1.2 * passive > 1.2 * 1.1 * kicked


def test_leaflets_leave_a_hole_when_open_and_none_when_closed() -> None:
    anatomy = Truth(PATIENTS[1]).motion.anatomy
    sheets = draw_leaflets(anatomy, 1.0, np.random.default_rng(0))
    for opening, low, high in ((0.0, 0.0, 2.5), (1.0, 4.0, 20.0)):
        points = sheets.swing(sheets.ends, (opening, opening))
        valve = anatomy.left.valve
        mitral = points[
            ~sheets.arterial & (np.linalg.norm(sheets.hinge - valve, axis=1) < anatomy.left.annulus + 1)
        ]
        sample = valve[:2] + anatomy.left.annulus * np.array(
            [-0.25 * np.cos(np.pi * 2 / 3), -0.25 * np.sin(np.pi * 2 / 3)]
        )
        assert low <= np.linalg.norm(mitral[:, :2] - sample, axis=1).min() < high


@pytest.mark.parametrize("patient", PATIENTS)
def test_biplane_discs_on_true_contours_are_within_two_points(patient) -> None:
    truth = Truth(patient)
    poses = true_apical_poses(truth.motion.anatomy)
    volumes = []
    for time in beat(patient):
        volumes.append(biplane_volume(*(truth.contour(pose, time) for pose in poses)))
    start, end = (truth.volumes(time).left_ventricle for time in beat(patient))
    assert volumes[0] == pytest.approx(start, rel=0.04)
    assert 100 * (volumes[1] / volumes[0] - end / start) == pytest.approx(0, abs=2)


def test_landmarks_lie_on_the_contour() -> None:
    truth = Truth(PATIENTS[1])
    pose = true_apical_poses(truth.motion.anatomy)[0]
    contour, marks = truth.contour(pose, 1.1), truth.landmarks(1.1)
    marked = in_plane(pose, np.stack([marks["apex"], marks["septal annulus"], marks["lateral annulus"]]))
    for mark in marked:
        assert np.linalg.norm(contour.outline - mark, axis=1).min() < 1.5
    assert len(contour.annulus) == 2


def test_pressure_is_told_by_the_jet() -> None:
    for patient in PATIENTS[:5]:
        assert Truth(patient).rvsp == pytest.approx(patient.rvsp)
