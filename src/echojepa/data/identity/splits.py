"""Patient-level splits: a function of (seed, patient ordinal), stable when patients are appended."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from echojepa.errors import UserError
from echojepa.randomness import derive_seed
from echojepa.vocabulary import Split

BLOCK = (Split.TRAIN,) * 14 + (Split.VAL,) * 3 + (Split.TEST,) * 3
"""Every twenty patients in a row are shared out like this, in an order of their own."""


class LeakageError(UserError):
    """One patient stands in two splits."""


def assign_split(seed: int, patient_ordinal: int) -> Split:
    """The split of the n-th patient of a data set."""
    block, place = divmod(patient_ordinal, len(BLOCK))
    order = np.random.default_rng(derive_seed(seed, "split", block)).permutation(len(BLOCK))
    return BLOCK[int(order[place])]


def check_no_leakage(patients: Iterable[str], splits: Iterable[str]) -> None:
    """Raise LeakageError naming the pseudonyms of patients with more than one split."""
    seen: dict[str, str] = {}
    leaked = {p for p, split in zip(patients, splits, strict=True) if seen.setdefault(p, split) != split}
    if leaked:
        raise LeakageError(
            f"{len(leaked)} patients are in two splits, e.g. {sorted(leaked)[:3]}; ingest again"
        )
