"""CPU seconds of a process and of all that it starts, for benchmarks of commands with workers (Linux)."""

from __future__ import annotations

import os
from collections.abc import Collection
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def family_seconds(root: int, known: Collection[int]) -> dict[int, float]:
    """CPU seconds so far of `root`, its descendants, and those of `known` that still run, by process: a
    descendant whose parent has ended belongs to nobody that could be followed."""
    parents, spent = dict[int, int](), dict[int, float]()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            own = int(entry.name)
            parents[own], spent[own] = int(fields[1]), (int(fields[11]) + int(fields[12])) / TICK
    family = {root, *known}
    while more := {child for child, parent in parents.items() if parent in family} - family:
        family |= more
    return {own: spent[own] for own in family & spent.keys()}
