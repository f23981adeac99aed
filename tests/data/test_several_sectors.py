"""Claims about screens with two sectors: refused for that, and no screen with one is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from odd_files import doppler, fan, native, refusal, region, row, whole
from pydicom.sequence import Sequence

from echojepa.vocabulary import Reason

SIZE = {"height": 180, "width": 240}
ONE, OTHER = fan(**SIZE), fan(**SIZE, seed=3)
BLANK = np.zeros_like(ONE)


def rgb(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Grey as RGB."""
    return np.repeat(frames[..., None], 3, -1)


def inset(frames: NDArray[np.uint8], top: int, left: int) -> NDArray[np.uint8]:
    """A smaller picture on a blank screen."""
    out = BLANK.copy()
    out[:, top : top + frames.shape[1], left : left + frames.shape[2]] = frames
    return out


def rectangle(seed: int) -> NDArray[np.uint8]:
    """What a linear array shows, on a screen of its own."""
    speckle = np.random.default_rng(seed).integers(20, 200, (12, 120, 100), np.uint8)
    return inset(speckle, 30, 70)


TWO = {
    "biplane": np.concatenate([ONE, OTHER], 2),
    "biplane that touches": np.concatenate([ONE[:, :, 22:218], OTHER[:, :, 22:218]], 2),
    "cropped into each other": np.concatenate([ONE[:, :, 32:208], OTHER[:, :, 32:208]], 2),
    "one above the other": np.concatenate([ONE, OTHER], 1),
    "a smaller second": np.concatenate([ONE, inset(fan(height=120, width=160, seed=4), 30, 40)], 2),
    "colour compare": np.concatenate([rgb(ONE), doppler(**SIZE)], 2),
    "three": np.concatenate([ONE, OTHER, fan(**SIZE, seed=8)], 2),
    "of different rates": np.concatenate([ONE, np.repeat(OTHER[::2], 2, 0)], 2),
}
SINGLE = {
    "alone": np.concatenate([BLANK, ONE, BLANK], 2),
    "beside a frozen one": np.concatenate([ONE, np.repeat(OTHER[:1], 12, 0)], 2),
    "beside a thumbnail": np.concatenate([ONE, inset(fan(height=60, width=80, seed=4), 30, 40)], 2),
    "in colour": doppler(**SIZE),
    "with a dark half": np.where(np.arange(240) < 120, ONE // 12, ONE),
    "with a dark beam": np.where(abs(np.arange(240) - 118) < 9, ONE // 16, ONE),
}


@pytest.mark.parametrize("name", TWO)
def test_two_sectors_are_refused_for_being_two(tmp_path: Path, name: str) -> None:
    path = native(tmp_path / "a.dcm", TWO[name], SequenceOfUltrasoundRegions=None)
    assert refusal(path).startswith(Reason.SEVERAL_SECTORS)


@pytest.mark.parametrize("name", SINGLE)
def test_one_sector_is_one(tmp_path: Path, name: str) -> None:
    row(native(tmp_path / "a.dcm", SINGLE[name], SequenceOfUltrasoundRegions=None))


@pytest.mark.parametrize("tagged", [True, False])
def test_two_linear_arrays_are_told_by_their_regions(tmp_path: Path, tagged: bool) -> None:
    frames = np.concatenate([rectangle(0), rectangle(1)], 2)
    boxes = [
        region(180, 480, RegionLocationMinX0=x, RegionLocationMaxX1=x + 99, RegionLocationMinY0=30,
               RegionLocationMaxY1=149)
        for x in (70, 310)
    ]  # fmt: skip
    path = native(
        tmp_path / "a.dcm", frames, SequenceOfUltrasoundRegions=Sequence(boxes if tagged else boxes[:1])
    )
    if tagged:
        assert refusal(path).startswith(Reason.SEVERAL_SECTORS)


def test_regions_of_another_layout_do_not_make_two_of_one(tmp_path: Path) -> None:
    halves = [
        region(180, 240, RegionLocationMinX0=0, RegionLocationMaxX1=119),
        region(180, 240, RegionLocationMinX0=120, RegionLocationMaxX1=239),
    ]
    row(native(tmp_path / "a.dcm", ONE, SequenceOfUltrasoundRegions=Sequence(halves)))


def test_ingest_refuses_them_and_a_dry_run_finds_them_in_its_sample(tmp_path: Path) -> None:
    for number, name in enumerate(("biplane", "one above the other", "colour compare")):
        native(tmp_path / f"in/{number}.dcm", TWO[name])
    native(tmp_path / "in/sound.dcm", ONE)
    found = whole(tmp_path / "in")
    assert found.rejected == {Reason.SEVERAL_SECTORS: 3} == found.dry.sample_refused
    assert len(found.rows) == 1
