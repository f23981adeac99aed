"""The run's folder as a record: its config, its metrics, and what went wrong, each a file of plain text.

`metrics.jsonl` has a line a step and nothing else; a resumed run cuts it back to its checkpoint, so that in
the end it is that of an undisturbed run (but for the seconds). `events.jsonl` is never cut.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from echojepa.config import PretrainConfig
from echojepa.files.durable import flush, write_text
from echojepa.files.records import keep_record

METRICS, EVENTS = "metrics.jsonl", "events.jsonl"


FREE = {
    "out", "workers", "microbatch", "parallel", "recompute", "checkpoint_every", "faults", "pictures",
    "pictures_gb",
}  # fmt: skip
"""Settings that say how a run is run and not what comes out of it: they may change when it goes on."""


def open_run(config: PretrainConfig) -> None:
    """Make the run folder, or make sure that the one there is of this very run.

    Raises ConfigError for a run with other settings; those that do not decide the outcome may change.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    keep_record(config.out / "config.json", config, "run", FREE)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The whole lines of a file of JSON lines, empty where there is none; a last half line is left out."""
    if not path.exists():
        return []
    whole = path.read_text(encoding="utf-8").split("\n")[:-1]
    return [json.loads(line) for line in whole]


class Journal:
    """Writes the record of a run; on other ranks than the first it only keeps it in memory."""

    def __init__(self, run: Path, writes: bool) -> None:
        self.run, self.writes = run, writes
        self.lines: list[dict[str, Any]] = []

    def cut(self, step: int) -> None:
        """Take the metrics up to `step`, not included, as they stand in the file."""
        path = self.run / METRICS
        self.lines = [line for line in read_lines(path) if line["step"] < step]
        if self.writes:
            write_text(path, "".join(json.dumps(line) + "\n" for line in self.lines))

    def step(self, line: dict[str, Any]) -> None:
        """Write a step's metrics."""
        self.lines.append(line)
        self._append(METRICS, line)

    def event(self, step: int, kind: str, reason: str) -> None:
        """Write down what went wrong, or was done about it."""
        self._append(EVENTS, {"step": step, "event": kind, "reason": reason})

    def settle(self) -> None:
        """Have the metrics on the disk: a checkpoint must not be ahead of them."""
        if self.writes:
            flush(self.run / METRICS)

    def _append(self, name: str, line: dict[str, Any]) -> None:
        if self.writes:
            with (self.run / name).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
