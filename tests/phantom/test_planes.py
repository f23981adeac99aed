"""Claims about the thirteen views."""

from __future__ import annotations

import numpy as np
import pytest
from discs import diameters

from echojepa.phantom.heart.anatomy import Anatomy
from echojepa.phantom.heart.organs import Organ, find_organs
from echojepa.phantom.heart.patients import Population, draw_patient
from echojepa.phantom.heart.truth import Truth
from echojepa.phantom.heart.views import OTHERS, Operator, draw_pose, standard_pose
from echojepa.vocabulary import View

LV, RV, LA, RA = Organ.LEFT_VENTRICLE, Organ.RIGHT_VENTRICLE, Organ.LEFT_ATRIUM, Organ.RIGHT_ATRIUM
AO, PA = Organ.AORTA, Organ.PULMONARY
SEEN = {
    View.A2C: ({LV, LA}, {RV, RA}),
    View.A3C: ({LV, LA, AO, RV}, {RA}),
    View.A4C: ({LV, LA, RV, RA}, set()),
    View.A5C: ({LV, RV, AO}, set()),
    View.PLAX: ({LV, LA, AO, RV}, {RA}),
    View.PSAX_AP: ({LV}, {LA, RA, AO, PA}),
    View.PSAX_AV: ({AO, PA, LA, RA}, {LV}),
    View.PSAX_MV: ({LV, RV}, {LA, RA}),
    View.PSAX_PM: ({LV, RV, Organ.PAPILLARY}, {LA, RA, AO}),
    View.SSN: ({AO}, {LV, RV}),
    View.SUBCOSTAL: ({LV, RV, LA, RA, Organ.LIVER}, set()),
    View.TEE: ({LV, LA, RV}, set()),
}
ANATOMIES = [
    Anatomy(draw_patient(np.random.default_rng(3), Population.ADULT)),
    Anatomy(draw_patient(np.random.default_rng(7), Population.ADULT)),
    Anatomy(draw_patient(np.random.default_rng(8), Population.CHILD)),
]


def organs_in(pose, anatomy: Anatomy) -> dict[int, int]:
    """How many square millimetres of each organ a sector of this pose shows, scaled to an adult."""
    depth = (165 if pose.depth[2] < -0.5 else 150) * anatomy.scale
    ticks = np.arange(0, 150) / 150 * depth
    ranges, angles = (part.ravel() for part in np.meshgrid(ticks, np.linspace(-0.7, 0.7, 90)))
    points = pose.place(ranges, angles, np.zeros(len(ranges)))
    weight = ranges / anatomy.scale * (1.4 / 90) * depth / anatomy.scale / 150
    return dict(enumerate(np.bincount(find_organs(anatomy, points).organ, weight, len(Organ))))


PERFECT = Operator(0.0, 0.0, 0.0, 0.0, 0.0)
"""Finds every plane exactly."""


@pytest.mark.parametrize("anatomy", ANATOMIES, ids=["pressure", "adult", "child"])
@pytest.mark.parametrize("view", SEEN)
def test_each_view_shows_what_a_sonographer_expects(view: View, anatomy: Anatomy) -> None:
    area = organs_in(standard_pose(view, anatomy), anatomy)
    wanted, unwanted = SEEN[view]
    assert all(area[organ] > (15 if organ == Organ.PAPILLARY else 60) for organ in wanted), area
    assert all(area[organ] < 80 for organ in unwanted), area


def test_thirteen_views_differ_and_the_unnamed_are_several() -> None:
    anatomy = ANATOMIES[1]
    poses = [standard_pose(view, anatomy) for view in View]
    poses += [standard_pose(View.OTHER, anatomy, which) for which in range(1, OTHERS)]
    for number, one in enumerate(poses):
        for other in poses[number + 1 :]:
            moved = np.linalg.norm(one.probe - other.probe)
            assert moved > 4 or one.depth @ other.depth < 0.998 or one.lateral @ other.lateral < 0.98


@pytest.mark.parametrize("view", View)
def test_projecting_undoes_placing_in_every_view(view: View) -> None:
    rng = np.random.default_rng(0)
    pose = draw_pose(view, ANATOMIES[0], Operator(), rng)
    frame = np.stack([pose.lateral, pose.depth])
    np.testing.assert_allclose(frame @ frame.T, np.eye(2), atol=1e-9)
    drawn = rng.uniform(10, 150, 50), rng.uniform(-0.7, 0.7, 50), rng.uniform(-5, 5, 50)
    for expected, found in zip(drawn, pose.project(pose.place(*drawn)), strict=True):
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_a_perfect_operator_finds_the_plane_and_another_misses_by_as_much_as_said() -> None:
    anatomy, rng = ANATOMIES[1], np.random.default_rng(0)
    standard = standard_pose(View.PLAX, anatomy)
    found = draw_pose(View.PLAX, anatomy, PERFECT, rng)
    np.testing.assert_allclose(found.probe, standard.probe)
    np.testing.assert_allclose(found.depth, standard.depth)
    normal = np.cross(standard.lateral, standard.depth)
    tilts = [
        np.degrees(np.arcsin(draw_pose(View.PLAX, anatomy, Operator(0, 8, 0, 0, 0), rng).depth @ normal))
        for _ in range(200)
    ]
    assert np.std(tilts) == pytest.approx(8, rel=0.2)


def test_foreshortening_moves_the_probe_off_the_apex_and_shortens_the_ventricle() -> None:
    patient = ANATOMIES[1].patient
    truth, rng = Truth(patient), np.random.default_rng(0)
    true = diameters(truth.contour(draw_pose(View.A2C, ANATOMIES[1], PERFECT, rng), 1.0))[1]
    poor = Operator(0, 0, 0, 0, 15)
    lengths = [
        diameters(truth.contour(draw_pose(View.A2C, ANATOMIES[1], poor, rng), 1.0))[1] for _ in range(15)
    ]
    assert np.mean(lengths) < true - 1 and max(lengths) < true + 1
