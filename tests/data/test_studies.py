"""Claims about which loops of a study fill which slots."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from echojepa.data.clips.studies import ViewSlot, choose_slots
from echojepa.vocabulary import View

RVSP = (ViewSlot(View.A4C, colour=True), ViewSlot(View.PSAX_AV))


def table(*loops: tuple[str, str | None, bool]) -> pa.Table:
    """Cine loops by (study, view, colour)."""
    names = ("study_id", "view", "colour")
    return pa.Table.from_pylist([dict(zip(names, loop, strict=True), kind="cine") for loop in loops])


def test_a_slot_takes_the_loops_of_its_view_and_colour_and_is_absent_without() -> None:
    chosen = choose_slots(
        table(
            ("s1", "A4C", False), ("s1", "PSAX-AV", False), ("s2", "A4C", True), ("s1", "A4C", True),
            ("s3", "A4C", False), ("s1", "PSAX-AV", True), ("s3", None, True), ("s2", "A4C", True),
        ), RVSP, clips=2,
    )  # fmt: skip
    # s1 and s2: s3 has nothing for either slot
    np.testing.assert_array_equal(chosen, [[[3, 3], [1, 5]], [[2, 7], [-1, -1]]])


def test_stills_and_strips_fill_nothing() -> None:
    loops = table(("s", "A4C", True)).drop_columns("kind")
    assert choose_slots(loops.append_column("kind", [["doppler"]]), RVSP, 1).shape == (0, 2, 1)
    assert choose_slots(loops.append_column("kind", [["still"]]), RVSP, 1).shape == (0, 2, 1)


def test_fewer_loops_than_clips_take_turns_and_more_leave_the_later_ones_out() -> None:
    loops = table(*[("s", "A4C", False)] * 5)
    slots = [ViewSlot(View.A4C)]
    assert choose_slots(loops, slots, 3).tolist() == [[[0, 1, 2]]]
    assert choose_slots(loops.slice(0, 2), slots, 5).tolist() == [[[0, 1, 0, 1, 0]]]


@pytest.mark.parametrize("seed", range(10))
def test_a_loop_serves_one_slot_and_who_states_colour_chooses_first(seed: int) -> None:
    rng = np.random.default_rng(seed)
    loops = table(*[("s", str(rng.choice(["A4C", "A2C"])), bool(rng.random() < 0.5)) for _ in range(6)])
    slots = [ViewSlot(View.A4C), ViewSlot(View.A4C, True), ViewSlot(View.A4C), ViewSlot(View.A2C, False)]
    chosen = choose_slots(loops, slots, 2)
    if not len(chosen):
        return
    used = [set(slot[slot >= 0].tolist()) for slot in chosen[0]]
    assert sum(map(len, used)) == len(set().union(*used))
    coloured = {r for r, loop in enumerate(loops.to_pylist()) if loop["view"] == "A4C" and loop["colour"]}
    assert used[1] == set(sorted(coloured)[:2])
    left = {r for r, loop in enumerate(loops.to_pylist()) if loop["view"] == "A4C"} - used[1]
    assert used[0] == set(sorted(left)[:2])


def test_no_slot_or_no_clip_is_an_error() -> None:
    with pytest.raises(ValueError, match="at least one view slot"):
        choose_slots(table(("s", "A4C", True)), [], 1)
    with pytest.raises(ValueError, match="one clip"):
        choose_slots(table(("s", "A4C", True)), RVSP, 0)
