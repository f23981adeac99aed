"""Decoded pictures of small data sets, kept in a file that is read through memory.

A step of a small model takes less time than decoding its clips. `PICTURES-KEY.u8` holds the pictures of the
loops of a run one after another, letterboxed and reduced to the side that clips are cut from, as plain bytes;
`PICTURES-KEY.parquet`, written last, says where each loop lies and when its frames are. The key is of loops,
pixels and side: other loops are other files. Readers of all processes share the system's one copy in memory.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from echojepa.config import InputSpec
from echojepa.data.clips.scale import at_scale
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import ConfigError, UserError
from echojepa.files.durable import write_file
from echojepa.files.tables import write_parquet
from echojepa.models.contract import resize
from echojepa.progress import Progress, quiet

UNREADABLE = (OSError, UserError, ValueError, RuntimeError)
"""What reading a loop that is not there or is damaged can raise."""


def letterbox(frames: NDArray[np.uint8]) -> Tensor:
    """(T, H, W) or (T, H, W, 3) -> (3 or 1, T, S, S), black beside or above, aspect kept."""
    pixels = torch.from_numpy(np.ascontiguousarray(frames))
    pixels = pixels.unsqueeze(0) if pixels.ndim == 3 else pixels.permute(3, 0, 1, 2)
    height, width = pixels.shape[-2:]
    side = max(height, width)
    left, top = (side - width) // 2, (side - height) // 2
    return F.pad(pixels, (left, side - width - left, top, side - height - top))


@dataclass(frozen=True)
class Kept:
    """A loop's pictures."""

    pixels: Tensor
    """(3 or 1, T, S, S) uint8."""
    times: NDArray[np.float64]
    """(T,) seconds since the first frame."""


class Pictures:
    """The kept pictures of some rows. Picklable: another process opens the same file."""

    def __init__(self, path: Path) -> None:
        """`path` without its suffix."""
        self.path = path
        index = pq.read_table(path.with_suffix(".parquet"))
        self.places = dict(zip(index["row"].to_pylist(), range(len(index)), strict=True))
        self.starts = index["start"].to_numpy()
        self.shapes = np.stack([index[name].to_numpy() for name in ("channels", "frames", "side", "side")], 1)
        self.times = index["times"]
        file = path.with_suffix(".u8")
        size = file.stat().st_size
        self.bytes = torch.from_file(str(file), shared=False, size=size, dtype=torch.uint8)

    def __reduce__(self) -> tuple[Callable[[Path], Pictures], tuple[Path]]:
        return Pictures, (self.path,)

    def loop(self, row: int) -> Kept | None:
        """A row's pictures; None for one that could not be decoded, which the store will say again."""
        place = self.places.get(row)
        if place is None:
            return None
        start, shape = int(self.starts[place]), [int(n) for n in self.shapes[place]]
        pixels = self.bytes[start : start + int(np.prod(shape))].view(shape)
        return Kept(pixels, np.array(self.times[place].values))


def side_of(spec: InputSpec, reduced: bool) -> int | None:
    """Side that pictures are reduced to: what the input is resized to, or none where crops are resized. By mm
    they have the input's size."""
    if spec.mm is not None:
        return spec.size
    return (spec.resized or spec.size) if reduced else None


def key_of(store: LoopStore, rows: NDArray[np.int64], spec: InputSpec, side: int | None) -> str:
    """A name for the pictures of these rows: equal for equal rows, pixels, side and way to resize."""
    facts = store.metadata(["loop_id", "pixel_sha256", "encoding"]).take(rows)
    shown = side if spec.mm is None else (side, spec.mm)
    known: Any = (shown, spec.interpolation if side else "", rows.tolist(), *facts.to_pydict().values())
    return hashlib.sha256(repr(known).encode()).hexdigest()[:16]


def bytes_needed(store: LoopStore, rows: NDArray[np.int64], side: int | None) -> int:
    """Memory for the pictures of these rows."""
    total, row, wanted = 0, 0, {int(row) for row in rows}
    for batch in store.batches(["times", "height", "width", "colour"]):
        columns = (batch[name].to_pylist() for name in ("height", "width", "colour"))
        for times, height, width, colour in zip(batch["times"], *columns, strict=True):
            if row in wanted:
                total += len(times.values) * (side or max(height, width)) ** 2 * (3 if colour else 1)
            row += 1
    return total


def keep_pictures(
    store: LoopStore,
    rows: NDArray[np.int64],
    spec: InputSpec,
    folder: Path,
    *,
    reduced: bool,
    limit_gb: float,
    progress: Progress = quiet,
) -> Pictures:
    """The pictures of some rows, decoded now unless the folder has them; ConfigError beyond `limit_gb`.

    `reduced` to the input's own size, for clips that are only shifted; else at the size they are stored in.
    """
    side = side_of(spec, reduced)
    path = folder / f"pictures-{key_of(store, rows, spec, side)}"
    if path.with_suffix(".parquet").exists():
        return Pictures(path)
    needed = bytes_needed(store, rows, side) / 1e9
    if needed > limit_gb:
        raise ConfigError(
            f"the decoded images of {len(rows)} loops need {needed:.1f} GB, and pictures_gb is "
            f"{limit_gb}. Raise it, choose --augment shift (images have the input's size), or leave "
            "--pictures out"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_pictures(store, rows, spec, side, path, progress)
    return Pictures(path)


def write_pictures(
    store: LoopStore,
    rows: Sequence[int] | NDArray[np.int64],
    spec: InputSpec,
    side: int | None,
    path: Path,
    progress: Progress,
) -> None:
    """Decode rows into a file; its index is written once all of it is there."""
    index: list[dict[str, Any]] = []

    def fill(partial: Path) -> None:
        with partial.open("wb") as file:
            for number, row in enumerate(map(int, rows)):
                try:
                    loop = at_scale(store.loop(row), spec)
                    pixels = letterbox(loop.frames())
                except UNREADABLE:
                    continue  # read from the store when its turn comes, which names it in the run's record
                if side and pixels.shape[-1] != side:
                    pixels = resize(pixels, side, spec.interpolation)
                whole = dict(zip(WHOLE_NUMBERS, (row, file.tell(), *pixels.shape[:3]), strict=True))
                index.append({**whole, "times": loop.times.tolist()})
                file.write(pixels.contiguous().numpy().tobytes())
                progress(number + 1, len(rows))

    write_file(path.with_suffix(".u8"), fill)
    write_parquet(path.with_suffix(".parquet"), pa.Table.from_pylist(index, schema=INDEX))


WHOLE_NUMBERS = ("row", "start", "channels", "frames", "side")
INDEX = pa.schema([*((name, pa.int64()) for name in WHOLE_NUMBERS), ("times", pa.list_(pa.float64()))])
