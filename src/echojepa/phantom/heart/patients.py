"""The people: every parameter of one synthetic patient, drawn from stated distributions.

Sources: [ASE] Lang 2015, JASE 28:1 (adult chamber quantification); [RV] Rudski 2010, JASE 23:685 (right
heart); [PHN] Lopez 2017, Circ Cardiovasc Imaging 10 (children scale with powers of body surface area);
[HR] Fleming 2011, Lancet 377:1011 (children's heart rates); [BSA] Mosteller 1987 and Haycock 1978.
Everything else, every correlation included, is assumed and plausible, not fitted to a population.
By design heart rate, wall and body size do not depend on the ejection fraction; the ventricle's size does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property

import numpy as np

from echojepa.errors import UserError
from echojepa.phantom.heart.rhythm import Rhythm

MMHG_AT_REST = 3.0, 8.0, 15.0
"""Right atrial pressures that a vena cava's size and collapse stand for, mmHg [RV]."""
CHILD_AGES = 0.0, 0.08, 0.5, 1.0, 2.0, 4.0, 6.0, 9.0, 12.0, 15.0, 18.0
CHILD_RATES = 127.0, 145.0, 134.0, 123.0, 113.0, 104.0, 96.0, 88.0, 83.0, 79.0, 75.0
"""Median heart rate at an age in years [HR]; the later values are read off its curve."""
CHILD_HEIGHTS = 50.0, 54.0, 67.0, 75.0, 87.0, 101.0, 114.0, 132.0, 149.0, 165.0, 170.0
CHILD_WEIGHTS = 3.4, 4.3, 7.6, 9.6, 12.2, 16.3, 20.5, 28.5, 40.5, 54.0, 62.0
"""Median height, cm, and weight, kg, at the ages above, both sexes (rounded growth charts)."""


REGION_MEAN = 0.3125
"""Mean over a circle of ((1 + cos x) / 2)^3, the shape of a regional wall motion abnormality."""


Body = tuple[float, float, float, float]
"""Age in years, height in cm, weight in kg, beats a minute."""


class Population(StrEnum):
    """Whom a site examines."""

    ADULT = "adult"
    CHILD = "child"


@dataclass(frozen=True)
class Patient:
    """One person; lengths in mm, volumes in ml, pressures in mmHg, fractions 0 to 1, angles in radians."""

    population: Population
    male: bool
    age: float
    """Years."""
    height: float
    """Body height, cm."""
    weight: float
    """Body weight, kg."""
    heart_rate: float
    """Mean beats a minute."""
    fibrillation: bool
    """Atrial fibrillation: irregular beats and no atrial kick."""
    variability: float
    """Standard deviation of the beat's length over its mean."""
    rhythm_seed: int
    """Seed of the beats' lengths, so that all of a patient's recordings share one rhythm."""
    edv: float
    """Left ventricular end-diastolic volume; papillary muscles count as cavity [ASE]."""
    ejection: float
    """Left ventricular ejection fraction."""
    sphericity: float
    """Width over length of the left ventricular cavity at end-diastole."""
    wall: float
    """Left ventricular wall at end-diastole."""
    shortening: float
    """Share of the ventricle's length lost in systole."""
    twist: float
    """Rotation of the apex against the base at end-systole."""
    regional: float
    """Depth of a regional wall motion abnormality: 0 none, 1 and more akinetic in its middle."""
    regional_azimuth: float
    """Where around the ventricle it lies."""
    regional_level: float
    """Where along it: 0 base, 1 apex."""
    rv_edv: float
    """Right ventricular end-diastolic volume."""
    rvsp: float
    """Right ventricular systolic pressure."""
    rap: float
    """Right atrial pressure."""
    regurgitation: float
    """Diameter of the tricuspid jet at its narrowest."""
    la_volume: float
    """Largest left atrial volume."""
    ra_volume: float
    """Largest right atrial volume."""
    atrial_emptying: float
    """Share of their largest volume that the atria empty."""
    early_share: float
    """Share of ventricular filling before the atrial kick."""
    aorta: float
    """Diameter of the aortic annulus."""
    chest: float
    """Tissue between probe and heart."""
    breathing: float
    """Breaths a second."""
    breath_depth: float
    """Half the heart's travel with a breath (most patients hold it)."""
    sway: float
    """Typical wander of the sonographer's hand."""

    @property
    def bsa(self) -> float:
        """Body surface area, m^2."""
        return body_surface(self.population, self.height, self.weight)

    @property
    def scale(self) -> float:
        """Size of whatever has no parameter of its own, over a 1.85 m^2 adult's: lengths go as BSA^0.5."""
        return math.sqrt(self.bsa / 1.85)

    @property
    def load(self) -> float:
        """Pressure load of the right heart: 0 up to 35 mmHg, 1 at 85."""
        return pressure_load(self.rvsp)

    @property
    def jet_speed(self) -> float:
        """Peak speed of the tricuspid jet, m/s: RVSP = 4 v^2 + RAP (simplified Bernoulli) [RV]."""
        return math.sqrt((self.rvsp - self.rap) / 4)

    @cached_property
    def rhythm(self) -> Rhythm:
        """The beats of this patient."""
        return Rhythm(
            self.heart_rate, self.variability, self.fibrillation, self.early_share, self.rhythm_seed
        )


def body_surface(population: Population, height: float, weight: float) -> float:
    """Area in m^2 of a body of so many cm and kg [BSA]."""
    if population == Population.CHILD:
        return 0.024265 * weight**0.5378 * height**0.3964
    return math.sqrt(height * weight / 3600)


def pressure_load(rvsp: float) -> float:
    """What right ventricle, right atrium and jet respond to (assumed line): 0 up to 35 mmHg, 1 at 85."""
    return min(max((rvsp - 35) / 50, 0.0), 1.3)


def right_size(load: float) -> float:
    """Smallest right ventricular volume under a load, over the usual one."""
    return 0.92 + 0.45 * load


def with_ejection(patient: Patient, ejection: float) -> Patient:
    """The same patient, body and end-diastolic heart, ejecting another share (0.10 to 0.80)."""
    ratio = ejection / patient.ejection
    return replace(
        patient,
        ejection=ejection,
        shortening=patient.shortening * ratio,
        twist=patient.twist * ratio,
        regional=min(patient.regional, defect_limit(ejection)),
        rv_edv=max(patient.rv_edv, patient.edv * ejection / 0.68),
    )


def with_defect(patient: Patient, depth: float) -> Patient:
    """The same patient with a regional wall motion abnormality of this depth, or of the deepest that the LVEF
    allows."""
    return replace(patient, regional=min(depth, defect_limit(patient.ejection)))


def with_rvsp(patient: Patient, rvsp: float) -> Patient:
    """The same patient under another right ventricular pressure, with what follows from it.

    Raises UserError unless it exceeds the right atrial pressure.
    """
    if rvsp <= patient.rap:
        raise UserError(
            f"RVSP must exceed the right atrial pressure of this patient, {patient.rap:g} mmHg; got {rvsp:g}"
        )
    load, before = pressure_load(rvsp), patient.load
    return replace(
        patient,
        rvsp=rvsp,
        rv_edv=patient.rv_edv * right_size(load) / right_size(before),
        ra_volume=patient.ra_volume * (1 + 0.6 * load) / (1 + 0.6 * before),
        regurgitation=max(patient.regurgitation + 3.0 * (load - before) * patient.scale, patient.scale),
    )


def defect_limit(ejection: float) -> float:
    """Deepest regional defect for which the other walls can still make up the ejection fraction."""
    return (0.9 / ejection - 1) / REGION_MEAN


def clipped(rng: np.random.Generator, mean: float, deviation: float, low: float, high: float) -> float:
    """One normal draw held within limits."""
    return float(np.clip(rng.normal(mean, deviation), low, high))


def draw_patient(rng: np.random.Generator, population: Population = Population.ADULT) -> Patient:
    """Draw one person."""
    male = bool(rng.random() < 0.5)
    body = draw_adult_body(rng, male) if population == Population.ADULT else draw_child_body(rng)
    return draw_heart_of(rng, population, male, body)


def draw_adult_body(rng: np.random.Generator, male: bool) -> Body:
    """An adult's, 18 to 92 years old."""
    height = clipped(rng, 176, 7, 155, 200) if male else clipped(rng, 163, 6.5, 142, 188)
    weight = float(np.clip(27 * math.exp(rng.normal(0, 0.17)), 17, 45)) * (height / 100) ** 2
    return clipped(rng, 60, 16, 18, 92), height, weight, clipped(rng, 70, 11, 45, 115)


def draw_child_body(rng: np.random.Generator) -> Body:
    """A child's, from birth to 17 years with many infants."""
    age = 17.9 * rng.random() ** 1.6
    height = float(np.interp(age, CHILD_AGES, CHILD_HEIGHTS)) * math.exp(rng.normal(0, 0.04))
    weight = float(np.interp(age, CHILD_AGES, CHILD_WEIGHTS)) * math.exp(rng.normal(0, 0.12))
    rate = float(np.interp(age, CHILD_AGES, CHILD_RATES)) * math.exp(rng.normal(0, 0.10))
    return age, height, weight, float(np.clip(rate, 55, 190))


def draw_ejection(rng: np.random.Generator, population: Population, male: bool) -> float:
    """Normal 62 +- 5 % (men) or 64 +- 5 % (women) [ASE] in six (children: seven) of ten, else 10 to 60 %."""
    if rng.random() < (0.6 if population == Population.ADULT else 0.7):
        return clipped(rng, 0.62 if male else 0.64, 0.05, 0.50, 0.80)
    return float(np.clip(0.10 + 0.50 * rng.beta(1.7, 1.2), 0.10, 0.80))


def draw_pressures(rng: np.random.Generator, child: bool, ejection: float) -> tuple[float, float]:
    """RVSP and RAP, mmHg: log-normal about 33 mmHg (a long tail), a little higher in failing hearts."""
    centre = 26.0 if child else 32.0
    rvsp = centre * math.exp(rng.normal(0.3 * max(0.0, 0.5 - ejection), 0.27 if child else 0.36))
    load = 1 / (1 + math.exp(-(rvsp - 50) / 10))
    step = int(rng.choice(3, p=[0.75 - 0.55 * load, 0.18 + 0.17 * load, 0.07 + 0.38 * load]))
    return float(np.clip(rvsp, MMHG_AT_REST[step] + 12, 115)), MMHG_AT_REST[step]


def draw_left_size(
    rng: np.random.Generator, population: Population, male: bool, bsa: float, ejection: float
) -> float:
    """LV EDV: adults 54 +- 10 (men), 45 +- 8 (women) ml/m^2 [ASE]; children about 60 ml x BSA^1.3 [PHN]."""
    dilation = math.exp(1.15 * max(0.0, 0.52 - ejection) + rng.normal(0, 0.07))
    if population == Population.CHILD:
        return 60 * bsa**1.3 * math.exp(rng.normal(0, 0.14)) * dilation
    index = clipped(rng, 57 if male else 49, 9, 32, 85)
    return index * bsa * dilation


def draw_heart_of(rng: np.random.Generator, population: Population, male: bool, body: Body) -> Patient:
    """A heart for a body."""
    age, height, weight, rate = body
    child = population == Population.CHILD
    bsa = body_surface(population, height, weight)
    scale = math.sqrt(bsa / 1.85)
    ejection = draw_ejection(rng, population, male)
    edv = draw_left_size(rng, population, male, bsa, ejection)
    rvsp, rap = draw_pressures(rng, child, ejection)
    load = pressure_load(rvsp)
    fibrillation = not child and bool(rng.random() < np.clip(0.002 * (age - 40), 0.005, 0.12))
    wall = 5.9 * bsa**0.45 if child else (9.3 if male else 8.4)
    regional = rng.uniform(0.7, 1.3) if ejection < 0.62 and rng.random() < (0.03 if child else 0.3) else 0.0
    rv_usual = (60 * bsa**1.3 if child else (66 if male else 58) * bsa) * math.exp(rng.normal(0, 0.12))
    stroke = edv * ejection
    rv_ejection = float(np.clip(rng.normal(0.56, 0.05) - 0.17 * load, 0.22, 0.66))
    right_edv = float(np.clip(stroke / rv_ejection, right_size(load) * rv_usual, 2.2 * rv_usual))
    atrial = (1 + 0.45 * fibrillation + 0.004 * max(0.0, age - 50)) * math.exp(rng.normal(0, 0.2))
    kick = float(np.clip(0.80 - 0.0042 * max(0.0, age - 20) + rng.normal(0, 0.06), 0.4, 0.85))
    return Patient(
        population=population,
        male=male,
        age=age,
        height=height,
        weight=weight,
        heart_rate=float(min(rate * (1.15 if fibrillation else 1.0), 190)),
        fibrillation=fibrillation,
        variability=float(rng.uniform(0.15, 0.25) if fibrillation else rng.uniform(0.01, 0.05)),
        rhythm_seed=int(rng.integers(2**62)),
        edv=edv,
        ejection=ejection,
        sphericity=float(rng.uniform(0.50, 0.62) + 0.14 * max(0.0, 0.5 - ejection)),
        wall=wall * math.exp(rng.normal(0, 0.13)),
        shortening=float(np.clip(rng.normal(0.28, 0.03), 0.2, 0.36)) * ejection,
        twist=clipped(rng, 0.22, 0.05, 0.05, 0.38) * ejection / 0.62,
        regional=float(min(regional, defect_limit(ejection))),
        regional_azimuth=float(rng.uniform(0, 2 * math.pi)),
        regional_level=float(rng.uniform(0.35, 0.95)),
        rv_edv=max(right_edv, stroke / 0.68),
        rvsp=rvsp,
        rap=rap,
        regurgitation=float(np.clip(2.0 + 3.0 * load + rng.normal(0, 0.8), 1.0, 8.0)) * scale,
        la_volume=27 * bsa * atrial * (1 + 0.5 * max(0.0, 0.5 - ejection)),
        ra_volume=24 * bsa * math.exp(rng.normal(0, 0.17)) * (1 + 0.25 * fibrillation + 0.6 * load),
        atrial_emptying=clipped(rng, 0.22 if fibrillation else 0.52, 0.05, 0.12, 0.65),
        early_share=1.0 if fibrillation else kick,
        aorta=clipped(rng, 22.5 if male else 21, 1.4, 17, 27) * scale,
        chest=clipped(rng, 20, 5, 9, 36) * scale,
        breathing=float(rng.uniform(0.2, 0.3)) * (1.8 if child else 1.0),
        breath_depth=float(rng.exponential(0.9)) * scale,
        sway=float(rng.uniform(0.1, 0.7)) * scale,
    )
