"""Claims about blood."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from echojepa.phantom.heart.anatomy import Anatomy
from echojepa.phantom.heart.flow import Blood
from echojepa.phantom.heart.motion import Motion
from echojepa.phantom.heart.patients import draw_patient
from echojepa.phantom.heart.rhythm import timing_of
from echojepa.phantom.heart.views import standard_pose
from echojepa.vocabulary import View

PATIENT = replace(
    draw_patient(np.random.default_rng(1)),
    rvsp=64.0,
    rap=8.0,
    regurgitation=4.0,
    fibrillation=False,
    early_share=0.7,
)


def moments(patient) -> dict[str, float]:
    """Times in one beat, s."""
    start = float(patient.rhythm.r_waves[2])
    timing = timing_of(float(patient.rhythm.r_waves[3]) - start)
    return {
        "ejection": start + timing.opening + 0.3 * (timing.closing - timing.opening),
        "early filling": start + 0.5 * (timing.mitral + timing.early),
        "rest": start + 0.5 * (timing.early + timing.kick),
        "kick": start + 0.5 * (timing.kick + timing.length),
    }


def plane(view: View, step: float = 1.5) -> np.ndarray:
    """Points of a sector."""
    pose = standard_pose(view, Anatomy(PATIENT))
    ranges, angles = np.meshgrid(np.arange(15, 150, step), np.linspace(-0.7, 0.7, 110))
    return pose.place(ranges.ravel(), angles.ravel(), np.zeros(ranges.size))


def speeds_along_beam(view: View, time: float) -> np.ndarray:
    """Away from the probe positive, m/s."""
    pose, points = standard_pose(view, Anatomy(PATIENT)), plane(view)
    beam = points - pose.probe
    flow = Blood(Motion(Anatomy(PATIENT))).at(points, time)
    return np.einsum("ij,ij->i", flow.velocity, beam) / np.linalg.norm(beam, axis=1)


@pytest.mark.parametrize("view", [View.A4C, View.PSAX_AV])
def test_the_tricuspid_jet_is_seen_in_systole_only(view: View) -> None:
    times = moments(PATIENT)
    systole, diastole = (speeds_along_beam(view, times[name]).max() for name in ("ejection", "rest"))
    assert systole > 0.9 > 0.5 > diastole


def test_the_jet_has_the_speed_that_pressure_gives_it() -> None:
    """64 mmHg with 8 mmHg in the atrium: v = sqrt(56 / 4) = 3.74 m/s."""
    anatomy = Anatomy(PATIENT)
    ball = np.random.default_rng(0).uniform(-14, 14, (20_000, 3)) + anatomy.right.valve
    blood, fastest = Blood(Motion(anatomy)), 0.0
    start = float(PATIENT.rhythm.r_waves[2])
    for time in start + np.arange(0.04, 0.34, 0.03):
        fastest = max(fastest, float(np.linalg.norm(blood.at(ball, time).velocity, axis=1).max()))
    assert fastest == pytest.approx(3.74, rel=0.05)


def test_what_leaves_the_ventricle_passes_the_aorta() -> None:
    """Flux through a section of the ascending aorta against the ventricle's own rate of change."""
    anatomy = Anatomy(PATIENT)
    blood, time = Blood(Motion(anatomy)), moments(PATIENT)["ejection"]
    start, end = anatomy.aorta.nodes[1:3]
    axis = (end - start) / np.linalg.norm(end - start)
    across = np.cross(axis, [1.0, 0, 0])
    across /= np.linalg.norm(across)
    ticks = np.arange(-20, 20, 0.4)
    u, v = (part.ravel()[:, None] for part in np.meshgrid(ticks, ticks))
    rest = start + 0.6 * (end - start) + u * across + v * np.cross(axis, across)
    state = blood.motion.state(PATIENT.rhythm.at(time))
    flow = blood.at(blood.motion.place(rest, state), time)
    lumen = anatomy.aorta.near(rest).distance < 0
    flux = (flow.velocity @ axis)[lumen].sum() * 0.4**2
    assert flux == pytest.approx(-blood.rates(time)[0], rel=0.1)


def test_filling_comes_in_two_waves_and_ejection_in_one() -> None:
    times, blood = moments(PATIENT), Blood(Motion(Anatomy(PATIENT)))
    early, kick, rest = (blood.rates(times[name])[0] for name in ("early filling", "kick", "rest"))
    assert early > 50 and kick > 50 and abs(rest) < 1 and blood.rates(times["ejection"])[0] < -100
    inflow = speeds_along_beam(View.A4C, times["early filling"])
    assert 0.3 < -inflow.min() < 1.6


def test_blood_is_where_the_cavities_are_and_tissue_does_not_flow() -> None:
    points = plane(View.A4C)
    flow = Blood(Motion(Anatomy(PATIENT))).at(points, moments(PATIENT)["ejection"])
    assert 0.1 < flow.inside.mean() < 0.6
    assert not flow.velocity[~flow.inside].any() and not flow.spread[~flow.inside].any()
    assert flow.spread[flow.inside].min() > 0 and flow.spread.max() > 0.5
