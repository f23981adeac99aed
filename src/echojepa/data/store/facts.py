"""`dataset.json`: a data set's format, the seed of its splits, and which key its ids were made with."""

from __future__ import annotations

import json
from typing import Any

from echojepa.data.store.location import Location
from echojepa.errors import UserError
from echojepa.files.records import encode

FORMAT_VERSION = 2
READABLE = (1, 2)
"""Versions that this package opens. 2 added `key_fingerprint`, `moves` and `links.parquet`."""
FACTS = "dataset.json"


class StoreError(UserError):
    """A folder is no data set, or one of another format, or it is damaged, or cannot be written."""


def read_facts(place: Location) -> dict[str, Any]:
    """The content of `dataset.json`; StoreError where there is none or it is damaged."""
    try:
        facts = json.loads(place.read(FACTS))
    except OSError as error:
        raise StoreError(
            f"{place} is not a data set (no dataset.json); make one with `echojepa ingest`"
        ) from error
    except ValueError as error:
        raise StoreError(damaged_facts(place)) from error
    if not isinstance(facts, dict):
        raise StoreError(damaged_facts(place))
    return facts


def write_facts(place: Location, facts: dict[str, Any]) -> None:
    """Replace `dataset.json`."""
    place.replace(FACTS, encode(facts).encode())


def check_version(place: Location) -> None:
    """StoreError unless a data set lies there whose format this package reads."""
    version = read_facts(place).get("format_version")
    if version is None:
        raise StoreError(damaged_facts(place))
    if version not in READABLE:
        known = " and ".join(map(str, READABLE))
        raise StoreError(f"{place} has format version {version}; this package reads {known}")


def damaged_facts(place: Location) -> str:
    """What is wrong, and what to do."""
    return (
        f"{place.child(FACTS)} is damaged; write it again with its format_version ({FORMAT_VERSION}) and "
        "split_seed"
    )
