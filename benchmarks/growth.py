"""How ingest, embed, evaluate and predict grow with loops: CPU seconds, wall seconds and memory.

    .venv/bin/python benchmarks/growth.py --work DIR --out growth.jsonl --picture docs/images/growth.png
    taskset -c 0,1 .venv/bin/python benchmarks/growth.py --work DIR --out two.jsonl --workers 1 2 --sizes 1000
    .venv/bin/python benchmarks/growth.py --work DIR --out growth.jsonl --small --sizes 1000 10000 100000

A few synthetic loops are rendered once and copied under new identifiers, with a grain of noise in the first
frame that makes each file's content its own. So a thousand loops cost what a thousand files cost, and
rendering costs nothing. Each command is a process of its own, as a user starts it; CPU seconds and peak
memory are those of all its processes together, sampled every second (memory: proportional set size).
`--small` ingests files of a tenth of a second, 15 kB each, so that a hundred thousand are possible. What
`--out` has is not measured again. The last line has, for each command, the CPU seconds of a further loop
between the two largest sizes over those between the two before, and the same of memory.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from family import family_seconds
from matplotlib.figure import Figure
from PIL import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import generate_uid

ECHOJEPA = [sys.executable, "-m", "echojepa"]
SIZES = {
    "ingest": (100, 1000, 10000), "embed": (100, 1000, 10000), "evaluate": (100, 1000, 10000),
    "predict": (100, 1000, 5000), "ingest small": (1000, 10000, 100000),
}  # fmt: skip
"""Loops that each command is measured on."""


def archive(work: Path, loops: int, small: bool) -> Path:
    """A folder of DICOM files, one for each loop, and `labels.csv`; made once."""
    name = "small-" if small else ""
    folder, base = work / f"{name}archive-{loops}", work / f"{name}base"
    if (folder / "labels.csv").exists():
        return folder
    if not base.exists():
        length = ["--preset", "tiny", "--seconds", "0.1"] if small else ["--preset", "demo", "--seconds", "1"]
        kind = [*length, "--layout", "archive", "--patients", "3"]
        subprocess.run([*ECHOJEPA, "simulate", *kind, "--workers", "1", "--out", str(base)], check=True)
    sources = [pydicom.dcmread(path) for path in sorted(base.rglob("*.dcm"))]
    with (base / "labels.csv").open() as stream:
        labels = list(csv.DictReader(stream))
    written = {}
    for number in range(loops):
        data, patient = sources[number % len(sources)], number // len(sources)
        source = str(data.StudyInstanceUID)
        study = generate_uid(entropy_srcs=[source, str(patient)])
        path = folder / f"{patient:05d}" / f"{number:06d}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_copy(data, number, study, f"{data.PatientID}-{patient}", path)
        for row in labels:
            if row["study_uid"] == source:
                written[study, row["label"]] = {**row, "study_uid": study}
    with (folder / "labels.csv").open("w", newline="") as stream:
        writer = csv.DictWriter(stream, list(labels[0]))
        writer.writeheader()
        writer.writerows(written.values())
    return folder


def write_copy(data: pydicom.Dataset, number: int, study: str, patient: str, path: Path) -> None:
    """One file under identifiers of its own, with noise of its number in the middle of the first frame."""
    own = ("PatientID", "StudyInstanceUID", "SOPInstanceUID", "PixelData")
    kept = {name: data[name].value for name in own}
    frames = list(generate_frames(data.PixelData, number_of_frames=int(data.NumberOfFrames)))
    image = np.array(Image.open(BytesIO(frames[0])))
    top, left = image.shape[0] // 2, image.shape[1] // 2
    grain = image[top : top + 16, left : left + 16]
    grain[:] = np.random.default_rng(number).integers(0, 255, grain.shape)
    stream = BytesIO()
    Image.fromarray(image).save(stream, "jpeg", quality=95)
    data.PixelData = encapsulate([stream.getvalue(), *frames[1:]])
    data.PatientID, data.StudyInstanceUID = patient, study
    data.SOPInstanceUID = generate_uid(entropy_srcs=[study, str(number)])
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    data.save_as(path)
    for name, value in kept.items():
        setattr(data, name, value)


def commands(work: Path, loops: int, workers: int, small: bool) -> Iterator[tuple[str, list[str]]]:
    """What is measured on so many loops, in the order in which one needs another; by one worker all of it, by
    several what has workers; of small files ingest alone."""
    source, tag = archive(work, loops, small), f"{'small-' if small else ''}{loops}-{workers}"
    data, plural = str(work / f"data-{tag}"), ["--workers", str(workers)]

    def out(name: str) -> list[str]:
        return ["--out", str(work / f"{name}-{tag}")]

    private = ["--labels", str(source / "labels.csv"), "--key", str(work / "key")]
    ingest = ["ingest", "--sources", str(source), "--out", data, *private, *plural]
    yield "ingest small" if small else "ingest", ingest
    if small:
        return
    reading = ["--backbone", "shipped:small", "--workers", str(workers - 1)]
    yield "embed", ["embed", "--data", data, *out("embedded"), *reading]
    if workers == 1:
        short = ["--epochs", "3", "--min-steps", "1", "--resamples", "200", "--workers", "1"]
        model = ["--backbones", "shipped:small"]
        yield "evaluate", ["evaluate", "compared", "--data", data, *out("evaluated"), *short, *model]
    yield "predict", ["predict", "--studies", str(source), *out("answers"), *plural]


class Watched:
    """A command and all its processes, until it ends."""

    def __init__(self, command: list[str], log: Path) -> None:
        self.cpu: dict[int, float] = {}
        self.memory = 0
        began = time.perf_counter()
        with log.open("w") as stream:
            process = subprocess.Popen([*ECHOJEPA, *command], stdout=stream, stderr=subprocess.STDOUT)
            while process.poll() is None:
                self.sample(process.pid)
                time.sleep(1.0)
        self.seconds = time.perf_counter() - began
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}; see {log}")

    def sample(self, root: int) -> None:
        """CPU seconds so far of each process, and the KB that they hold together now."""
        held = 0
        for own, seconds in family_seconds(root, self.cpu).items():
            self.cpu[own] = seconds
            try:
                lines = Path(f"/proc/{own}/smaps_rollup").read_text().splitlines()
            except OSError:
                continue
            held += next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)
        self.memory = max(self.memory, held)


def curve(rows: list[dict[str, Any]], command: str) -> list[tuple[int, float, float]]:
    """Loops, CPU seconds and GB of a command by one worker."""
    mine = (row for row in rows if row["command"] == command and row["workers"] == 1)
    return sorted((row["loops"], row["cpu_s"], row["gb"]) for row in mine)


def draw(rows: list[dict[str, Any]], path: Path) -> None:
    """CPU seconds and memory over loops, a line a command."""
    figure = Figure((8.4, 3.4), dpi=90, layout="constrained")
    left, right = figure.subplots(1, 2)
    for command in SIZES:
        if found := curve(rows, command):
            loops, seconds, memory = zip(*found, strict=True)
            left.loglog(loops, seconds, "o-", label=command)
            right.semilogx(loops, memory, "o-", label=command)
    left.set(xlabel="loops", ylabel="CPU seconds")
    right.set(xlabel="loops", ylabel="peak memory of all processes, GB", ylim=(0, None))
    left.legend(frameon=False)
    figure.savefig(path)


def ratios(rows: list[dict[str, Any]]) -> str:
    """For each command, how a further loop costs at the largest size, against the size before it."""
    said = []
    for command in SIZES:
        found = curve(rows, command)
        if len(found) > 2:
            slopes = [(b[1] - a[1]) / (b[0] - a[0]) for a, b in pairwise(found)]
            said.append(f"{command}_seconds={slopes[-1] / slopes[-2]:.2f}")
            said.append(f"{command}_memory={found[-1][2] / found[-2][2]:.2f}")
    return " ".join(said)


def main() -> None:
    """Measure what is not yet known, print it, and draw."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--work", type=Path, required=True, help="folder for archives, data sets, answers")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines, one for each command")
    parser.add_argument("--sizes", type=int, nargs="+", default=(100, 1000, 5000, 10000))
    parser.add_argument("--workers", type=int, nargs="+", default=[1])
    parser.add_argument("--small", action="store_true", help="ingest of small files alone")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    text = options.out.read_text() if options.out.exists() else ""
    rows = [json.loads(line) for line in text.splitlines()]
    known = {(row["command"], row["loops"], row["workers"]) for row in rows}
    for loops, workers in ((loops, workers) for loops in options.sizes for workers in options.workers):
        for name, command in commands(options.work, loops, workers, options.small):
            if loops not in SIZES[name] or (name, loops, workers) in known:
                continue
            seen = Watched(command, options.work / f"{name}-{loops}-{workers}.log")
            figures = {"cpu_s": sum(seen.cpu.values()), "wall_s": seen.seconds, "gb": seen.memory / 2**20}
            rounded = {key: round(value, 3) for key, value in figures.items()}
            rows.append({"command": name, "loops": loops, "workers": workers, **rounded})
            print(json.dumps(rows[-1]), flush=True)
            with options.out.open("a") as stream:
                stream.write(json.dumps(rows[-1]) + "\n")
    if options.picture:
        draw(rows, options.picture)
    print(ratios(rows))


if __name__ == "__main__":
    main()
