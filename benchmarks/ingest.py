"""Seconds a file of an ingest against pydicom's `pixel_array` alone, on this CPU.

    .venv/bin/python benchmarks/ingest.py --rounds 5

Ours is all that a worker does with a file: read, decode, find the sector, look for text, crop, reduce and
encode. Theirs is reading and decoding, to RGB where the file has colour, as a script of a few lines would.
Both take turns on the same files in one process and thread; each figure is the ratio of their fastest rounds,
its spread the ratios of the rounds. Files: pydicom-data's real cine (120 frames of 480 x 640, JPEG baseline,
MIT licence), and the same pixels uncompressed, as RLE and as JPEG 2000.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
import pydicom
from pydicom.pixels import pixel_array
from pydicom.uid import ExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from echojepa.data.ingest.convert import Job, Refused, convert
from echojepa.data.reading.dicom.reader import example_cines

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


def main() -> None:
    """Measure and print; the last line has the ratios."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    ratios = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, path in write_files(Path(folder)).items():
            job = Job(path, "0" * 20, b"a key of sufficient length", "site", 256, cleared=False)
            seconds: dict[str, list[float]] = {"ours": [], "pixel_array": []}
            for _ in range(options.rounds + 1):
                began = time.perf_counter()
                result = convert(job)
                middle = time.perf_counter()
                pixel_array(path)
                seconds["ours"].append(middle - began)
                seconds["pixel_array"].append(time.perf_counter() - middle)
                assert not isinstance(result, Refused), result
            ours, theirs = (np.array(values[1:]) for values in seconds.values())
            ratios[name] = ours.min() / theirs.min()
            spread = ours / theirs
            print(
                f"{name:7} ours {ours.min():6.2f} s  pixel_array {theirs.min():6.2f} s  "
                f"ratio {ratios[name]:.2f} ({spread.min():.2f} to {spread.max():.2f})", flush=True,
            )  # fmt: skip
    print(" ".join(f"{name}={ratio:.2f}" for name, ratio in ratios.items()))


if __name__ == "__main__":
    main()
