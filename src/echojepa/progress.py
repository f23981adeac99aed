"""What is told about long work."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Whoever watches."""

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """`done` of `total`, and what is being done."""
        ...


def quiet(done: int, total: int, note: str = "") -> None:
    """Progress that nobody watches."""
