"""What the listener did, a line of JSON for each step; nothing in it names anybody."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

Fact = int | float | str


class Audit:
    """Appends lines to a file. Facts are counts, seconds, words of ours and a study's number, never an
    attribute of a file, a UID, an AE title or an address."""

    def __init__(self, path: Path, tell: Callable[[str], None]) -> None:
        self._path, self._tell = path, tell
        self._lock = threading.Lock()
        self._missed = 0

    def __call__(self, step: str, **facts: Fact) -> None:
        """Write one step and tell it. A line that cannot be written stops nothing: the next says how many
        are missing."""
        with self._lock:
            missed: dict[str, Fact] = {"lines_missing": self._missed} if self._missed else {}
            time = datetime.now(UTC).isoformat(timespec="milliseconds")
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"time": time, "step": step, **facts, **missed}) + "\n")
                self._missed = 0
            except OSError:
                self._missed += 1
        with suppress(OSError):  # a terminal that is gone
            self._tell(" ".join([step, *(f"{name}={value}" for name, value in facts.items())]))
