"""DICOM attributes of files that may be damaged: a value, or that there is none."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

import pydicom
from pydicom.dataset import Dataset
from pydicom.errors import BytesLengthException

from echojepa.data.reading.rejection import Rejected
from echojepa.vocabulary import Reason

VALUE_ERRORS = (
    ValueError, AttributeError, NotImplementedError, EOFError, IndexError, KeyError, TypeError, OverflowError,
    RecursionError, BytesLengthException, struct.error,
)  # fmt: skip
"""What pydicom raises on damaged headers and values."""


def value(data: Dataset, name: str) -> Any:
    """An optional attribute; None where it is absent or its bytes are no value of its kind."""
    try:
        return data.get(name)
    except VALUE_ERRORS:
        return None


def identifier(data: Dataset, name: str) -> str:
    """An attribute that says whose or which; one that does not parse costs the file, since its patient
    could end in two splits."""
    try:
        return str(data.get(name) or "").strip()
    except VALUE_ERRORS:
        raise Rejected(Reason.TRUNCATED, f"its {name} cannot be read") from None


def within(stated: Any, limits: tuple[float, float]) -> float | None:
    """The value as a float where it is a number within limits."""
    try:
        number = float(stated)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if limits[0] <= number <= limits[1] else None


def items(data: Dataset, name: str) -> Sequence[Dataset]:
    """Items of a sequence, or none."""
    found = value(data, name)
    return found if isinstance(found, pydicom.Sequence) else ()


def day(data: Dataset, name: str) -> date | None:
    """A date; None where it is absent or none."""
    try:
        return datetime.strptime(str(value(data, name)).strip(), "%Y%m%d").date()
    except ValueError:
        return None
