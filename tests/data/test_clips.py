"""Claims about clips."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from echojepa.config import InputSpec
from echojepa.data.clips.clips import (
    Augment,
    ClipDataset,
    Shift,
    frame_indices,
    latest_start,
    letterbox,
)
from echojepa.data.clips.times import is_short
from echojepa.data.store.loop_store import LoopStore

SPEC = InputSpec(size=48, frames=4, seconds=0.2)


def test_frames_are_chosen_by_time_not_by_number() -> None:
    spec = InputSpec(frames=4, seconds=1.0)
    for rate in (20.0, 40.0):
        times = np.arange(60) / rate
        np.testing.assert_array_equal(frame_indices(times, 0.1, spec) / rate, [0.1, 0.35, 0.6, 0.85])
    uneven = np.array([0.0, 0.1, 0.3, 0.31, 0.9])
    np.testing.assert_array_equal(frame_indices(uneven, 0.0, spec), [0, 2, 3, 4])


def test_a_short_loop_is_played_forwards_and_backwards() -> None:
    times = np.arange(5) * 0.1
    spec = InputSpec(frames=10, seconds=1.0)
    np.testing.assert_array_equal(frame_indices(times, 0.0, spec), [0, 1, 2, 3, 4, 3, 2, 1, 0, 1])
    np.testing.assert_array_equal(frame_indices(np.zeros(1), 0.0, spec), np.zeros(10))
    assert latest_start(times, spec) == 0.0


def test_a_spec_with_a_stride_counts_stored_frames_whatever_their_rate() -> None:
    spec = InputSpec(frames=4, seconds=None, stride=3)
    for rate in (20.0, 50.0):
        times = np.arange(20) / rate
        np.testing.assert_array_equal(frame_indices(times, 2.0, spec), [2, 5, 8, 11])
        assert latest_start(times, spec) == 10.0
    np.testing.assert_array_equal(frame_indices(np.arange(6) / 30, 0.0, spec), [0, 3, 4, 1])


def test_a_clip_that_fits_never_runs_past_the_end() -> None:
    times = np.arange(40) / 30
    spec = InputSpec(frames=8, seconds=1.0)
    indices = frame_indices(times, latest_start(times, spec), spec)
    assert indices[-1] == 39 and (np.diff(indices) > 0).all()


def test_letterboxing_keeps_the_picture_and_its_aspect() -> None:
    frames = np.random.default_rng(0).integers(1, 255, (2, 20, 30), dtype=np.uint8)
    boxed = letterbox(frames)
    assert boxed.shape == (1, 2, 30, 30)
    np.testing.assert_array_equal(boxed[0, :, 5:25], frames)
    assert not boxed[0, :, :5].any() and not boxed[0, :, 25:].any()


def test_the_same_item_is_the_same_clip_and_another_epoch_another(store: LoopStore) -> None:
    dataset = ClipDataset(store, [0, 5], SPEC, augment=Augment(), seed=1)
    copy = pickle.loads(pickle.dumps(dataset))
    clip, row = dataset[(0, 1)]
    assert row == 5 and clip.shape == (3, 4, 48, 48) and clip.dtype == torch.uint8
    assert torch.equal(clip, copy[(0, 1)][0])
    assert not torch.equal(clip, dataset[(1, 1)][0])
    assert not torch.equal(clip, ClipDataset(store, [0, 5], SPEC, augment=Augment(), seed=2)[(0, 1)][0])


def test_evaluation_clips_are_the_whole_picture_evenly_spaced(store: LoopStore) -> None:
    dataset = ClipDataset(store, [2], InputSpec(size=160, frames=2, seconds=0.08), clips_per_loop=2)
    assert len(dataset) == 2 and dataset[0][1] == dataset[1][1] == 2
    assert not torch.equal(dataset[0][0], dataset[1][0])


@pytest.mark.parametrize("seed", range(20))
def test_crops_stay_within_the_picture_and_within_their_ranges(seed: int) -> None:
    top, left, height, width = Augment().crop(200, torch.Generator().manual_seed(seed))
    assert 0 <= top <= 200 - height and 0 <= left <= 200 - width
    assert 0.48 <= height * width / 200**2 <= 1.0
    assert 0.89 <= width / height <= 1.11


def test_a_loop_shorter_than_its_clip_says_so(store: LoopStore) -> None:
    spec = InputSpec(frames=8, seconds=1.0)
    assert is_short(np.arange(19) / 20, spec) and not is_short(np.arange(20) / 20, spec)
    assert is_short(np.zeros(1), spec)
    strided = InputSpec(frames=4, seconds=None, stride=3)
    assert is_short(np.arange(11) / 7, strided) and not is_short(np.arange(12) / 7, strided)
    rows = [1, 4, 6]  # loops of a quarter of a second
    assert all(is_short(store.loop(row).times, spec) for row in rows)
    assert not any(is_short(store.loop(row).times, InputSpec(frames=2, seconds=0.1)) for row in rows)


def test_a_shift_moves_all_frames_alike_and_brings_in_black() -> None:
    pixels = torch.arange(1, 2 * 144 + 1, dtype=torch.uint8).view(1, 2, 12, 12)
    spec = InputSpec(size=12, frames=2, seconds=0.1)
    moves = set()
    for seed in range(60):
        moved = Shift(share=1 / 6)(pixels, spec, torch.Generator().manual_seed(seed))
        fits = [
            (down, right)
            for down in range(-2, 3)
            for right in range(-2, 3)
            if torch.equal(moved, F.pad(pixels, (right, -right, down, -down)))
        ]
        assert len(fits) == 1
        moves.add(fits[0])
    assert len(moves) > 15
