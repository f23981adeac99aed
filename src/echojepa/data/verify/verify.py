"""Whether a data set would spoil a result: every check of rows on all loops, of pixels on a sample."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from echojepa.data.store.loop_store import HEAVY, SCHEMA, LoopStore
from echojepa.data.verify.loop_checks import PIXEL_CHECKS, ROW_CHECKS, Check, Look, Severity, inspect, shown
from echojepa.data.verify.set_check import SetCheck
from echojepa.data.verify.set_checks import SET_CHECKS
from echojepa.progress import Progress
from echojepa.vocabulary import Kind

ROW_COLUMNS = [name for name in SCHEMA.names if name not in HEAVY or name == "times"]
ROWS_AT_ONCE = 1024
NEAR_BITS = 64
"""Cines whose fingerprints differ in no more bits than this, of 1024, are nearly the same. On phantom loops a
copy (JPEG of quality 40, brightened, smaller, one frame less; of 120 loops) differs in at most 52, the likest
two of 450 loops of 150 patients in 85."""
MOST_COMPARED = 10_000
"""Loops compared with each other at most: some seconds of work, and 40 MB."""
EXAMPLES = 3


@dataclass(frozen=True)
class Finding:
    """What one check found; `count` is 0 where all is well."""

    check: str
    severity: Severity
    count: int
    looked_at: int
    detail: str
    """A sentence, with pseudonyms as its only examples."""
    advice: str
    """What to do about it."""

    @property
    def verdict(self) -> str:
        """ok, warning or error."""
        return self.severity if self.count else "ok"


@dataclass
class Tally:
    """Counts what fails, and keeps a few examples."""

    looked_at: int = 0
    count: int = 0
    examples: list[str] = field(default_factory=list)
    more: bool = False
    """Whether there are others than the examples."""

    def add(self, failed: bool, example: str) -> None:
        """Take one more into account."""
        self.looked_at += 1
        if failed:
            self.count += 1
            self.more = len(self.examples) == EXAMPLES
            self.examples += [] if self.more else [example]

    def finding(self, name: str, severity: Severity, things: str, advice: str) -> Finding:
        """The tally as a finding."""
        detail = f"{self.count} of {self.looked_at} {things}"
        if self.examples:
            detail += f": {', '.join(self.examples)}{', ...' if self.more else ''}"
        return Finding(name, severity, self.count, self.looked_at, detail, advice)


def read_rows(store: LoopStore) -> Iterator[dict[str, Any]]:
    """Every row without its pixels, in order; few are in memory at a time."""
    for batch in store.batches(ROW_COLUMNS, ROWS_AT_ONCE):
        yield from batch.to_pylist()


def evenly_spaced(total: int, wanted: int) -> Collection[int]:
    """`wanted` numbers below `total`, first and last among them; 0 wants all."""
    if wanted == 0 or wanted >= total:
        return range(total)
    return set(np.linspace(0, total - 1, wanted).round().astype(int).tolist())


class Fingerprints:
    """Compares cine loops of different patients, each with each."""

    def __init__(self, total: int) -> None:
        self._chosen = evenly_spaced(total, MOST_COMPARED)
        self._seen = 0
        self._loops: list[tuple[str, str, NDArray[np.bool_]]] = []

    def add(self, look: Look) -> None:
        """Keep a loop's fingerprint; black, damaged and still pictures have none worth comparing."""
        if self._seen in self._chosen and look.row["kind"] == Kind.CINE and look.fingerprint.any():
            self._loops.append((look.row["loop_id"], look.row["patient_id"], look.fingerprint))
        self._seen += 1

    def tally(self) -> Tally:
        """Loops that are nearly a loop of another patient."""
        tally = Tally()
        if not self._loops:
            return tally
        signs = np.where(np.stack([bits for *_, bits in self._loops]), np.float32(1), np.float32(-1))
        patients = np.unique([str(patient) for _, patient, _ in self._loops], return_inverse=True)[1]
        for begin in range(0, len(signs), ROWS_AT_ONCE):
            part = slice(begin, begin + ROWS_AT_ONCE)
            differing = (signs.shape[1] - signs[part] @ signs.T) / 2
            differing[patients[part][:, None] == patients] = np.inf
            for number, nearest in enumerate(differing.argmin(axis=1), start=begin):
                bits = differing[number - begin, nearest]
                mine, theirs = shown(self._loops[number][0]), shown(self._loops[nearest][0])
                tally.add(bool(bits <= NEAR_BITS), f"{mine} and {theirs} ({bits:.0f} bits)")
        return tally


NEAR_DUPLICATES: tuple[str, Severity, str, str] = (
    "nearly the same cine under two patients", "warning", "cines compared",
    "perhaps one person with two ids, or a copy; check these pairs, and leave copies out",
)  # fmt: skip


def take(checks: Sequence[tuple[Check[Any], Tally]], subject: Any, loop_id: str) -> None:
    """Put one loop to every check."""
    for check, tally in checks:
        tally.add(check.fails(subject), f"loop {shown(loop_id)}")


def verify(store: LoopStore, pixels: int, progress: Progress) -> tuple[Finding, ...]:
    """Run every check; calls progress(done, total) over the loops whose pixels are looked at.

    Rows are all read; pixels are decoded of `pixels` evenly spaced loops (0: of all), one loop at a time.
    """
    total = store.table.count_rows()
    sample = evenly_spaced(total, pixels)
    of_rows = [(check, Tally()) for check in ROW_CHECKS]
    of_pixels = [(check, Tally()) for check in PIXEL_CHECKS]
    prints = Fingerprints(len(sample))
    done = 0
    for number, row in enumerate(read_rows(store)):
        take(of_rows, row, row["loop_id"])
        if number in sample:
            look = inspect(store, number, row)
            take(of_pixels, look, row["loop_id"])
            prints.add(look)
            done += 1
            progress(done, len(sample))
    findings = [whole_set(store, check) for check in SET_CHECKS]
    findings.append(prints.tally().finding(*NEAR_DUPLICATES))
    for check, tally in (*of_rows, *of_pixels):
        findings.append(tally.finding(check.name, check.severity, "loops", check.advice))
    return tuple(findings)


def whole_set(store: LoopStore, check: SetCheck) -> Finding:
    """One check of the whole set."""
    found = check.find(store)
    examples = list(dict.fromkeys(found.faults))
    tally = Tally(found.looked_at, len(found.faults), examples[:EXAMPLES], len(examples) > EXAMPLES)
    return tally.finding(check.name, check.severity, found.things, check.advice)
