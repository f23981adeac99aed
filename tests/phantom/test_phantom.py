"""Claims about the synthetic hearts and the synthetic scanner."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from echojepa.config import SimulateConfig
from echojepa.errors import UserError
from echojepa.phantom.acoustics import PolarImager, Scanner
from echojepa.phantom.cohort import simulate_study, write_cohort
from echojepa.phantom.heart import (
    SHAPE,
    draw_heart,
    ejection_fraction,
    in_ventricle,
    shape_at,
    wall_points,
)
from echojepa.phantom.planes import draw_pose, standard_pose
from echojepa.vocabulary import View

HEARTS = [draw_heart(np.random.default_rng(seed)) for seed in range(12)]


@pytest.mark.parametrize("heart", HEARTS[:4])
def test_lvef_equals_the_volumes_counted_in_space(heart) -> None:
    """Monte Carlo over a box, with the very test for 'in the cavity' that the pictures are made with."""
    times = np.linspace(0, heart.period, 200)
    contraction = [heart.contraction(time) for time in times]
    volumes = []
    for time in (times[int(np.argmin(contraction))], times[int(np.argmax(contraction))]):
        shape = shape_at(heart, time)
        a, b, c = shape.axes
        low, high = np.array([-a, -b, shape.base]), np.array([a, b, shape.centre + c])
        points = np.random.default_rng(0).uniform(low, high, (200_000, 3))
        volumes.append(in_ventricle(points, shape).mean() * np.prod(high - low) / 1000)
    assert volumes[0] == pytest.approx(heart.edv, rel=0.01)
    assert 100 * (1 - volumes[1] / volumes[0]) == pytest.approx(ejection_fraction(heart), abs=1.0)


@pytest.mark.parametrize("heart", HEARTS)
def test_muscle_keeps_its_volume_and_thickens(heart) -> None:
    volumes, thickness = [], []
    for phase in np.linspace(0, 1, 9):
        shape = shape_at(heart, phase * heart.period)
        outer = math.prod(axis + shape.thickness for axis in shape.axes)
        volumes.append(SHAPE * (outer - math.prod(shape.axes)))
        thickness.append(shape.thickness)
    assert np.ptp(volumes) / volumes[0] < 1e-6
    assert max(thickness) > thickness[0] == pytest.approx(heart.wall)


def test_tissue_is_carried_the_endocardium_moves_in_and_the_apex_stays() -> None:
    heart = HEARTS[0]
    material = np.array([[0.0, 0.0, 0.0], [0.0, math.pi / 2, 1.0]])
    rest, squeezed = (wall_points(material, shape_at(heart, t)) for t in (0.0, 0.3 * heart.period))
    assert np.hypot(*squeezed[0, :2]) < np.hypot(*rest[0, :2])
    np.testing.assert_allclose(squeezed[1], rest[1], atol=1e-6)


def test_ejection_fractions_spread_widely_and_apical_views_share_the_long_axis() -> None:
    values = [ejection_fraction(draw_heart(np.random.default_rng(seed))) for seed in range(300)]
    assert min(values) < 20 < 60 < max(values)
    shape = shape_at(HEARTS[0], 0.0)
    four, two = (standard_pose(view, shape) for view in (View.A4C, View.A2C))
    np.testing.assert_allclose(four.depth, two.depth)
    assert math.degrees(math.acos(four.lateral @ two.lateral)) == pytest.approx(60)


def test_projecting_undoes_placing() -> None:
    rng = np.random.default_rng(0)
    pose = draw_pose(View.PLAX, shape_at(HEARTS[0], 0.0), rng)
    ranges, angles, elevation = rng.uniform(10, 150, 50), rng.uniform(-0.7, 0.7, 50), rng.uniform(-5, 5, 50)
    for expected, found in zip(
        (ranges, angles, elevation), pose.project(pose.place(ranges, angles, elevation)), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-9)


def test_uniform_tissue_has_rayleigh_speckle() -> None:
    """A Rayleigh envelope has mean / standard deviation = sqrt(pi / (4 - pi)) = 1.913, before compression."""
    scanner = Scanner(depth=120, half_angle=0.7, frame_rate=30)
    imager, rng = PolarImager(scanner), np.random.default_rng(0)
    count = 400_000
    ranges, angles = rng.uniform(60, 110, count), rng.uniform(-0.7, 0.7, count)
    envelope = np.abs(imager.spread(imager.echoes(ranges, angles, np.ones(count))))
    inside = envelope[(imager.ranges > 70) & (imager.ranges < 90), 15:-15]
    inside = inside / inside.mean(axis=1, keepdims=True)
    assert inside.mean() / inside.std() == pytest.approx(1.913, abs=0.12)


def test_a_patient_is_a_function_of_seed_and_number_alone(tmp_path: Path) -> None:
    config = SimulateConfig(tmp_path, seconds=0.1)
    one, again, other = (simulate_study(seed, 3, config) for seed in (0, 0, 1))
    for a, b in zip(one.loops, again.loops, strict=True):
        np.testing.assert_array_equal(a.loop.frames, b.loop.frames)
    assert one.lvef == again.lvef != other.lvef


def test_the_cavity_in_the_picture_shrinks_and_darkness_follows(tmp_path: Path) -> None:
    """At end-systole fewer pixels of the A4C picture are dark than at end-diastole."""
    study = simulate_study(0, 4, SimulateConfig(tmp_path, seconds=1.2))
    recorded = study.loops[0]
    times = recorded.start + recorded.loop.times
    contraction = np.array([study.heart.contraction(time) for time in times])
    middle = recorded.sector.shape[1] // 2
    rows = slice(30, 80)
    dark = (recorded.loop.frames[:, rows, middle - 25 : middle + 25] < 70).mean(axis=(1, 2))
    assert np.corrcoef(contraction, dark)[0, 1] < -0.5


def test_brightness_and_heart_rate_do_not_give_lvef_away() -> None:
    hearts = [draw_heart(np.random.default_rng(seed)) for seed in range(400)]
    lvef = [ejection_fraction(heart) for heart in hearts]
    assert abs(np.corrcoef(lvef, [heart.heart_rate for heart in hearts])[0, 1]) < 0.15


def test_files_do_not_depend_on_workers_and_a_second_run_writes_nothing(
    archive: Path, tmp_path: Path
) -> None:
    write_cohort(SimulateConfig(tmp_path, patients=2, seconds=0.25, workers=2), lambda *_: None)
    mine = sorted(tmp_path.rglob("*.dcm"))
    assert len(mine) == 6
    for path in mine:
        assert path.read_bytes() == (archive / path.relative_to(tmp_path)).read_bytes()
    before = {path: path.stat().st_mtime_ns for path in mine}
    mine[0].unlink()
    write_cohort(SimulateConfig(tmp_path, patients=2, seconds=0.25, workers=1), lambda *_: None)
    kept = mine[3:]
    assert mine[0].exists() and {p: p.stat().st_mtime_ns for p in kept} == {p: before[p] for p in kept}


def test_impossible_cohorts_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="patients"):
        write_cohort(SimulateConfig(tmp_path, patients=0), lambda *_: None)
