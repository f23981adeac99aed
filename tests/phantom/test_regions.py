"""Claims about the phantom's exact regions, against its volume, its contours, its pictures and its stored
form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from echojepa.config import SimulateConfig
from echojepa.errors import UserError
from echojepa.files.tables import write_parquet
from echojepa.phantom.cohort.loops import record_loop
from echojepa.phantom.cohort.presets import order_of
from echojepa.phantom.cohort.regions import PARTS, Recorded, RegionName
from echojepa.phantom.cohort.sidecar import loop_truth, truth_row, truth_table
from echojepa.phantom.cohort.sites import Planned, Protocol
from echojepa.phantom.cohort.study import Drawn, Study, draw_study
from echojepa.phantom.cohort.writers import stored_loop
from echojepa.phantom.heart.body import Drift
from echojepa.vocabulary import View


@pytest.fixture(scope="module")
def study() -> Study:
    """A patient's A4C loop of a beat."""
    order = order_of(SimulateConfig(Path("o"), preset="tiny", seconds=1.0, patients=1))
    return draw_study(replace(order, side=88, density=0.04, protocol=Protocol((Planned(View.A4C),))), 1)


@pytest.fixture(scope="module")
def drawn(study: Study) -> Drawn:
    return study.loops[0]


@pytest.fixture(scope="module")
def regions(drawn: Drawn) -> dict[RegionName, np.ndarray]:
    return Recorded.of(drawn).regions(np.arange(drawn.frames))


def test_the_cavity_s_area_falls_and_rises_with_its_true_volume(
    drawn: Drawn, regions: dict[RegionName, np.ndarray]
) -> None:
    volume, area = loop_truth(drawn).volume, regions[RegionName.CAVITY].sum((1, 2))
    assert np.corrcoef(volume, area)[0, 1] > 0.98
    assert area[volume.argmin()] < 0.85 * area[volume.argmax()]


def test_the_cavity_s_area_is_that_of_the_true_contours(
    drawn: Drawn, regions: dict[RegionName, np.ndarray]
) -> None:
    """By the shoelace formula; valves lie over a part of it."""
    truth = loop_truth(drawn)
    inside = regions[RegionName.CAVITY] | regions[RegionName.VALVES]
    for frame, outline in zip((truth.end_diastole, truth.end_systole), truth.contours, strict=True):
        x, y = outline.T / drawn.scanner.mm_per_pixel
        polygon = 0.5 * abs(np.dot(x, np.roll(y, 1)) - np.dot(y, np.roll(x, 1)))
        assert regions[RegionName.CAVITY][frame].sum() == pytest.approx(polygon, rel=0.08)
        assert inside[frame].sum() > 0.97 * polygon


def test_regions_drift_with_the_body(drawn: Drawn) -> None:
    """A body displaced by 5 mm to the right of the picture has its cavity as far to the right, to a third of
    a pixel: the sector cuts off a little of its apex."""
    middles = []
    for millimetres in (0.0, 5.0):
        breath = millimetres * drawn.pose.lateral
        drift = Drift(breath, 0.0, np.zeros((3, 3)), np.array([np.pi / 2, 0, 0, 0]))
        inside = Recorded.of(replace(drawn, drift=drift)).regions(np.array([3]))[RegionName.CAVITY][0]
        middles.append([place.mean() for place in np.nonzero(inside)])
    moved = np.subtract(*middles[::-1]) * drawn.scanner.mm_per_pixel
    assert moved == pytest.approx([0, 5], abs=0.6)


def test_parts_do_not_overlap_and_make_up_the_heart(regions: dict[RegionName, np.ndarray]) -> None:
    parts = [regions[name] for name in (*PARTS, RegionName.VALVES)]
    assert (np.sum(parts, axis=0) == regions[RegionName.HEART]).all()
    assert all(part.any() for part in parts)


def test_regions_lie_over_what_the_picture_shows(
    study: Study, drawn: Drawn, regions: dict[RegionName, np.ndarray]
) -> None:
    """At the geometry of a stored loop: muscle and valves are bright, blood dark, artefacts darker than
    not."""
    acquired = record_loop(drawn)
    loop = stored_loop(study, drawn)
    assert regions[RegionName.HEART].shape == (len(loop.frames), loop.height, loop.width)
    rows, columns = (np.flatnonzero(acquired.sector.any(axis)) for axis in (1, 0))
    box = np.ix_(
        np.arange(drawn.frames), np.arange(rows[0], rows[-1] + 1), np.arange(columns[0], columns[-1] + 1)
    )
    frames = acquired.pictures[box].astype(float)
    clear = ~regions[RegionName.ARTEFACTS]
    level = {name: frames[regions[name] & clear].mean() for name in (*PARTS, RegionName.VALVES)}
    assert level[RegionName.WALL] > 1.5 * level[RegionName.CAVITY]
    assert level[RegionName.VALVES] > 1.5 * level[RegionName.CHAMBERS]
    wall = regions[RegionName.WALL]
    assert frames[wall & clear].mean() > 1.3 * frames[wall & ~clear].mean()


def test_a_row_of_the_truth_tells_the_very_same_regions(
    study: Study, drawn: Drawn, regions: dict[RegionName, np.ndarray], tmp_path: Path
) -> None:
    write_parquet(tmp_path / "truth.parquet", truth_table(study))
    (row,) = pq.read_table(tmp_path / "truth.parquet").to_pylist()
    again = Recorded.of_row(row, study.seed).regions(np.array([0, 7]))
    for name, masks in again.items():
        assert (masks == regions[name][[0, 7]]).all(), name


def test_a_loop_without_a_heart_has_no_regions(study: Study, drawn: Drawn) -> None:
    empty = replace(drawn, heart=False)
    with pytest.raises(UserError, match="without a heart"):
        Recorded.of(empty)
    with pytest.raises(UserError, match="without a heart"):
        Recorded.of_row(truth_row(study, empty, "A4C_0"), study.seed)
