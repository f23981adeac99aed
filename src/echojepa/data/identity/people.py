"""Who is one person: patients, studies and other ids that files have tied to each other.

The rule is conservative: two people taken for one cost statistical power, one taken for two leaks between
splits. So a PatientID alone says who a person is, with whatever issuer or none; patients who share a study
(an id that was corrected) are one person; so are those that a file names beside its own
(OtherPatientIDsSequence), and those of one and the same recording. What is tied stays tied.
"""

from __future__ import annotations

from collections.abc import Iterable

from echojepa.vocabulary import Split

GUARDED = (Split.TEST, Split.VAL, Split.TRAIN)
"""People with several splits belong to the first of these: nothing trained on moves into a test."""


def most_guarded(splits: Iterable[str]) -> Split | None:
    """Of several splits the most guarded; None where there is none."""
    there = set(splits)
    return next((split for split in GUARDED if split in there), None)


class People:
    """Groups of ids, and the splits of the patients in them; groups only grow."""

    def __init__(self) -> None:
        self._parents: dict[str, str] = {}
        self._splits: dict[str, dict[str, str]] = {}

    def group(self, one: str) -> str:
        """The id that stands for the group of an id."""
        root = one
        while (above := self._parents.get(root, root)) != root:
            root = above
        while (above := self._parents.get(one, one)) != root:
            self._parents[one], one = root, above
        return root

    def tie(self, ids: Iterable[str]) -> None:
        """Ids of one person."""
        first, *others = ids
        for other in others:
            small, large = self.group(first), self.group(other)
            if small == large:
                continue
            if len(self._splits.get(small, ())) > len(self._splits.get(large, ())):
                small, large = large, small
            self._parents[small] = large
            self._splits.setdefault(large, {}).update(self._splits.pop(small, {}))

    def place(self, patient: str, split: str) -> None:
        """A patient stands in a split."""
        self._splits.setdefault(self.group(patient), {})[patient] = split

    def splits(self, one: str) -> dict[str, str]:
        """The patients of an id's group that stand in a split, and which."""
        return self._splits.get(self.group(one), {})
