"""How frames should lie in the data set: bytes, fidelity, time to write, time to read 16 of them from Lance.

    .venv/bin/pip install -e '.[dev]'
    OMP_NUM_THREADS=1 .venv/bin/python benchmarks/frame_encoding.py --rounds 5

Frames are what `echojepa ingest` keeps (cut to the sector, reduced to 256 pixels, black outside) of
pydicom-data's two real cines (MIT licence) and of two loops of the phantom. Candidates take turns, each
round all of them, on one thread. *Write* encodes all frames of all loops; *read* takes a random loop of a
Lance table and decodes 16 frames at a random stride; both in milliseconds a frame, fastest round (median).
PSNR, SSIM and the largest error are of pixels inside the sector, the worst loop's. Every codec here may be
shipped: BSD, MIT or Apache; FFV1 is FFmpeg's own (LGPL), and comes to a whole loop at once.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from io import BytesIO
from typing import Any

import av
import imagecodecs as ic
import lance
import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image
from scipy import ndimage

from echojepa.data.ingest.convert import Job, Refused, convert
from echojepa.data.reading.dicom.reader import example_cines
from echojepa.data.sector.sector import find_sector
from echojepa.data.store.encoding import Encoding, decode, from_png
from echojepa.phantom.cohort.loops import one_loop
from echojepa.vocabulary import View

Frame = NDArray[np.uint8]
CLIP, ROWS = 16, 48


@dataclass(frozen=True)
class Codec:
    """A way to turn the frames of a loop into blobs, and some of them back into frames."""

    encode: Callable[[Frame], list[bytes]]
    """(T, H, W) to blobs."""
    decode: Callable[[list[Any], list[int], tuple[int, ...]], Frame]
    """Blobs, wanted frames and the shape (T, H, W), to (len(wanted), H, W)."""


def each(encode: Callable[[Frame], bytes], decode: Callable[[Any], Frame]) -> Codec:
    """A codec of single frames."""
    return Codec(
        lambda frames: [bytes(encode(frame)) for frame in frames],
        lambda blobs, wanted, shape: np.stack([decode(blobs[i]).reshape(shape[1:]) for i in wanted]),
    )


def pillow(kind: str, **settings: Any) -> Codec:
    """A codec of Pillow's."""

    def encode(frame: Frame) -> bytes:
        buffer = BytesIO()
        Image.fromarray(frame).save(buffer, kind, **settings)
        return buffer.getvalue()

    return each(encode, lambda data: np.asarray(Image.open(BytesIO(data)).convert("L")))


def ffv1() -> Codec:
    """FFmpeg's lossless codec, every frame by itself, a loop in one Matroska file."""

    def encode(frames: Frame) -> list[bytes]:
        buffer = BytesIO()
        with av.open(buffer, "w", format="matroska") as container:
            stream: Any = container.add_stream("ffv1", rate=30)
            stream.height, stream.width, stream.pix_fmt = *frames.shape[1:], "gray"
            stream.time_base, stream.options = Fraction(1, 30), {"level": "3", "g": "1"}
            for frame in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, "gray")))
            container.mux(stream.encode())
        return [buffer.getvalue()]

    def decode(blobs: list[Any], wanted: list[int], shape: tuple[int, ...]) -> Frame:
        with av.open(BytesIO(blobs[0])) as container:
            frames = [frame.to_ndarray(format="gray") for frame in container.decode(video=0)]
        return np.stack([frames[i] for i in wanted])

    return Codec(encode, decode)


def raw(data: Any) -> Frame:
    """Bytes as pixels."""
    return np.frombuffer(data, np.uint8)


CODECS: dict[str, Codec] = {
    "PNG, level 1": pillow("PNG", compress_level=1),
    "JPEG 90": each(lambda f: ic.jpeg8_encode(f, level=90), ic.jpeg8_decode),
    "JPEG 95": each(lambda f: ic.jpeg8_encode(f, level=95), ic.jpeg8_decode),
    "JPEG 97": each(lambda f: ic.jpeg8_encode(f, level=97), ic.jpeg8_decode),
    "JPEG 95 by Pillow": pillow("JPEG", quality=95),
    "WebP 90": pillow("WEBP", quality=90, method=0),
    "WebP lossless": pillow("WEBP", lossless=True, quality=0, method=0),
    "JPEG-LS": each(ic.jpegls_encode, ic.jpegls_decode),
    "JPEG-LS, error 1": each(lambda f: ic.jpegls_encode(f, level=1), ic.jpegls_decode),
    "HTJ2K lossless": each(ic.htj2k_encode, ic.htj2k_decode),
    "JPEG XL, d=1": each(lambda f: ic.jpegxl_encode(f, distance=1.0, effort=1), ic.jpegxl_decode),
    "JPEG XL lossless": each(lambda f: ic.jpegxl_encode(f, lossless=True, effort=1), ic.jpegxl_decode),
    "AVIF, level 80": each(
        lambda f: ic.avif_encode(f, level=80, speed=10, numthreads=1),
        lambda b: ic.avif_decode(b, numthreads=1),
    ),
    "zstd 1": each(lambda f: ic.zstd_encode(f.tobytes(), level=1), lambda b: raw(ic.zstd_decode(b))),
    "LZ4": each(
        lambda f: ic.lz4_encode(f.tobytes(), header=True), lambda b: raw(ic.lz4_decode(b, header=True))
    ),
    "raw": each(lambda f: f.tobytes(), raw),
    "zstd 1, whole loop": Codec(
        lambda frames: [ic.zstd_encode(frames.tobytes(), level=1)],
        lambda blobs, wanted, shape: raw(ic.zstd_decode(blobs[0])).reshape(shape)[wanted],
    ),
    "FFV1, whole loop": ffv1(),
}


def loops() -> list[tuple[str, Frame, NDArray[np.bool_]]]:
    """Name, frames (T, H, W) and mask of each loop, as ingest keeps them, lossless."""
    found = []
    for path in example_cines():
        row = convert(Job(path, "0" * 20, b"a key of sufficient length", "site", 256, True, lossless=True))
        if isinstance(row, Refused):
            raise SystemExit(f"{path.name}: {row.why}")
        frames = np.stack([decode(data, Encoding.PNG) for data in row.frames])
        found.append(("real", frames[:48], from_png(row.mask).astype(bool)))
    for patient in range(2):
        loop = one_loop(View.A4C, 1.0, ordinal=patient).loop
        sector = find_sector(loop.frames)
        rows, columns = sector.box
        mask = sector.mask[rows, columns]
        found.append(("phantom", loop.frames[:, rows, columns] * mask, mask))
    return found


def ssim(one: Frame, two: Frame, mask: NDArray[np.bool_]) -> float:
    """Mean structural similarity inside the mask, Gaussian window of 1.5 pixels (Wang et al. 2004)."""
    a, b = one.astype(np.float64), two.astype(np.float64)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(ndimage.gaussian_filter(values, 1.5))

    ma, mb = mean(a), mean(b)
    va, vb, cov = mean(a * a) - ma * ma, mean(b * b) - mb * mb, mean(a * b) - ma * mb
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    value = (2 * ma * mb + c1) * (2 * cov + c2) / ((ma**2 + mb**2 + c1) * (va + vb + c2))
    return float(value[mask].mean())


def fidelity(codec: Codec, frames: Frame, mask: NDArray[np.bool_]) -> tuple[float, float, int, int]:
    """PSNR in dB, SSIM and largest error inside the sector, largest value outside it."""
    back = codec.decode(codec.encode(frames), list(range(len(frames))), frames.shape)
    error = (back.astype(int) - frames)[:, mask]
    square = float((error**2).mean())
    psnr = 10 * np.log10(255**2 / square) if square else np.inf
    similar = 1.0 if not square else ssim(frames[0], back[0], mask)
    return psnr, similar, int(np.abs(error).max()), int(back[:, ~mask].max())


def main() -> None:
    """Measure and print; the last line has the ratios that matter."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    rounds, found, rng = parser.parse_args().rounds, loops(), np.random.default_rng(0)
    write, read = ({name: [] for name in CODECS} for _ in range(2))
    sizes: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        tables = {}
        for name, codec in CODECS.items():
            blobs = [codec.encode(frames) for _, frames, _ in found]
            sizes[name] = {
                kind: float(
                    np.mean(
                        [
                            sum(map(len, b)) / len(f)
                            for b, (k, f, _) in zip(blobs, found, strict=True)
                            if k == kind
                        ]
                    )
                )
                for kind in ("real", "phantom")
            }
            column = pa.array([blobs[row % len(found)] for row in range(ROWS)], pa.list_(pa.binary()))
            where = f"{folder}/{len(tables)}"
            lance.write_dataset(pa.table({"frames": column}), where, data_storage_version="2.1")
            tables[name] = lance.dataset(where)
        picks = [(int(rng.integers(ROWS)), int(rng.integers(1, 3))) for _ in range(12)]
        for _ in range(rounds):
            for name, codec in CODECS.items():
                began = time.perf_counter()
                for _, frames, _ in found:
                    codec.encode(frames)
                write[name].append((time.perf_counter() - began) * 1e3 / sum(len(f) for _, f, _ in found))
                began = time.perf_counter()
                for row, stride in picks:
                    shape = found[row % len(found)][1].shape
                    wanted = [k * stride % shape[0] for k in range(CLIP)]
                    cell = tables[name].take([row], columns=["frames"])["frames"][0].values
                    blobs = [memoryview(blob.as_buffer()) for blob in cell]
                    codec.decode([bytes(blob) for blob in blobs], wanted, shape)
                read[name].append((time.perf_counter() - began) * 1e3 / (CLIP * len(picks)))
    heads = ("codec", "kB a frame, real", "phantom", "PSNR, dB", "SSIM", "largest error", "beyond the sector")
    print("| " + " | ".join((*heads, "write, ms", "read, ms")) + " |")
    print("|---|---|---|---|---|---|---|---|---|")
    for name, codec in CODECS.items():
        worst = [fidelity(codec, frames, mask) for _, frames, mask in found]
        psnr, similar = min(w[0] for w in worst), min(w[1] for w in worst)
        error, beyond = max(w[2] for w in worst), max(w[3] for w in worst)
        print(
            f"| {name} | {sizes[name]['real'] / 1e3:.1f} | {sizes[name]['phantom'] / 1e3:.1f} | {psnr:.1f} | "
            f"{similar:.4f} | {error} | {beyond} | {min(write[name]):.2f} ({np.median(write[name]):.2f}) | "
            f"{min(read[name]):.2f} ({np.median(read[name]):.2f}) |"
        )
    png, jpeg = "PNG, level 1", "JPEG 95"
    smaller = sizes[jpeg]["real"] / sizes[png]["real"]
    faster = {what: min(times[png]) / min(times[jpeg]) for what, times in (("write", write), ("read", read))}
    print(f"bytes={smaller:.2f} write={faster['write']:.1f} read={faster['read']:.1f}")


if __name__ == "__main__":
    main()
