"""Stored samples to pictures: one table from stored value to grey level or colour, made once a file.

The rule for grey samples. Up to 8 bits: the full range of Bits Stored, so 8-bit samples come as stored and no
window is applied, because what an ultrasound scanner stores is what it displayed. More bits: through Rescale
and the first Window where the header states one, as a viewer shows it, else the full range. Signed values are
shifted by half the range; MONOCHROME1 is inverted.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from pydicom.dataset import Dataset
from pydicom.pixels.processing import apply_color_lut

from echojepa.data.reading.dicom.codecs import Decoded, Layout
from echojepa.data.reading.frames import luma
from echojepa.data.reading.rejection import Rejected
from echojepa.vocabulary import Reason

GREY = ("MONOCHROME1", "MONOCHROME2")
YBR = ("YBR_FULL", "YBR_FULL_422")
COLOUR = ("RGB", *YBR, "YBR_ICT", "YBR_RCT")


def value_table(data: Dataset, layout: Layout) -> NDArray[np.uint8]:
    """(2^BitsStored,) grey levels, or (2^BitsStored, 3) RGB for a palette that has colour.

    A stored sample's low BitsStored bits, as an unsigned number, are its index. Raises DECODE_ERRORS for a
    palette that cannot be read.
    """
    codes = np.arange(1 << layout.stored)
    half = 1 << (layout.stored - 1)
    values = np.where(codes >= half, codes - 2 * half, codes) if layout.signed else codes
    if layout.photometric == "PALETTE COLOR":
        kind = f"{'i' if layout.signed else 'u'}{layout.allocated // 8}"
        colours = apply_color_lut(values.astype(kind), data)
        if colours.dtype.itemsize > 1:
            if (
                not data.file_meta.TransferSyntaxUID.is_little_endian
                and "RedPaletteColorLookupTableData" in data
            ):
                colours = colours.byteswap()  # pydicom 3.0 reads the entries of big endian files swapped
            colours = colours >> 8
        table = colours.astype(np.uint8)
        return table if np.ptp(table, axis=-1).any() else table[:, 0].copy()
    window = _window(data) if layout.stored > 8 else None
    full_range = (values + half * layout.signed) / (2 * half - 1)
    shown = _windowed(values, data, *window) if window else full_range
    levels = np.rint(255 * shown).astype(np.uint8)
    return 255 - levels if layout.photometric == "MONOCHROME1" else levels


def _window(data: Dataset) -> tuple[float, float] | None:
    """Centre and width of the first window, where the header states both."""
    centre, width = (np.atleast_1d(data.get(f"Window{name}") or []) for name in ("Center", "Width"))
    if not len(centre) or not len(width) or not np.isfinite([centre[0], width[0]]).all() or width[0] <= 0:
        return None
    return float(centre[0]), float(width[0])


def _windowed(values: NDArray[Any], data: Dataset, centre: float, width: float) -> NDArray[np.float64]:
    """Values through Rescale and a window to [0, 1]; the three functions of DICOM PS3.3 C.11.2.1."""
    slope, intercept = float(data.get("RescaleSlope") or 1), float(data.get("RescaleIntercept") or 0)
    scaled = values * slope + intercept
    function = data.get("VOILUTFunction") or "LINEAR"
    if function == "SIGMOID":
        return 1 / (1 + np.exp(np.clip(-4 * (scaled - centre) / width, -700, 700)))
    if function == "LINEAR":
        centre, width = centre - 0.5, max(width - 1, 1e-9)
    return np.clip((scaled - centre) / width + 0.5, 0, 1)


def to_picture(
    decoded: Decoded, layout: Layout, table: NDArray[np.uint8] | None, grey: bool
) -> NDArray[np.uint8]:
    """One frame as (H, W) or (H, W, 3) RGB; `table` is None where 8-bit samples are shown as stored."""
    samples, photometric = decoded
    if table is not None:
        unsigned = np.ascontiguousarray(samples).view(f"{samples.dtype.byteorder}u{samples.dtype.itemsize}")
        samples = table[(unsigned & ((1 << layout.stored) - 1)).astype(np.intp)]
        if photometric == "PALETTE COLOR" and samples.ndim == 3:
            photometric = "RGB"
    return _to_rgb(samples, photometric, grey)


def _to_rgb(samples: NDArray[np.uint8], photometric: str, grey: bool) -> NDArray[np.uint8]:
    if samples.ndim == 2:
        return samples
    if photometric in YBR:
        if grey:
            return np.ascontiguousarray(samples[..., 0])
        image = Image.frombytes("YCbCr", samples.shape[1::-1], np.ascontiguousarray(samples).tobytes())
        return np.asarray(image.convert("RGB"))
    if photometric != "RGB":
        raise Rejected(Reason.UNSUPPORTED, f"{photometric} that its codec does not convert")
    return luma(samples) if grey else np.ascontiguousarray(samples)
