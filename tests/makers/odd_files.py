"""A small moving fan of speckle as DICOM, each part of it open to change, and what becomes of a file."""

from __future__ import annotations

import hashlib
import struct
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit
from scipy import ndimage

from echojepa.config import IngestConfig
from echojepa.data.importers.listing import NOTHING, Stated
from echojepa.data.ingest.convert import ConvertedLoop, Job, Refused, convert
from echojepa.data.ingest.dry_run import DryRun, dry_run
from echojepa.data.ingest.ingest import ingest
from echojepa.data.store.loop_store import LoopStore
from echojepa.data.verify.verify import verify
from echojepa.progress import quiet

KEY = b"a test key of sufficient length"
MULTIFRAME, SINGLE = "1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.6.1"
ANY: Any = ndimage


def fan(count: int = 12, height: int = 120, width: int = 160, seed: int = 0) -> NDArray[np.uint8]:
    """Frames (T, H, W): a sector from the top centre with flickering speckle and a dark cavity that beats."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width].astype(float)
    down, across = y - 4, x - width / 2
    radius, angle = np.hypot(down, across), np.arctan2(across, down)
    inside = (radius > 6) & (radius < height - 12) & (np.abs(angle) < 0.62)
    base = rng.normal(size=(height, width))
    frames = []
    for t in range(count):
        mix = 0.55 * base + 0.85 * rng.normal(size=(height, width))
        speckle = np.abs(ANY.gaussian_filter(mix, 1.1)) * 3.0
        beat = 1 + 0.25 * np.sin(t / 2)
        cavity = ((down - height * 0.5) / (0.22 * height * beat)) ** 2 + (across / (0.1 * width * beat)) ** 2
        level = np.where(cavity < 1, 0.2, 1.0) * (1 - 0.35 * radius / height)
        frames.append(np.where(inside, np.clip(150 * speckle * level + 6, 0, 255), 0).astype(np.uint8))
    return np.stack(frames)


def grey_rgb(**size: int) -> NDArray[np.uint8]:
    """The fan as RGB without colour."""
    return np.repeat(fan(**size)[..., None], 3, -1)


def doppler(**size: int) -> NDArray[np.uint8]:
    """The fan as RGB with a box of moving red and blue."""
    rgb, rng = grey_rgb(**size).astype(int), np.random.default_rng(5)
    for picture in rgb:
        flow = 14 * ANY.gaussian_filter(rng.normal(size=(40, 45)), 3)
        shown = np.abs(flow) > 0.6
        picture[45:85, 57:102][shown] = np.where((flow > 0)[..., None], [220, 60, 20], [20, 70, 230])[shown]
    return rgb.astype(np.uint8)


def ycc(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB frames as YCbCr."""
    return np.stack([np.asarray(Image.fromarray(frame).convert("YCbCr")) for frame in rgb])


def uid(*words: object) -> str:
    """A UID that depends on the words alone."""
    return "2.25." + str(int(hashlib.sha256(repr(words).encode()).hexdigest()[:30], 16))


def region(height: int, width: int, **changes: object) -> Dataset:
    """A calibrated region of tissue that covers the picture."""
    item = Dataset()
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, 1, 2
    item.RegionLocationMinX0, item.RegionLocationMinY0 = 0, 0
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = width - 1, height - 1
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX = item.PhysicalDeltaY = 0.05
    for name, value in changes.items():
        setattr(item, name, value)
    return item


def header(frames: NDArray[np.uint8], name: str = "x", **changes: object) -> Dataset:
    """An ultrasound header that fits the frames, without pixel data; None takes an attribute away."""
    data, meta = Dataset(), FileMetaDataset()
    data.file_meta = meta
    single, colour = len(frames) == 1, frames.ndim == 4
    data.SOPClassUID = meta.MediaStorageSOPClassUID = SINGLE if single else MULTIFRAME
    data.SOPInstanceUID = meta.MediaStorageSOPInstanceUID = uid("instance", name)
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    data.StudyInstanceUID, data.SeriesInstanceUID = uid("study", name), uid("series", name)
    data.PatientID, data.PatientName = f"id-{name}", "Test^Pattern"
    data.StudyDate, data.Modality, data.Manufacturer = "20200102", "US", "GE Healthcare"
    data.NumberOfFrames, data.Rows, data.Columns = frames.shape[:3]
    data.SamplesPerPixel, data.PhotometricInterpretation = (3, "RGB") if colour else (1, "MONOCHROME2")
    if colour:
        data.PlanarConfiguration = 0
    data.BitsAllocated = data.BitsStored = 8
    data.HighBit, data.PixelRepresentation = 7, 0
    if not single:
        data.FrameTime, data.FrameIncrementPointer = "33.3", 0x00181063
    data.SequenceOfUltrasoundRegions = Items([region(*frames.shape[1:3])])
    return changed(data, **changes)


def changed(data: Dataset, **changes: object) -> Dataset:
    """The data set with other values; None takes an attribute away."""
    for name, value in changes.items():
        if value is None:
            if name in data:
                delattr(data, name)
        else:
            setattr(data, name, value)
    return data


def native(path: Path, frames: NDArray[np.uint8], content: bytes | None = None, **changes: object) -> Path:
    """An uncompressed file; `content` stands for the frames' own bytes."""
    data = header(frames, path.stem, **changes)
    raw = frames.tobytes() if content is None else content
    data.PixelData = raw + b"\0" * (len(raw) % 2)
    return save(path, data)


def encapsulated(
    path: Path,
    frames: NDArray[np.uint8],
    blobs: Sequence[bytes],
    offsets: Sequence[int] = (),
    **changes: object,
) -> Path:
    """A JPEG file of these fragments and this offset table."""
    data = header(frames, path.stem)
    data.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
    if frames.ndim == 4:
        data.PhotometricInterpretation = "YBR_FULL_422"
    changed(data, **changes)
    parts = [
        struct.pack("<HHL", 0xFFFE, 0xE000, 4 * len(offsets)),
        struct.pack(f"<{len(offsets)}L", *offsets),
    ]
    for blob in blobs:
        even = blob + b"\0" * (len(blob) % 2)
        parts += [struct.pack("<HHL", 0xFFFE, 0xE000, len(even)), even]
    data.PixelData = b"".join(parts)
    data["PixelData"].is_undefined_length = True
    return save(path, data)


def save(path: Path, data: Dataset) -> Path:
    """Write with preamble and meta."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data.save_as(path, enforce_file_format=True)
    return path


def jpegs(frames: NDArray[np.uint8], **options: Any) -> list[bytes]:
    """Each frame as JPEG baseline."""
    blobs = []
    for frame in frames:
        buffer = BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", **({"quality": 95} | options))
        blobs.append(buffer.getvalue())
    return blobs


def become(path: Path, stated: Stated = NOTHING, max_side: int = 256) -> ConvertedLoop | Refused:
    """What one file becomes, in this process."""
    return convert(Job(path, "f" * 20, KEY, "here", max_side, cleared=False, stated=stated))


def row(path: Path, **more: Any) -> ConvertedLoop:
    """The row that a file becomes; fails with the reason where there is none."""
    found = become(path, **more)
    assert isinstance(found, ConvertedLoop), found.why
    return found


def refusal(path: Path, **more: Any) -> str:
    """Reason and detail of a file that is refused."""
    found = become(path, **more)
    assert isinstance(found, Refused), "it came in"
    return str(found.why)


@dataclass(frozen=True)
class Whole:
    """What `ingest --dry-run`, `ingest` and `verify` say of a folder."""

    dry: DryRun
    store: LoopStore
    rows: list[dict[str, Any]]
    rejected: Counter[str]
    checks: dict[str, str]


def here(function: Any, jobs: Sequence[Any], *_: Any) -> Iterator[Any]:
    """In place of `run_in_order`: in this process, for a test that asks what comes out and not from where."""
    return map(function, jobs)


@contextmanager
def without_processes() -> Iterator[None]:
    """Convert files in this process."""
    with (
        mock.patch("echojepa.data.ingest.ingest.run_in_order", here),
        mock.patch("echojepa.data.ingest.dry_run.run_in_order", here),
    ):
        yield


def whole(folder: Path, **settings: Any) -> Whole:
    """All three, one after the other."""
    out = folder.parent / f"{folder.name}.out"
    config = IngestConfig((folder,), out / "data", out / "key", **({"workers": 1} | settings))
    with without_processes():
        looked = dry_run(config, quiet)
        ingest(config, quiet)
    store = LoopStore.open(out / "data")
    checks = {finding.check: finding.verdict for finding in verify(store, 0, quiet)}
    rejected = Counter(store.rejected()["reason"].to_pylist())
    return Whole(looked, store, store.metadata().to_pylist(), rejected, checks)
