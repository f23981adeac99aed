"""Clips a second for one process, 16 frames at 224 pixels: ours from the store, others from MP4 files.

    .venv/bin/pip install -e '.[dev]' decord opencv-python-headless      # for this benchmark only
    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/clips.py --rounds 5

The cine is pydicom-data's `color3d_jpeg_baseline.dcm` (MIT licence; 120 frames of 480 x 640), eight times
over. (a) Others read it as H.264 in its original size, the store holds it as `echojepa ingest` leaves it.
(b) Others read an H.264 file of the stored frames. Both files are written here by PyAV. Ours is
`ClipDataset`: a random start, read, decode, random crop, resize. Theirs are 16 frames, every fourth from
a random start, as the official loader picks them: decord's `get_batch`, OpenCV's `VideoCapture` and PyAV
with a seek; then a random crop and torch's bilinear resize of float frames, as the official loader does.
All on one thread, in turns; figures are of the fastest round, spreads of the rounds.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import decord
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from pydicom.pixels import pixel_array

from echojepa.config import IngestConfig, InputSpec
from echojepa.data.clips.clips import Augment, ClipDataset
from echojepa.data.ingest.convert import Job, Refused, convert
from echojepa.data.reading.dicom.reader import example_cines
from echojepa.data.store.loop_store import LoopStore

SPEC = InputSpec(size=224, frames=16, seconds=2.0)
STRIDE, COPIES, CLIPS = 4, 8, 12


def write_mp4(path: Path, frames: NDArray[np.uint8]) -> None:
    """Frames (T, H, W, 3) as H.264, quality 23, a key frame every 12."""
    height, width = (side - side % 2 for side in frames.shape[1:3])
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream("libx264", rate=30, options={"crf": "23", "g": "12"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.time_base = Fraction(1, 30)
        for frame in frames:
            picture = np.ascontiguousarray(frame[:height, :width])
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, "rgb24")))
        container.mux(stream.encode())


def by_decord(path: Path, wanted: list[int]) -> NDArray[np.uint8]:
    """As the official loader: a reader, then its get_batch."""
    return decord.VideoReader(str(path), num_threads=1, ctx=decord.cpu(0)).get_batch(wanted).asnumpy()


def by_opencv(path: Path, wanted: list[int]) -> NDArray[np.uint8]:
    """A seek, then every frame up to the last that is wanted."""
    video = cv2.VideoCapture(str(path), cv2.CAP_FFMPEG, [cv2.CAP_PROP_N_THREADS, 1])
    video.set(cv2.CAP_PROP_POS_FRAMES, wanted[0])
    found = []
    for number in range(wanted[0], wanted[-1] + 1):
        video.grab()
        if number in wanted:
            found.append(cv2.cvtColor(video.retrieve()[1], cv2.COLOR_BGR2RGB))
    video.release()
    return np.stack(found)


def by_pyav(path: Path, wanted: list[int]) -> NDArray[np.uint8]:
    """A seek to the key frame before, then every frame up to the last that is wanted."""
    found = []
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        unit = Fraction(stream.time_base or 1)
        container.seek(int(wanted[0] / 30 / unit), stream=stream)
        for frame in container.decode(stream):
            number = round(float((frame.pts or 0) * unit * 30))
            if number in wanted:
                found.append(frame.to_ndarray(format="rgb24"))
            if number >= wanted[-1]:
                break
    return np.stack(found)


PEERS: dict[str, Callable[[Path, list[int]], NDArray[np.uint8]]] = {
    "decord": by_decord, "opencv": by_opencv, "pyav": by_pyav,
}  # fmt: skip


def peer_clip(
    read: Callable[..., NDArray[np.uint8]], path: Path, count: int, draws: torch.Generator
) -> torch.Tensor:
    """Read, crop, resize."""
    start = int(torch.randint(count - STRIDE * (SPEC.frames - 1), (), generator=draws))
    pixels = torch.from_numpy(read(path, [start + STRIDE * k for k in range(SPEC.frames)]))
    side = min(pixels.shape[1:3])
    top, left, height, width = Augment().crop(side, draws)
    cut = pixels[:, top : top + height, left : left + width].permute(0, 3, 1, 2).float()
    return F.interpolate(cut, size=(SPEC.size, SPEC.size), mode="bilinear")


def main() -> None:
    """Measure and print; the last line has the ratios against the best of the others."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    source = example_cines()[1]
    row = convert(Job(source, "0" * 20, b"a key of sufficient length", "site", IngestConfig.max_side, True))
    if isinstance(row, Refused):
        raise SystemExit(f"{source.name}: {row.why}")
    original = pixel_array(source)
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        store = LoopStore.create(Path(folder) / "data", 0)
        store.append([replace(row, patient_ordinal=0, split="train")] * COPIES)
        stored = store.frames(0)
        for name, frames in (("original", original), ("stored", stored)):
            colour = frames if frames.ndim == 4 else np.repeat(frames[..., None], 3, axis=-1)
            for copy in range(COPIES):
                write_mp4(Path(folder) / f"{name}{copy}.mp4", colour)
        ours = ClipDataset(store, range(COPIES), SPEC, augment=Augment())
        sides: dict[str, Callable[[int, torch.Generator], Any]] = {"ours": lambda i, _: ours[(i, i % COPIES)]}
        for name in ("original", "stored"):
            for peer, read in PEERS.items():
                sides[f"{peer}, {name}"] = lambda i, draws, read=read, name=name: peer_clip(
                    read, Path(folder) / f"{name}{i % COPIES}.mp4", len(stored), draws
                )
        for number in range(rounds + 1):
            for name, side in sides.items():
                draws = torch.Generator().manual_seed(number)
                began = time.perf_counter()
                for clip in range(CLIPS):
                    side(number * CLIPS + clip, draws)
                seconds.setdefault(name, []).append((time.perf_counter() - began) / CLIPS)
        sizes = [(Path(folder) / f"{name}0.mp4").stat().st_size / 1e3 for name in ("original", "stored")]
    times = {name: np.array(values[1:]) for name, values in seconds.items()}
    size = sum(map(len, row.frames)) / 1e3
    print(f"stored {stored.shape}: {size:.0f} kB; MP4 {sizes[0]:.0f} and {sizes[1]:.0f} kB")
    print("clips a second, fastest round (median); ours is so many times as fast (of rounds)")
    ratios = {}
    for name, values in times.items():
        spread = values / times["ours"]
        ratios[name] = values.min() / times["ours"].min()
        print(
            f"  {name:18} {1 / values.min():6.1f} ({1 / np.median(values):6.1f})   "
            f"{ratios[name]:5.2f} ({spread.min():.2f} to {spread.max():.2f})"
        )
    best = {name: min(ratios[f"{peer}, {name}"] for peer in PEERS) for name in ("original", "stored")}
    print(f"original={best['original']:.2f} stored={best['stored']:.2f}")


if __name__ == "__main__":
    main()
