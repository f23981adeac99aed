"""The key of a data set: made once and kept, for another key makes everybody a new person."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from echojepa.data.identity.deidentify import keyed
from echojepa.data.identity.private import IngestError, check_apart, read_file_map, read_key
from echojepa.data.store.facts import FACTS
from echojepa.data.store.loop_store import LoopStore
from echojepa.files.tables import compute

OTHER = (
    "the key {key} is not the one that the data set {out} was made with: with it every patient in it would "
    "come in again as another person. Give the first key, or a new folder"
)


def fingerprint(key: bytes) -> str:
    """20 hexadecimal digits that tell a key and give nothing of it away."""
    return keyed(key, "key", "fingerprint")[:20]


def key_for(path: Path, out: Path) -> bytes:
    """The key for a data set: made where there is neither yet.

    Raises IngestError where the data set has another key, and where it has one and `path` does not exist.
    """
    check_apart(path, out)
    store = LoopStore.open(out) if LoopStore(out).location.exists(FACTS) else None
    made_before = store is not None and (store.key_fingerprint is not None or store.table.count_rows() > 0)
    if made_before and not path.exists():
        raise IngestError(
            f"the key {path} does not exist, and the data set {out} was made with a key. With a new key "
            "every patient would count as a new person. Give the first key, or a new folder"
        )
    key = read_key(path, out)
    if store is not None and made_before and not is_key_of(store, key, path):
        raise IngestError(OTHER.format(key=path, out=out))
    return key


def is_key_of(store: LoopStore, key: bytes, path: Path) -> bool:
    """Whether a data set's ids were made with this key; one of version 1, which does not say so, is asked
    whether the private map beside the key knows one of its files."""
    stated = store.key_fingerprint
    if stated is not None:
        return stated == fingerprint(key)
    known = pa.array([file_id for file_id, _ in read_file_map(path)], pa.string())
    inside = (piece["file_id"] for piece in store.batches(["file_id"]))
    return not store.table.count_rows() or any(
        compute.any(compute.is_in(ids, known)).as_py() for ids in inside
    )


def remember_key(store: LoopStore, key: bytes, path: Path) -> None:
    """State the key in the data set; IngestError where another ingest has stated another in between."""
    with store.lock():
        if store.key_fingerprint not in (None, fingerprint(key)):
            raise IngestError(OTHER.format(key=path, out=store.root))
        store.remember_key(fingerprint(key))
