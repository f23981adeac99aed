"""Several loops of one study at once, for probes that read more than one view: V view slots of K clips each.

A slot is filled by the study's cine loops of its view, in the order they came in. The rules:

- A loop serves one view slot. Slots that state colour choose before those that take either, then the first.
- Clip k of a slot is the k-th of K evenly spaced clips of its loop, as `ClipDataset` cuts K clips a loop.
- K loops or more: the first K give a clip each. Fewer: they take turns, so that one loop alone gives all K
  clips, each from another time in it (from the same, where the loop is no longer than a clip).
- No loop: the slot is absent, row -1, and its clips are black.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from echojepa.vocabulary import Kind, View


@dataclass(frozen=True)
class ViewSlot:
    """One view that a probe reads."""

    view: View
    colour: bool | None = None
    """Only colour Doppler loops, only grey ones, or either."""

    def takes(self, view: str | None, colour: bool) -> bool:
        """Whether a loop of this view fits."""
        return view == self.view and self.colour in (None, colour)


def choose_slots(metadata: pa.Table, slots: Sequence[ViewSlot], clips: int) -> NDArray[np.int64]:
    """Fill V slots of K `clips` each, for every study, by the rules above: rows (n, V, K) of the table.

    The n studies are those with a loop for at least one slot, in the order they came in. `metadata` has the
    columns study_id, view, colour and kind of a whole table, in row order. ValueError for no slot or no clip.
    """
    if not slots or clips < 1:
        raise ValueError(f"a study needs at least one view slot and one clip; got {len(slots)} and {clips}")
    wanted = {slot.view for slot in slots}
    columns = (metadata[name].to_pylist() for name in ("study_id", "view", "colour", "kind"))
    studies: dict[str, dict[int, tuple[str, bool]]] = defaultdict(dict)
    for row, (study, view, colour, kind) in enumerate(zip(*columns, strict=True)):
        if kind == Kind.CINE and view in wanted:
            studies[study][row] = (view, colour)
    filled = [fill(loops, slots, clips) for loops in studies.values()]
    rows = np.array(filled, dtype=np.int64).reshape(-1, len(slots), clips)
    return rows[(rows >= 0).any(axis=(1, 2))]


def fill(loops: dict[int, tuple[str, bool]], slots: Sequence[ViewSlot], clips: int) -> NDArray[np.int64]:
    """Rows (V, K) for one study's loops: row to (view, colour)."""
    free = dict(loops)
    rows = np.full((len(slots), clips), -1, dtype=np.int64)
    for number in sorted(range(len(slots)), key=lambda number: slots[number].colour is None):
        fitting = [row for row, facts in free.items() if slots[number].takes(*facts)][:clips]
        for clip in range(clips if fitting else 0):
            row = fitting[clip % len(fitting)]
            rows[number, clip] = row
            free.pop(row, None)
    return rows
