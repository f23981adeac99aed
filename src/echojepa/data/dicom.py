"""DICOM in. With `dicom_writer` the only module that knows tags; patient identifiers stop here.

Reading gives a CineLoop whose ids are keyed pseudonyms. Frame times come from FrameTime, else
FrameTimeVector, else CineRate, else RecommendedDisplayFrameRate: the first that is plausible.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from numpy.typing import NDArray
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset
from pydicom.errors import InvalidDicomError
from pydicom.pixels.decoders.base import get_decoder
from pydicom.pixels.processing import apply_color_lut
from pydicom.pixels.utils import pixel_array
from pydicom.sr.codedict import Collection
from pydicom.sr.coding import Code
from pydicom.uid import JPEGBaseline8Bit

from echojepa.data.cine import CineLoop, Region, RegionKind
from echojepa.data.rejection import Rejected
from echojepa.errors import UserError
from echojepa.vocabulary import Reason, View

MAX_BYTES = 2 << 30
"""Decoded size above which a file is refused before anything is allocated."""
PLAUSIBLE_FRAME_TIMES = (1.0, 1000.0)
"""Milliseconds; a frame time outside is no frame time."""
DECODE_ERRORS = (
    ValueError, RuntimeError, AttributeError, NotImplementedError, EOFError, IndexError, KeyError, TypeError,
    OSError, struct.error,
)  # fmt: skip
"""What pydicom and its decoders raise on damaged pixel data."""

_CODES: Any = Collection("CID12226")
VIEW_CODES: dict[View, Code] = {
    View.A2C: _CODES.ApicalTwoChamber,
    View.A3C: _CODES.ApicalLongAxis,
    View.A4C: _CODES.ApicalFourChamber,
    View.PLAX: _CODES.ParasternalLongAxis,
    View.PSAX_AV: _CODES.ParasternalShortAxisAtTheAorticValveLevel,
    View.PSAX_MV: _CODES.ParasternalShortAxisAtTheMitralValveLevel,
    View.PSAX_PM: _CODES.ParasternalShortAxisAtThePapillaryMuscleLevel,
    View.SSN: _CODES.SuprasternalLongAxis,
    View.SUBCOSTAL: _CODES.SubcostalLongAxis,
}
"""Views and their codes in DICOM's context group 12226, Echocardiography Image View."""
_VIEW_OF_CODE = {(code.value, code.scheme_designator): view for view, code in VIEW_CODES.items()}
OTHER: RegionKind = "other"
REGION_KINDS: dict[int, RegionKind] = {
    1: "tissue", 2: "colour", 3: "pw", 4: "cw", 10: "mmode",
}  # fmt: skip


def pseudonym(key: bytes, kind: str, identifier: str) -> str:
    """Keyed HMAC-SHA256 of an identifier, 20 hexadecimal digits; without the key it cannot be undone."""
    return hmac.new(key, f"{kind}:{identifier}".encode(), hashlib.sha256).hexdigest()[:20]


def example_cines() -> tuple[Path, ...]:
    """The two real MIT-licensed echocardiograms that pydicom and pydicom-data ship.

    Raises UserError naming the package to install when one is absent; nothing is downloaded.
    """
    found = []
    for name in ("examples_ybr_color.dcm", "color3d_jpeg_baseline.dcm"):
        path = get_testdata_file(name, download=False)
        if path is None:
            raise UserError(f"{name} is not installed; run: pip install 'echojepa[demo]'")
        found.append(Path(str(path)))
    return tuple(found)


def read_cine(path: Path, key: bytes) -> CineLoop:
    """Read one ultrasound file, (T, H, W) grey or (T, H, W, 3) RGB, with pseudonymous ids.

    `loop_id` covers the pixels too, because files with one SOPInstanceUID and different pixels exist.
    Raises Rejected for anything that cannot become a loop.
    """
    data = _read_header(path)
    frames = _read_frames(data)
    times, source = _frame_times(data, len(frames))
    instance = str(data.get("SOPInstanceUID", ""))
    study = str(data.get("StudyInstanceUID", "")) or instance
    patient = str(data.get("PatientID", "")).strip() or f"study {study}"
    issuer = str(data.get("IssuerOfPatientID", ""))
    pixels = hashlib.sha256(frames.tobytes()).hexdigest()
    return CineLoop(
        frames=frames,
        times=times,
        time_source=source,
        patient_id=pseudonym(key, "patient", f"{issuer}/{patient}"),
        study_id=pseudonym(key, "study", study),
        loop_id=pseudonym(key, "loop", f"{instance}/{pixels}"),
        view=_view(data),
        regions=_regions(data, frames.shape[1], frames.shape[2]),
        heart_rate=_positive(data.get("HeartRate")),
        manufacturer=str(data.get("Manufacturer", "")),
    )


def _read_header(path: Path) -> Dataset:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Rejected(Reason.UNREADABLE, f"the system says: {error.strerror}") from None
    try:
        data = pydicom.dcmread(BytesIO(content))  # never the path: pydicom writes it into warnings
    except InvalidDicomError:
        raise Rejected(Reason.NOT_DICOM, "the file lacks DICOM's preamble") from None
    except DECODE_ERRORS as error:
        raise Rejected(
            Reason.TRUNCATED, f"the header ends or breaks early ({type(error).__name__})"
        ) from None
    if "Rows" not in data and "SOPClassUID" not in data:
        raise Rejected(Reason.TRUNCATED, "it ends before any image attribute")
    if data.get("Modality") != "US":
        raise Rejected(Reason.NOT_ULTRASOUND, "Modality is not US")
    if "PixelData" not in data:
        raise Rejected(Reason.NO_PIXELS, "no PixelData in it")
    return data


def _read_frames(data: Dataset) -> NDArray[np.uint8]:
    try:
        count = int(data.get("NumberOfFrames", 1) or 0)
        shape = (int(data.Rows), int(data.Columns), int(data.get("SamplesPerPixel", 1)))
        depth, syntax = int(data.BitsAllocated), data.file_meta.TransferSyntaxUID
    except DECODE_ERRORS:
        raise Rejected(Reason.TRUNCATED, "Rows, Columns, BitsAllocated or the syntax are missing") from None
    if min(count, *shape) < 1 or not data.PixelData:
        raise Rejected(Reason.NO_PIXELS, f"{count} frames of {shape[0]} x {shape[1]} pixels")
    size = count * shape[0] * shape[1] * shape[2] * depth // 8
    if size > MAX_BYTES:
        raise Rejected(
            Reason.TOO_LARGE, f"{size / 2**30:.1f} GiB decoded; at most {MAX_BYTES >> 30} are allowed"
        )
    try:
        available = get_decoder(syntax).is_available
    except NotImplementedError:
        available = False
    if not available or depth not in (8, 16) or shape[2] not in (1, 3):
        raise Rejected(Reason.UNSUPPORTED, f"{syntax.name}, {depth} bits, {shape[2]} samples a pixel")
    plugin = "pillow" if syntax == JPEGBaseline8Bit else ""
    try:
        pixels = np.asarray(pixel_array(data, decoding_plugin=plugin))
    except DECODE_ERRORS as error:
        raise Rejected(Reason.TRUNCATED, f"pixels do not decode ({type(error).__name__})") from None
    if count == 1:
        pixels = pixels[None]
    if data.PhotometricInterpretation == "PALETTE COLOR":
        pixels = apply_color_lut(pixels, data)
    if data.PhotometricInterpretation == "MONOCHROME1":
        pixels = np.iinfo(pixels.dtype).max - pixels
    if pixels.dtype != np.uint8:
        pixels = np.right_shift(pixels.astype(np.uint16), max(0, int(data.get("BitsStored", 16)) - 8))
    return np.ascontiguousarray(pixels.astype(np.uint8))


def _positive(value: Any) -> float | None:
    """The value as a float where it is a positive number."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if np.isfinite(number) and number > 0 else None


def _frame_times(data: Dataset, frames: int) -> tuple[NDArray[np.float64], str]:
    """Seconds since the first frame, (T,), and the attribute they came from."""
    if frames == 1:
        return np.zeros(1), "single frame"
    low, high = PLAUSIBLE_FRAME_TIMES
    vector = data.get("FrameTimeVector")
    steps = np.array([_positive(v) or 0.0 for v in vector[1:]]) if vector and len(vector) == frames else None
    even: dict[str, float | None] = {"FrameTime": _positive(data.get("FrameTime"))}
    for name in ("CineRate", "RecommendedDisplayFrameRate"):
        rate = _positive(data.get(name))
        even[name] = 1000 / rate if rate else None
    for name in ("FrameTime", "FrameTimeVector", "CineRate", "RecommendedDisplayFrameRate"):
        if name == "FrameTimeVector":
            if steps is not None and low <= steps.min() and steps.max() <= high:
                return np.concatenate([[0.0], np.cumsum(steps)]) / 1000, name
            continue
        step = even[name]
        if step is not None and low <= step <= high:
            return np.arange(frames) * step / 1000, name
    raise Rejected(Reason.NO_TIME, f"{frames} frames, and no plausible frame time or rate")


def _view(data: Dataset) -> View | None:
    for item in data.get("ViewCodeSequence", None) or ():
        code = (str(item.get("CodeValue", "")), str(item.get("CodingSchemeDesignator", "")))
        if code in _VIEW_OF_CODE:
            return _VIEW_OF_CODE[code]
    return None


def _regions(data: Dataset, height: int, width: int) -> tuple[Region, ...]:
    """Regions clipped to the frame. One that exceeds the frame was written for another picture size, so
    its pixel size is not believed (pydicom's own cine has one)."""
    found = []
    for item in data.get("SequenceOfUltrasoundRegions", None) or ():
        corners = [item.get(f"RegionLocation{end}") for end in ("MinX0", "MinY0", "MaxX1", "MaxY1")]
        if any(not isinstance(corner, int) for corner in corners):
            continue
        x0, y0, x1, y1 = corners
        inside = x0 >= 0 and y0 >= 0 and x1 < width and y1 < height
        deltas = [_positive(item.get(f"PhysicalDelta{axis}")) for axis in ("Y", "X")]
        units = {item.get("PhysicalUnitsXDirection"), item.get("PhysicalUnitsYDirection")}
        row, column = deltas
        size = (10 * row, 10 * column) if inside and units == {3} and row and column else None
        kind = REGION_KINDS.get(int(item.get("RegionDataType", 0) or 0), OTHER)
        box = max(x0, 0), max(y0, 0), min(x1, width - 1), min(y1, height - 1)
        if box[0] < box[2] and box[1] < box[3]:
            found.append(Region(*box, kind=kind, mm_per_pixel=size))
    return tuple(found)
