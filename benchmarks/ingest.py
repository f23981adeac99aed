"""CPU seconds a file of an ingest against pydicom's `pixel_array` alone, on this CPU.

    .venv/bin/python benchmarks/ingest.py --rounds 5
    taskset -c 0,1 .venv/bin/python benchmarks/ingest.py --workers 2

Ours is all that a worker does with a file: read, decode, find the sector, look for text, crop, reduce and
encode. Theirs is reading and decoding, to RGB where the file has colour, as a script of a few lines would.
Both take turns on the same files in one process and thread; each figure is the ratio of their fastest rounds,
its spread the ratios of the rounds. Then a table of where our time goes. Files: pydicom-data's real cine (120
frames of 480 x 640, JPEG baseline, MIT licence), and the same pixels uncompressed, as RLE and as JPEG 2000.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pydicom
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from echojepa.data.ingest import convert as conversion
from echojepa.data.ingest.convert import Job, Refused, convert
from echojepa.data.ingest.ingest import convert_here
from echojepa.data.reading.dicom.reader import example_cines
from echojepa.data.sector import burned_text
from echojepa.data.store import rows

FRAMES = 120
"""Of the cine, in each file; fewer where the codec is slow."""


def write_files(folder: Path) -> dict[str, Path]:
    """The real cine in several transfer syntaxes."""
    source = example_cines()[1]
    files = {"jpeg": source}
    rgb = pixel_array(source)
    for name, syntax, frames in (
        ("native", None, FRAMES), ("rle", RLELossless, 40), ("j2k", JPEG2000Lossless, 20),
    ):  # fmt: skip
        data = pydicom.dcmread(source)
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.PhotometricInterpretation, data.PlanarConfiguration = "RGB", 0
        data.NumberOfFrames, data.PixelData = frames, rgb[:frames].tobytes()
        data["PixelData"].is_undefined_length = False
        if syntax:
            data.compress(syntax, rgb[:frames], generate_instance_uid=False)
        files[name] = folder / f"{name}.dcm"
        data.save_as(files[name])
    return files


PARTS = (
    (conversion, "open_recording", "open"), (conversion, "looked_at", "decode"),
    (conversion, "all_frames", "decode"), (conversion, "sector_of", "sector"),
    (conversion, "find_text", "text"), (burned_text, "passing", "passing text"),
    (conversion, "is_coloured", "colour"), (conversion, "shrink", "reduce"), (rows, "encode", "encode"),
)  # fmt: skip
"""Functions of a conversion as its modules know them, and what they are called here."""


class Stages:
    """CPU seconds of the parts of a conversion, each without the parts within it. They are counted,
    which costs a little, once this is made."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._within = [0.0]
        for module, function, name in PARTS:
            self._watch(module, function, name)

    def of(self, job: Job) -> dict[str, float]:
        """Of the fastest of three conversions."""
        made = []
        for _ in range(3):
            self.seconds = {}
            self._timed("mask, checksum, ...", lambda: convert(job))
            made.append(self.seconds)
        return min(made, key=lambda seconds: sum(seconds.values()))

    def _watch(self, module: ModuleType, function: str, name: str) -> None:
        """Count the calls of a function as the module knows it; a generator's from piece to piece."""
        act = getattr(module, function)

        def watched(*args: Any, **kwargs: Any) -> Any:
            result = self._timed(name, lambda: act(*args, **kwargs))
            return self._pieces(name, result) if isinstance(result, Iterator) else result

        setattr(module, function, watched)

    def _pieces(self, name: str, pieces: Iterator[Any]) -> Iterator[Any]:
        while (piece := self._timed(name, lambda: next(pieces, None))) is not None:
            yield piece

    def _timed(self, name: str, act: Callable[[], Any]) -> Any:
        self._within.append(0.0)
        began = time.process_time()
        try:
            return act()
        finally:
            whole, within = time.process_time() - began, self._within.pop()
            self.seconds[name] = self.seconds.get(name, 0.0) + whole - within
            self._within[-1] += whole


def gained(job: Job, workers: int, files: int) -> float:
    """How many times as fast so many workers are as one, on copies of a file: the fastest of two rounds each,
    in turns. Wall time, so the machine must have that many free cores."""
    seconds: dict[int, list[float]] = {1: [], workers: []}
    for _ in range(2):
        for number, spent in seconds.items():
            began = time.perf_counter()
            assert len(list(convert_here([job] * files, number))) == files
            spent.append(time.perf_counter() - began)
    return min(seconds[1]) / min(seconds[workers])


def main() -> None:
    """Measure and print; the last line has the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, help="also time so many against one, on free cores")
    parser.add_argument("--copies", type=int, default=48, help="of the JPEG cine for them")
    options = parser.parse_args()
    ratios = {}
    with tempfile.TemporaryDirectory() as folder:
        jobs = {
            name: Job(path, "0" * 20, b"a key of sufficient length", "site", 256, cleared=False)
            for name, path in write_files(Path(folder)).items()
        }
        for name, job in jobs.items():
            seconds: dict[str, list[float]] = {"ours": [], "pixel_array": []}
            for _ in range(options.rounds + 1):
                began = time.process_time()
                result = convert(job)
                middle = time.process_time()
                pixel_array(job.path)
                seconds["ours"].append(middle - began)
                seconds["pixel_array"].append(time.process_time() - middle)
                assert not isinstance(result, Refused), result
            ours, theirs = (np.array(values[1:]) for values in seconds.values())
            ratios[name] = ours.min() / theirs.min()
            spread = ours / theirs
            print(
                f"{name:7} ours {ours.min():6.2f} s  pixel_array {theirs.min():6.2f} s  "
                f"ratio {ratios[name]:.2f} ({spread.min():.2f} to {spread.max():.2f})", flush=True,
            )  # fmt: skip
        if options.workers:
            ratios[f"workers_{options.workers}"] = gained(jobs["jpeg"], options.workers, options.copies)
        stages = Stages()
        for name, job in jobs.items():
            print(f"{name:7}", "  ".join(f"{part} {spent:.3f}" for part, spent in stages.of(job).items()))
    print(" ".join(f"{name}={ratio:.2f}" for name, ratio in ratios.items()))


if __name__ == "__main__":
    main()
