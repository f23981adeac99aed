"""Claims about the people that are drawn."""

from __future__ import annotations

import numpy as np
import pytest

from echojepa.errors import UserError
from echojepa.phantom.heart.patients import Population, draw_patient, with_ejection, with_rvsp

ADULTS = [draw_patient(np.random.default_rng(seed)) for seed in range(600)]
CHILDREN = [draw_patient(np.random.default_rng(seed), Population.CHILD) for seed in range(600)]


def column(people, name: str) -> np.ndarray:
    return np.array([getattr(person, name) for person in people])


def test_a_patient_is_a_function_of_the_generator_alone() -> None:
    one, again, other = (draw_patient(np.random.default_rng(seed)) for seed in (5, 5, 6))
    assert one == again != other


@pytest.mark.parametrize("people", [ADULTS, CHILDREN], ids=["adults", "children"])
def test_ejection_fractions_reach_from_failing_to_hyperdynamic(people) -> None:
    ejection = column(people, "ejection")
    assert ejection.min() >= 0.10 and ejection.max() <= 0.80
    assert (ejection < 0.35).mean() > 0.05 and (ejection > 0.55).mean() > 0.4


@pytest.mark.parametrize("people", [ADULTS, CHILDREN], ids=["adults", "children"])
def test_neither_rate_nor_wall_nor_body_size_gives_the_ejection_fraction_away(people) -> None:
    for name in ("heart_rate", "wall", "bsa", "age", "chest"):
        assert abs(np.corrcoef(column(people, "ejection"), column(people, name))[0, 1]) < 0.15, name


def test_failing_ventricles_are_larger_and_pressure_enlarges_the_right_heart() -> None:
    index = column(ADULTS, "edv") / column(ADULTS, "bsa")
    assert np.corrcoef(column(ADULTS, "ejection"), index)[0, 1] < -0.3
    size = column(ADULTS, "rv_edv") / column(ADULTS, "bsa")
    assert np.corrcoef(column(ADULTS, "rvsp"), size)[0, 1] > 0.3
    assert np.corrcoef(column(ADULTS, "rvsp"), column(ADULTS, "ra_volume"))[0, 1] > 0.3


def test_healthy_adults_have_the_guideline_s_volumes() -> None:
    """Lang 2015: EDV 54 +- 10 ml/m^2 in men and 45 +- 8 in women."""
    for male, expected in ((True, 54), (False, 45)):
        healthy = [person for person in ADULTS if person.male == male and person.ejection > 0.55]
        assert np.mean([person.edv / person.bsa for person in healthy]) == pytest.approx(expected, rel=0.12)


def test_children_are_small_and_fast_from_the_first_day_to_seventeen() -> None:
    age = column(CHILDREN, "age")
    assert age.min() < 0.1 and 17 < age.max() < 18
    infants, teens = age < 1, age > 13
    assert np.median(column(CHILDREN, "heart_rate")[infants]) > 115
    assert np.median(column(CHILDREN, "heart_rate")[teens]) < 90
    assert np.median(column(CHILDREN, "edv")[infants]) < 25 < np.median(column(CHILDREN, "edv")[teens])
    assert np.corrcoef(np.log(column(CHILDREN, "edv")), np.log(column(CHILDREN, "bsa")))[0, 1] > 0.9


def test_the_jet_s_speed_and_the_atrial_pressure_make_up_the_systolic_pressure() -> None:
    for person in ADULTS[:50]:
        assert 4 * person.jet_speed**2 + person.rap == pytest.approx(person.rvsp)
        assert person.jet_speed > 1.5


def test_some_adults_fibrillate_and_no_child_does() -> None:
    assert 0.01 < column(ADULTS, "fibrillation").mean() < 0.12
    assert not column(CHILDREN, "fibrillation").any()


def test_moving_one_factor_moves_what_follows_from_it_and_nothing_else() -> None:
    patient = ADULTS[0]
    weak, loaded = with_ejection(patient, 0.25), with_rvsp(patient, 80.0)
    assert (weak.ejection, weak.edv, weak.heart_rate) == (0.25, patient.edv, patient.heart_rate)
    assert weak.shortening / patient.shortening == pytest.approx(0.25 / patient.ejection)
    assert loaded.rv_edv > 1.2 * patient.rv_edv and loaded.ra_volume > patient.ra_volume
    assert loaded.ejection == patient.ejection and loaded.jet_speed > patient.jet_speed
    with pytest.raises(UserError, match="exceed"):
        with_rvsp(patient, patient.rap)
