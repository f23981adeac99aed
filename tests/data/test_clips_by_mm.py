"""Clips by physical scale: what is as large in a body is as large in a clip, however it was recorded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from store_writer import made, row_of

from echojepa.config import InputSpec, SimulateConfig
from echojepa.data.clips.clips import ClipDataset, fitted
from echojepa.data.clips.pictures import keep_pictures
from echojepa.data.clips.scale import ScaledLoop
from echojepa.data.store.encoding import Encoding
from echojepa.data.store.loop_store import LoopStore
from echojepa.data.store.memory import LoopsInMemory, loop_of
from echojepa.data.store.rows import StoredLoop, encode_loop
from echojepa.errors import UserError
from echojepa.files.records import encode
from echojepa.models.contract import resize
from echojepa.phantom.cohort.counterfactual import move_depth
from echojepa.phantom.cohort.loops import record_loop
from echojepa.phantom.cohort.presets import order_of
from echojepa.phantom.cohort.study import draw_study
from echojepa.training.pretrain import training_loops
from echojepa.vocabulary import View

SPEC = InputSpec(size=60, frames=2, seconds=0.1, mm=2.0)


def disc(high: float, wide: float, shape: tuple[int, int]) -> StoredLoop:
    """A disc of 15 mm radius, 50 mm below the top and 10 mm right of the middle, in pixels of so many mm."""
    rows, columns = (np.arange(length) + 0.5 for length in shape)
    away = np.hypot((rows * high - 50)[:, None], (columns - shape[1] / 2) * wide - 10)
    frames = np.repeat(np.where(away < 15, 200, 20).astype(np.uint8)[None], 4, axis=0)
    pixels = encode_loop(frames, np.ones(shape, dtype=bool), Encoding.PNG)
    row = replace(row_of(0), **vars(pixels), pixel_height_mm=high, pixel_width_mm=wide)
    return replace(row, times=[k / 30 for k in range(4)])


@pytest.mark.parametrize(
    ("high", "wide", "shape"),
    [(0.5, 0.5, (180, 200)), (1.1, 1.1, (120, 130)), (0.8, 1.3, (150, 101)), (2.0, 2.0, (60, 60))],
)
def test_a_disc_lies_where_it_is_in_mm(high: float, wide: float, shape: tuple[int, int]) -> None:
    clip = ClipDataset(LoopsInMemory([disc(high, wide, shape)]), [0], SPEC).clip(0, 0)
    assert clip.shape == (3, 2, 60, 60) and clip.dtype == torch.uint8
    bright = (clip[0, 0].double().numpy() - 20).clip(0) / 180
    rows, columns = np.mgrid[:60, :60] + 0.5
    assert (rows * bright).sum() / bright.sum() == pytest.approx(50 / SPEC.mm, abs=0.1)
    assert (columns * bright).sum() / bright.sum() == pytest.approx(30 + 10 / SPEC.mm, abs=0.1)
    assert bright.sum() * SPEC.mm**2 == pytest.approx(np.pi * 15**2, rel=0.03)


def test_at_a_whole_factor_it_is_torch_s_own_resizing() -> None:
    frames = np.random.default_rng(0).integers(0, 255, (2, 60, 60), dtype=np.uint8)
    pixels = encode_loop(frames, np.ones((60, 60), dtype=bool), Encoding.PNG)
    loop = loop_of(
        replace(row_of(0), **vars(pixels), times=[0.0, 0.1], pixel_height_mm=1.0, pixel_width_mm=1.0)
    )
    for size, mm in ((20, 3.0), (120, 0.5)):
        expected = resize(torch.from_numpy(frames), size)
        made_so = torch.from_numpy(ScaledLoop(loop, replace(SPEC, size=size, mm=mm)).frames())
        assert (made_so.int() - expected.int()).abs().max() <= 1


def test_beyond_the_picture_is_black_and_beyond_the_square_cut_off() -> None:
    loop = loop_of(disc(1.0, 1.0, (40, 40)))
    small = ScaledLoop(loop, SPEC).frames()[0]
    assert small[:20, 20:40].min() > 0 and small[20:].max() == 0 and small[:, :20].max() == 0
    assert ScaledLoop(loop, replace(SPEC, mm=0.25)).frames().min() > 0
    mask = ScaledLoop(loop, SPEC).mask
    np.testing.assert_array_equal(mask, small > 0)


def walls(clip: torch.Tensor) -> NDArray[np.float64]:
    """What stands out in a clip's mean picture by its size, 2 to 12 pixels, and not by how deep it lies."""
    picture = clip[0].double().numpy().mean(0)
    return gaussian_filter(picture, 1) - gaussian_filter(picture, 6)


def test_a_phantom_s_loop_rendered_at_two_depths_is_one_picture_in_mm() -> None:
    """The same heart and scatterers, seen to 0.85 and to 1.3 of the depth; as whole pictures they differ."""
    order = order_of(SimulateConfig(Path(), preset="counterfactual", patients=1, seconds=0.1, nuisance="low"))
    drawn = next(one for one in draw_study(order, 0).loops if one.view == View.A4C)
    rows = []
    for share in (0.85, 1.3):
        moved = move_depth(drawn, share, order)
        seen, mm = record_loop(moved), moved.scanner.mm_per_pixel
        pixels = encode_loop(seen.pictures, seen.sector, Encoding.PNG)
        row = replace(row_of(0), **vars(pixels), pixel_height_mm=mm, pixel_width_mm=mm)
        rows.append(replace(row, times=[k / 30 for k in range(len(seen.pictures))]))
    alike = {}
    for spec in (replace(SPEC, size=64), replace(SPEC, size=64, mm=None)):
        clips = ClipDataset(LoopsInMemory(rows), [0, 1], spec)
        one, other = clips.clip(0, 0), clips.clip(1, 0)
        both = ((one > 0) & (other > 0))[0].all(0).numpy()
        alike[spec.mm] = np.corrcoef(walls(one)[both], walls(other)[both])[0, 1]
    assert alike[2.0] > 0.8 > 0.65 > alike[None]


def test_a_loop_without_scale_is_refused_and_not_trained_on(tmp_path: Path) -> None:
    store = LoopStore.create(tmp_path, 0)
    store.append([row_of(0), replace(row_of(1), pixel_height_mm=None, pixel_width_mm=None)])
    with pytest.raises(UserError, match="no millimetres a pixel"):
        ClipDataset(store, [1], SPEC).clip(1, 0)
    assert training_loops(store, SPEC)["row"].to_pylist() == [0]
    assert training_loops(store, replace(SPEC, mm=None))["row"].to_pylist() == [0, 1]


def test_kept_pictures_give_the_same_clips_by_mm(tmp_path: Path) -> None:
    store = made(tmp_path / "data", [0, 1])
    kept = keep_pictures(store, np.array([0, 1]), SPEC, tmp_path / "kept", reduced=True, limit_gb=1)
    for row in (0, 1):
        plain, fast = (ClipDataset(store, [0, 1], SPEC, pictures=p).clip(row, 0) for p in (None, kept))
        assert torch.equal(plain, fast)


def test_an_input_by_picture_says_nothing_of_mm_and_one_by_mm_takes_nothing_else() -> None:
    """So that cards, keys and fingerprints of before stay what they were."""
    assert "mm" not in encode(InputSpec()) and "mm=" not in str(InputSpec()) + repr(InputSpec())
    assert '"mm": 2.0' in encode(SPEC) and "mm=2.0" in str(SPEC)
    for wrong in ({"mm": 0.0}, {"resized": 70}, {"margin": 0.1}, {"interpolation": "area"}):
        with pytest.raises(ValueError, match="mm must be above 0"):
            replace(SPEC, **wrong)
    with pytest.raises(UserError, match="input in millimetres"):
        fitted(SPEC, np.zeros((1, 4, 4), dtype=np.uint8))
