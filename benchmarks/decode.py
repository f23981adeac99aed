"""Speed of decoding a real cine: pydicom's pixel_array, ours in RGB and ours in grey.

    .venv/bin/pip install -e '.[dev]'
    .venv/bin/python benchmarks/decode.py --rounds 7

The cine is pydicom-data's `color3d_jpeg_baseline.dcm`: 120 frames of 480 x 640 pixels, JPEG baseline. The
three take turns on one thread of one process. Each figure is a side's fastest round and its median, in
milliseconds a frame; the ratios are of the fastest rounds, their spread of the rounds. First the pictures are
compared.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np
import pydicom
from pydicom.pixels import pixel_array

from echojepa.data.reading.dicom.framing import pixels_in
from echojepa.data.reading.dicom.pixels import open_pixels
from echojepa.data.reading.dicom.reader import example_cines


def main() -> None:
    """Measure and print; the last line has the ratios that matter."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=7)
    rounds = parser.parse_args().rounds
    data = pydicom.dcmread(example_cines()[1])
    count = int(data.NumberOfFrames)

    def ours(grey: bool) -> np.ndarray:
        loop = open_pixels(data, pixels_in(data))
        return np.stack(list(loop.read(range(loop.count), grey=grey)))

    sides: dict[str, Callable[[], np.ndarray]] = {
        "pydicom": lambda: pixel_array(data, decoding_plugin="pillow"),
        "rgb": lambda: ours(grey=False),
        "grey": lambda: ours(grey=True),
    }
    theirs, rgb, grey = (side() for side in sides.values())
    luma = pixel_array(data, raw=True, decoding_plugin="pillow")[..., 0]
    print(f"largest difference: rgb {np.abs(theirs.astype(int) - rgb).max()} from pydicom's, "
          f"grey {np.abs(luma.astype(int) - grey).max()} from pydicom's stored Y")  # fmt: skip
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        for name, side in sides.items():
            began = time.perf_counter()
            side()
            seconds[name].append(time.perf_counter() - began)
    times = {name: 1000 * np.array(values) / count for name, values in seconds.items()}
    print("ms a frame, fastest (median); times as fast as pydicom (of rounds)")
    best = {}
    for name, values in times.items():
        ratios = times["pydicom"] / values
        best[name] = times["pydicom"].min() / values.min()
        print(f"  {name:8} {values.min():6.2f} ({np.median(values):6.2f})   "
              f"{best[name]:5.2f} ({ratios.min():.2f} to {ratios.max():.2f})")  # fmt: skip
    print(f"grey={best['grey']:.2f} rgb={best['rgb']:.2f}")


if __name__ == "__main__":
    main()
