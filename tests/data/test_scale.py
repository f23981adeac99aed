"""Claims about the size of a pixel: it is that of the region which the sector lies in, or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from odd_files import fan, native, region, row
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

H, W = 120, 160
HALF = {"PhysicalDeltaX": 0.025, "PhysicalDeltaY": 0.025}


def box(x0: int, y0: int, x1: int, y1: int, **changes: object) -> Dataset:
    """A region of tissue with other corners."""
    corners = {
        "RegionLocationMinX0": x0, "RegionLocationMinY0": y0,
        "RegionLocationMaxX1": x1, "RegionLocationMaxY1": y1,
    }  # fmt: skip
    return region(H, W, **corners, **changes)


@pytest.mark.parametrize(
    ("regions", "mm"),
    [
        ([box(0, 0, 30, 20, **HALF), box(0, 0, W - 1, H - 1)], 0.5),  # a small picture beside it stands first
        ([box(0, 0, W - 1, H - 1), box(0, 0, 30, 20, **HALF)], 0.5),
        ([box(120, 0, W - 1, H - 1, **HALF), box(10, 0, 150, H - 1)], 0.5),
        ([box(0, 0, W - 1, H - 1), box(60, 40, 100, 90, RegionDataType=2, **HALF)], 0.5),  # a colour box
        ([box(0, 0, W - 1, H - 1, **HALF), box(20, 0, 140, H - 1)], 0.5),  # the tighter one of two
        ([box(0, 0, 40, H - 1)], None),  # the only one lies beside the sector
        ([box(0, 0, 40, 30), box(0, 90, 40, H - 1, **HALF)], None),
        ([box(0, 0, W - 1, H - 1), box(0, 0, W - 1, H - 1, **HALF)], None),  # two of one place disagree
        ([box(0, 0, W - 1, H - 1), box(0, 0, W - 1, H - 1)], 0.5),
        ([box(0, 0, W - 1, H - 1, PhysicalUnitsXDirection=0, **HALF), box(0, 0, W - 1, H - 1)], 0.5),
        ([box(0, 0, W, H)], 0.5),  # ends counted from one past the last pixel
        ([box(0, 0, W - 1, H)], 0.5),
        ([box(0, 0, W, H - 1)], 0.5),
        ([box(0, 0, W + 1, H)], None),  # written for another picture
        ([box(0, 0, W - 1, H - 1, PhysicalDeltaX=float("inf"))], None),
        ([], None),
    ],
)  # fmt: skip
def test_the_pixel_size_is_that_of_the_region_which_holds_the_sector(
    tmp_path: Path, regions: list[Dataset], mm: float | None
) -> None:
    kept = row(native(tmp_path / "a.dcm", fan(), SequenceOfUltrasoundRegions=Sequence(regions)))
    assert kept.pixel_height_mm == kept.pixel_width_mm == (None if mm is None else pytest.approx(mm))


@pytest.mark.parametrize(
    ("changes", "size"),
    [
        ({"PixelSpacing": [0.4, 0.3]}, (0.4, 0.3)),
        ({"PixelSpacing": [0.4, 0.3], "PixelAspectRatio": [4, 3]}, (0.4, 0.3)),
        ({"PixelSpacing": [0, 0]}, (None, None)),
        ({"PixelSpacing": [0.4]}, (None, None)),
    ],
)
def test_without_regions_pixel_spacing_counts(
    tmp_path: Path, changes: dict[str, object], size: tuple[float | None, float | None]
) -> None:
    kept = row(native(tmp_path / "a.dcm", fan(), SequenceOfUltrasoundRegions=None, **changes))
    assert (kept.pixel_height_mm, kept.pixel_width_mm) == size


def test_with_regions_pixel_spacing_does_not_count(tmp_path: Path) -> None:
    regions = Sequence([box(0, 0, 30, 20)])
    kept = row(
        native(tmp_path / "a.dcm", fan(), SequenceOfUltrasoundRegions=regions, PixelSpacing=[0.4, 0.3])
    )
    assert kept.pixel_height_mm is None


@pytest.mark.parametrize("ratio", [[2, 1], [1, 2], [3, 2], [1, 1], [1, 900]])
def test_a_heart_of_pixels_that_are_not_square_is_not_stretched(tmp_path: Path, ratio: list[int]) -> None:
    frames = fan()
    as_it_is = row(native(tmp_path / "a.dcm", frames))
    kept = row(native(tmp_path / "b.dcm", frames, SequenceOfUltrasoundRegions=None, PixelAspectRatio=ratio))
    height, width = as_it_is.height * ratio[0], as_it_is.width * ratio[1]
    if ratio in ([1, 1], [1, 900]):
        height, width = as_it_is.height, as_it_is.width
    assert kept.height / kept.width == pytest.approx(height / width, rel=0.02)
    assert max(kept.height / as_it_is.height, kept.width / as_it_is.width) == 1
    assert np.isnan(kept.pixel_height_mm or np.nan)
