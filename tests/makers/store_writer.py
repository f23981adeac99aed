"""Small loops and a process that writes them, apart from the tests so that it starts fast.

`python store_writer.py ROOT FIRST LAST` commits loops one by one and says each when it is in;
`python store_writer.py ROOT full` fills the disk up.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from echojepa.data.store.encoding import Encoding
from echojepa.data.store.loop_store import LoopStore, StoreError
from echojepa.data.store.rows import StoredLoop, encode_loop

MASK = np.tri(45, 61, k=10, dtype=bool)


def pictures(number: int, colour: bool = False) -> NDArray[np.uint8]:
    """Five smooth frames that move, black outside the mask."""
    y, x = np.mgrid[:45, :61]
    waves = [128 + 100 * np.sin((x + number) / 7 + t) * np.cos(y / 9 - t / 2) for t in range(5)]
    frames = np.stack(waves).clip(0, 255).astype(np.uint8) * MASK
    return np.stack([frames, frames // 2, 255 - frames], axis=-1) * MASK[..., None] if colour else frames


def row_of(
    number: int, encoding: Encoding = Encoding.JPEG, colour: bool = False, copies: int = 1
) -> StoredLoop:
    frames = np.tile(pictures(number, colour), (copies, 1, 1, *([1] * colour)))
    identity = hashlib.sha256(str(number).encode()).hexdigest()[:20]
    return StoredLoop(
        **vars(encode_loop(frames, MASK, encoding)),
        loop_id=identity, file_id=identity, study_id=identity, patient_id=identity, patient_ordinal=number,
        split="train", site="here", view="A4C", kind="cine", times=[k / 30 for k in range(len(frames))],
        frame_rate=30.0, time_source="FrameTime", time_warning="", pixel_height_mm=0.5, pixel_width_mm=0.5,
        heart_rate=None, sex=None, age=None, study_date=None, manufacturer="other",
    )  # fmt: skip


def made(root: Path, *commits: Sequence[int]) -> LoopStore:
    store = LoopStore.create(root, 0)
    for numbers in commits:
        store.append([row_of(number) for number in numbers])
    return store


def fill_up(root: Path) -> None:
    """Append until the disk is full: it is said, and all that was in stays."""
    store = made(root, [0, 1])
    before = {path.name for path in (root / "loops.lance/_versions").iterdir()}
    try:
        store.append([row_of(number) for number in range(2, 402)])
    except StoreError as error:
        assert "is full; make room and run again" in str(error), error
    else:
        raise AssertionError("the disk was not full")
    assert {path.name for path in (root / "loops.lance/_versions").iterdir()} == before
    store = LoopStore.open(root)
    assert store.metadata(["patient_ordinal"])["patient_ordinal"].to_pylist() == [0, 1]
    assert np.abs(store.frames(1).astype(int) - pictures(1)).mean() < 1.5


def main() -> None:
    """See the module."""
    root = Path(sys.argv[1])
    if sys.argv[2] == "full":
        return fill_up(root)
    store = LoopStore.create(root, 0)
    print("ready", flush=True)
    for number in range(int(sys.argv[2]), int(sys.argv[3])):
        store.append([row_of(number, copies=40)])
        print(number, flush=True)
    return None


if __name__ == "__main__":
    main()
