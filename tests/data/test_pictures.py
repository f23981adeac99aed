"""Claims about decoded pictures that are kept."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from echojepa.config import ConfigError, InputSpec
from echojepa.data.clips import pictures as module
from echojepa.data.clips.clips import AUGMENTATIONS, ClipDataset
from echojepa.data.clips.pictures import keep_pictures
from echojepa.data.store.loop_store import LoopStore
from echojepa.data.store.rows import DamagedLoop

SPEC = InputSpec(size=48, frames=4, seconds=0.2)
ROWS = np.array([1, 4, 6, 9])


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_clips_of_kept_pictures_are_those_of_the_store_to_the_bit(
    store: LoopStore, tmp_path: Path, augment: str
) -> None:
    kept = keep_pictures(store, ROWS, SPEC, tmp_path, reduced=augment == "shift", limit_gb=1.0)
    plain = ClipDataset(store, ROWS, SPEC, augment=AUGMENTATIONS[augment], seed=3)
    fast = ClipDataset(store, ROWS, SPEC, augment=AUGMENTATIONS[augment], seed=3, pictures=kept)
    copy = pickle.loads(pickle.dumps(fast))
    for item in [(epoch, loop) for epoch in range(3) for loop in range(4)]:
        assert torch.equal(fast[item][0], plain[item][0]) and torch.equal(copy[item][0], plain[item][0])
    assert torch.equal(
        ClipDataset(store, ROWS, SPEC, pictures=kept)[2][0], ClipDataset(store, ROWS, SPEC)[2][0]
    )


def test_the_same_loops_are_decoded_once_and_others_again(
    store: LoopStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def keep(rows: np.ndarray, spec: InputSpec = SPEC) -> None:
        keep_pictures(store, rows, spec, tmp_path, reduced=True, limit_gb=1.0)

    keep(ROWS)
    decoded = []
    monkeypatch.setattr(module, "write_pictures", lambda *given: decoded.append(given) or 1 / 0)
    keep(ROWS)
    assert not decoded
    for rows, spec in (
        (ROWS[:2], SPEC),
        (ROWS[::-1], SPEC),
        (ROWS, InputSpec(size=32, frames=4, seconds=0.2)),
    ):
        with pytest.raises(ZeroDivisionError):
            keep(rows, spec)


def test_a_set_beyond_the_stated_memory_is_refused_before_anything_is_decoded(
    store: LoopStore, tmp_path: Path
) -> None:
    with pytest.raises(ConfigError, match=r"need 0.0 GB, and pictures_gb is 1e-06.*--augment shift"):
        keep_pictures(store, ROWS, SPEC, tmp_path, reduced=True, limit_gb=1e-6)
    assert not [*tmp_path.iterdir()]


def test_a_loop_that_cannot_be_decoded_is_named_when_its_turn_comes(
    store: LoopStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = LoopStore.loop

    def damaged(self: LoopStore, row: int) -> object:
        if row == 4:
            raise DamagedLoop("gone")
        return whole(self, row)

    monkeypatch.setattr(LoopStore, "loop", damaged)
    kept = keep_pictures(store, ROWS, SPEC, tmp_path, reduced=True, limit_gb=1.0)
    dataset = ClipDataset(store, ROWS, SPEC, pictures=kept)
    assert dataset[0][1] == 1
    with pytest.raises(DamagedLoop, match="gone"):
        dataset[1]
