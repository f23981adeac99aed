"""The run's folder as a record: its config, its metrics, and what went wrong, each a file of plain text.

`metrics.jsonl` has a line a step and nothing else; a resumed run cuts it back to its checkpoint, so that in
the end it is that of an undisturbed run (but for the seconds). `events.jsonl` is never cut.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

from echojepa.config import ConfigError, PretrainConfig
from echojepa.files.durable import flush, write_text
from echojepa.files.records import entry, keep_record, read_plain, write_record

METRICS, EVENTS, DATA = "metrics.jsonl", "events.jsonl", "data.json"


FREE = {
    "data", "out", "workers", "microbatch", "parallel", "recompute", "checkpoint_every", "faults", "pictures",
    "pictures_gb",
}  # fmt: skip
"""Settings that say how a run is run and not what comes out of it: they may change when it goes on. What the
data are is in DATA."""


def open_run(config: PretrainConfig, fingerprint: str, begun: bool) -> None:
    """Make the run folder, or make sure that the one there is of this very run.

    Raises ConfigError for a run with other settings; those that do not decide the outcome may change. A data
    set is known by its fingerprint, wherever it lies; of a run of before, which kept none, by its place.
    Until a run has `begun`, with a first checkpoint, another data set may take the place of one given by
    mistake.
    """
    config.out.mkdir(parents=True, exist_ok=True)
    path, mark = config.out / "config.json", config.out / DATA
    if begun and path.exists():
        if mark.exists():
            same = read_plain(mark).get("fingerprint") == fingerprint
        else:
            same = Path(entry(read_plain(path), "data", str, path)).resolve() == config.data.resolve()
        if not same:
            raise ConfigError(
                f"{config.out} holds a run on other data than {config.data}; give another --out, or the "
                "run's original data set"
            )
    keep_record(path, config, "run", FREE)
    write_record(mark, {"fingerprint": fingerprint})


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a file of steps in JSON, none without a file; half and damaged ones are left out."""
    if not path.exists():
        return []
    found = []
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]:
        with suppress(ValueError):
            entries = json.loads(line)
            if isinstance(entries, dict) and type(entries.get("step")) is int:
                found.append(entries)
    return found


class Journal:
    """Writes the record of a run; on other ranks than the first it only keeps it in memory."""

    def __init__(self, run: Path, writes: bool) -> None:
        self.run, self.writes = run, writes
        self.lines: list[dict[str, Any]] = []

    def cut(self, step: int) -> None:
        """Take the metrics up to `step`, not included, as they stand in the file; an event where some are
        gone."""
        path = self.run / METRICS
        known = {line["step"]: line for line in read_lines(path) if 0 <= line["step"] < step}
        self.lines = [known[number] for number in sorted(known)]
        if len(known) < step:
            reason = (
                f"{METRICS} lacks {step - len(known)} of {step} steps; the run continues without their lines"
            )
            self.event(step, "damaged metrics", reason)
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
