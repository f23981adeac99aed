"""Claims about decoding DICOM pixels. Every transfer syntax in docs/reference/dicom.md is proved here.

References are never our own code: the uncompressed twin of a real file, another decoder, or the array that an
encoder was given.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from io import BytesIO
from itertools import combinations, product
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from PIL import Image
from pydicom import uid
from pydicom.data import get_testdata_file
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate, generate_frames
from pydicom.pixels import get_encoder
from pydicom.pixels.processing import apply_color_lut, apply_rescale, apply_windowing, convert_color_space

from echojepa.data.reading import frames
from echojepa.data.reading.dicom import codecs
from echojepa.data.reading.dicom.framing import pixels_in
from echojepa.data.reading.dicom.pixels import NATIVE, DicomFrames, open_pixels
from echojepa.data.reading.dicom.reader import example_cines
from echojepa.data.reading.frames import Frames, is_coloured, luma
from echojepa.data.reading.rejection import Rejected
from echojepa.data.sector.sector import find_sector
from echojepa.vocabulary import Reason

RANDOM = np.random.default_rng(7)
DOC = Path(__file__).parents[2] / "docs" / "reference" / "dicom.md"


def pairwise(*axes: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Few cells of a grid in which every two values of two axes meet once at least, found greedily."""

    def pairs(cell: tuple[int, ...]) -> set[tuple[tuple[int, int], tuple[int, int]]]:
        return set(combinations(enumerate(cell), 2))

    cells = list(product(*(range(len(axis)) for axis in axes)))
    missing, chosen = set().union(*map(pairs, cells)), []
    while missing:
        chosen.append(max(cells, key=lambda cell: len(pairs(cell) & missing)))
        missing -= pairs(chosen[-1])
    return [tuple(axis[place] for axis, place in zip(axes, cell, strict=True)) for cell in chosen]


def real(name: str) -> Dataset:
    """A file of pydicom's wheel or of pydicom-data's."""
    path = get_testdata_file(name, download=False)
    assert path is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(BytesIO(Path(str(path)).read_bytes()))


def opened_pixels(data: Dataset) -> Frames:
    """The frames of a file that was read whole."""
    return open_pixels(data, pixels_in(data))


def make(
    stored: NDArray[Any] | list[bytes],
    syntax: uid.UID,
    shape: tuple[int, ...],
    photometric: str,
    **changes: Any,
) -> Dataset:
    """A file in memory, written and read again. `shape` is (T, H, W[, 3]); `stored` its samples or frames."""
    data = Dataset()
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = uid.UltrasoundMultiFrameImageStorage
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = "2.25.7"
    data.NumberOfFrames, data.Rows, data.Columns = shape[:3]
    data.SamplesPerPixel = 3 if len(shape) == 4 else 1
    if len(shape) == 4:
        data.PlanarConfiguration = 0
    data.PhotometricInterpretation, data.PixelRepresentation = photometric, 0
    data.BitsAllocated = data.BitsStored = 8
    for name, value in changes.items():
        setattr(data, name, value)
    data.HighBit = data.BitsStored - 1
    if isinstance(stored, list):
        data.PixelData = encapsulate(stored)
        data["PixelData"].VR = "OB"
    else:
        order = "<" if syntax.is_little_endian else ">"
        content = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
        data.PixelData = content + b"\0" * (len(content) % 2)
        data["PixelData"].VR = "OB" if data.BitsAllocated == 8 else "OW"
    buffer = BytesIO()
    data.save_as(buffer, enforce_file_format=True)
    return pydicom.dcmread(BytesIO(buffer.getvalue()))


def read(data: Dataset, **options: Any) -> NDArray[np.uint8]:
    loop = opened_pixels(data)
    return np.stack(list(loop.read(range(loop.count), **options)))


def smooth(*shape: int) -> NDArray[np.uint8]:
    """A picture that JPEG keeps: slow waves, other phases in every frame and channel."""
    grid = np.indices(shape).astype(np.float64)
    rows, columns = grid[1], grid[2]
    phase = grid[0] + (2 * grid[3] if len(shape) == 4 else 0)
    return (127 + 60 * np.sin(rows / 9 + phase) + 60 * np.cos(columns / 7 - phase)).astype(np.uint8)


def noise(*shape: int, bits: int = 8) -> NDArray[Any]:
    return RANDOM.integers(0, 1 << bits, shape).astype(np.uint8 if bits <= 8 else np.uint16)


def apart(one: NDArray[Any], other: NDArray[Any]) -> int:
    assert one.shape == other.shape
    return int(np.abs(one.astype(np.int64) - other.astype(np.int64)).max())


TWINS = {
    "MR_small_implicit.dcm": "MR_small.dcm",
    "MR_small_expb.dcm": "MR_small.dcm",
    "SC_rgb_expb_2frame.dcm": "SC_rgb_2frame.dcm",
    "SC_rgb_expb_16bit_2frame.dcm": "SC_rgb_16bit_2frame.dcm",
    "SC_rgb_small_odd_big_endian.dcm": "SC_rgb_small_odd.dcm",
    "OBXXXX1A_expb_2frame.dcm": "OBXXXX1A_2frame.dcm",
    "gdcm-US-ALOKA-16_big.dcm": "gdcm-US-ALOKA-16.dcm",
    "color-pl.dcm": "color-px.dcm",
    "OBXXXX1A_rle_2frame.dcm": "OBXXXX1A_2frame.dcm",
    "SC_rgb_rle_16bit_2frame.dcm": "SC_rgb_16bit_2frame.dcm",
    "emri_small_RLE.dcm": "emri_small.dcm",
    "MR_small_RLE.dcm": "MR_small.dcm",
    "SC_rgb_jpeg_gdcm.dcm": "SC_rgb.dcm",
    "emri_small_jpeg_ls_lossless.dcm": "emri_small.dcm",
    "MR_small_jpeg_ls_lossless.dcm": "MR_small.dcm",
    "US1_J2KR.dcm": "US1_UNCR.dcm",
    "US1_J2KI.dcm": "US1_UNCI.dcm",
    "MR2_J2KI.dcm": "MR2_UNCI.dcm",
    "693_J2KR.dcm": "693_UNCR.dcm",
}


@pytest.mark.parametrize("name", TWINS)
def test_a_real_file_reads_as_its_uncompressed_little_endian_twin(name: str) -> None:
    found, twin = read(real(name)), read(real(TWINS[name]))
    np.testing.assert_array_equal(found, twin)
    assert np.ptp(found) > 20


@pytest.mark.parametrize("name", ["SC_rgb_jls_lossy_line.dcm", "SC_rgb_jls_lossy_sample.dcm"])
def test_near_lossless_files_are_near_their_twin(name: str) -> None:
    assert 0 < apart(read(real(name)), read(real("SC_rgb.dcm"))) <= 2


@pytest.mark.parametrize("name", ["image_dfl.dcm", "US1_UNCR.dcm", "color-pl.dcm", "ExplVR_BigEnd.dcm"])
def test_plain_bytes_come_out_as_they_stand(name: str) -> None:
    data = real(name)
    size = int(data.Rows) * int(data.Columns)
    shape = int(data.Rows), int(data.Columns)
    samples = np.frombuffer(data.PixelData, np.uint8)[: size * data.SamplesPerPixel]
    if data.SamplesPerPixel == 3:
        planes = samples.reshape(3, size).T if data.PlanarConfiguration else samples.reshape(size, 3)
        np.testing.assert_array_equal(read(data)[0], planes.reshape(*shape, 3))
    else:
        np.testing.assert_array_equal(read(data)[0], samples.reshape(shape))


JPEGS = [
    "examples_ybr_color.dcm", "color3d_jpeg_baseline.dcm", "SC_rgb_dcmtk_+eb+cr.dcm", "SC_rgb_jpeg.dcm",
    "SC_jpeg_no_color_transform.dcm", "SC_jpeg_no_color_transform_2.dcm", "SC_rgb_jpeg_app14_dcmd.dcm",
    "SC_rgb_small_odd_jpeg.dcm", "SC_rgb_dcmtk_+eb+cy+n1.dcm", "SC_rgb_dcmtk_+eb+cy+np.dcm",
    "SC_rgb_dcmtk_+eb+cy+s4.dcm", "SC_rgb_jpeg_lossy_gdcm.dcm",
]  # fmt: skip


@pytest.mark.parametrize("name", JPEGS)
def test_jpeg_in_each_colour_space_reads_as_pydicom_reads_it(name: str) -> None:
    data = real(name)
    indices = sorted({0, int(data.get("NumberOfFrames", 1)) // 2})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = pydicom.pixels.iter_pixels(data, indices=indices, decoding_plugin="pillow")
        for ours, reference in zip(opened_pixels(data).read(indices), theirs, strict=True):
            assert apart(ours, reference) <= 1


def test_a_jfif_codestream_is_ycbcr_whatever_the_header_says() -> None:
    stored = smooth(1, 48, 80, 3)
    encoded = to_jpeg(stored[0])
    assert encoded[6:10] == b"JFIF"
    for photometric in ("RGB", "YBR_FULL"):
        assert apart(read(make([encoded], uid.JPEGBaseline8Bit, stored.shape, photometric)), stored) <= 6


@pytest.mark.parametrize("name", JPEGS)
def test_grey_of_a_jpeg_is_the_luma_of_its_colour_where_that_does_not_clip(name: str) -> None:
    loop = opened_pixels(real(name))
    (colour,), (grey,) = loop.read([0]), loop.read([0], grey=True)
    assert grey.shape == colour.shape[:2]
    kept = (colour.min(-1) > 0) & (colour.max(-1) < 255)
    assert not kept.any() or apart(luma(colour)[kept], grey[kept]) <= 1


def test_grey_of_a_real_cine_is_the_stored_luma() -> None:
    data = real("color3d_jpeg_baseline.dcm")
    grey = next(opened_pixels(data).read([60], grey=True))
    stored = pydicom.pixels.pixel_array(data, index=60, raw=True, decoding_plugin="pillow")[..., 0]
    np.testing.assert_array_equal(grey, stored)


def test_twelve_bit_jpeg_of_a_real_file_is_near_its_lossless_twin() -> None:
    lossy, lossless = (opened_pixels(real(name)) for name in ("JPGExtended.dcm", "JPEG-LL.dcm"))
    assert isinstance(lossy, DicomFrames) and isinstance(lossless, DicomFrames)
    one, other = (loop.decode(0, False).samples.astype(int) for loop in (lossy, lossless))
    assert (
        other.max() > 255
        and np.abs(one - other).mean() < 2.5
        and np.corrcoef(one.flat, other.flat)[0, 1] > 0.98
    )


@pytest.mark.parametrize("name", ["JPGLosslessP14SV1_1s_1f_8b.dcm", "SC_rgb_jpeg_gdcm.dcm"])
def test_jpeg_lossless_reads_as_another_decoder_reads_it(name: str) -> None:
    data = real(name)
    encoded = next(generate_frames(data.PixelData, number_of_frames=1))
    np.testing.assert_array_equal(read(data)[0], imagecodecs.jpegsof3_decode(encoded))


def by_pydicom(syntax: uid.UID, plugin: str, **options: Any) -> Any:
    """An encoder of pydicom's for one (H, W[, 3]) frame."""

    def encode(frame: NDArray[Any]) -> bytes:
        bits = 8 * frame.dtype.itemsize
        colour = frame.ndim == 3
        return get_encoder(syntax).encode(
            frame, encoding_plugin=plugin, rows=frame.shape[0], columns=frame.shape[1], number_of_frames=1,
            samples_per_pixel=3 if colour else 1, bits_allocated=bits, bits_stored=bits,
            pixel_representation=0, planar_configuration=0,
            photometric_interpretation="RGB" if colour else "MONOCHROME2", **options,
        )  # fmt: skip

    return encode


def lossless_jpeg(predictor: int) -> Any:
    def encode(frame: NDArray[Any]) -> bytes:
        space = {"colorspace": "RGB", "outcolorspace": "RGB"} if frame.ndim == 3 else {}
        return imagecodecs.jpeg8_encode(frame, lossless=True, predictor=predictor, **space)

    return encode


def lossless_jpeg2000(frame: NDArray[Any], *, mct: bool = False) -> bytes:
    return imagecodecs.jpeg2k_encode(frame, codecformat="J2K", reversible=True, mct=mct)


LOSSLESS = {
    uid.RLELossless: by_pydicom(uid.RLELossless, "pydicom"),
    uid.JPEGLossless: lossless_jpeg(4),
    uid.JPEGLosslessSV1: lossless_jpeg(1),
    uid.JPEGLSLossless: by_pydicom(uid.JPEGLSLossless, "pyjpegls"),
    uid.JPEG2000Lossless: lossless_jpeg2000,
    uid.HTJ2KLossless: imagecodecs.htj2k_encode,
    uid.HTJ2KLosslessRPCL: imagecodecs.htj2k_encode,
}


@pytest.mark.parametrize(
    ("syntax", "colour", "bits", "count"), pairwise([*LOSSLESS], (False, True), (8, 16), (1, 3))
)
def test_lossless_syntaxes_return_what_was_encoded(
    syntax: uid.UID, colour: bool, bits: int, count: int
) -> None:
    stored = noise(count, 21, 34, *([3] if colour else []), bits=bits)
    encoded = [LOSSLESS[syntax](frame) for frame in stored]
    photometric = "RGB" if colour else "MONOCHROME2"
    data = make(encoded, syntax, stored.shape, photometric, BitsAllocated=bits, BitsStored=bits)
    expected = stored if bits == 8 else np.rint(stored / 257).astype(np.uint8)
    np.testing.assert_array_equal(read(data), expected)
    assert opened_pixels(data).monochrome is not colour


@pytest.mark.parametrize("photometric", ["YBR_RCT", "RGB"])
def test_jpeg2000_with_the_reversible_transform_comes_back_as_rgb(photometric: str) -> None:
    stored = noise(2, 21, 34, 3)
    encoded = [lossless_jpeg2000(frame, mct=True) for frame in stored]
    data = make(encoded, uid.JPEG2000Lossless, stored.shape, photometric)
    np.testing.assert_array_equal(read(data), stored)


@pytest.mark.parametrize(("syntax", "colour"), [
    (uid.JPEG2000, False), (uid.JPEG2000, True), (uid.HTJ2K, False), (uid.HTJ2K, True),
    (uid.JPEGLSNearLossless, False), (uid.JPEGLSNearLossless, True),
    (uid.JPEGBaseline8Bit, False), (uid.JPEGBaseline8Bit, True),
    (uid.JPEGExtended12Bit, False), (uid.JPEGExtended12Bit, True),
])  # fmt: skip
def test_lossy_syntaxes_return_nearly_what_was_encoded(syntax: uid.UID, colour: bool) -> None:
    stored = smooth(2, 48, 80, *([3] if colour else []))
    photometric = "MONOCHROME2"
    if syntax == uid.JPEG2000:
        encoded = [imagecodecs.jpeg2k_encode(f, 50, codecformat="J2K", reversible=False) for f in stored]
        photometric = "YBR_ICT" if colour else photometric
    elif syntax == uid.HTJ2K:
        encoded = [imagecodecs.htj2k_encode(f, reversible=False, level=0.01) for f in stored]
        photometric = "YBR_ICT" if colour else photometric
    elif syntax == uid.JPEGLSNearLossless:
        encoded = [by_pydicom(syntax, "pyjpegls", jls_error=2)(f) for f in stored]
        photometric = "RGB" if colour else photometric
    else:
        encoded = [to_jpeg(f) for f in stored]
        photometric = "YBR_FULL_422" if colour else photometric
    found = read(make(encoded, syntax, stored.shape, photometric))
    assert 0 < apart(found, stored) <= 6 and np.abs(found.astype(int) - stored).mean() < 2


def to_jpeg(frame: NDArray[np.uint8], **options: Any) -> bytes:
    buffer = BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", **{"quality": 95, "subsampling": 0, **options})
    return buffer.getvalue()


def test_colour_of_twelve_bit_jpeg_is_converted() -> None:
    rgb = smooth(1, 48, 80, 3)
    ybr = convert_color_space(rgb, "RGB", "YBR_FULL")[0].astype(np.uint16) << 4
    options = {
        "colorspace": "RGB",
        "outcolorspace": "RGB",
    }  # the encoder is to leave Y, Cb and Cr as they are
    encoded = imagecodecs.jpeg8_encode(ybr, 98, bitspersample=12, **options)
    data = make([encoded], uid.JPEGExtended12Bit, rgb.shape, "YBR_FULL", BitsAllocated=16, BitsStored=12)
    assert apart(read(data), rgb) <= 6


FORMS = [
    ("MONOCHROME1", 0), ("MONOCHROME2", 0), ("RGB", 0), ("RGB", 1), ("YBR_FULL", 0), ("YBR_FULL", 1),
    ("YBR_FULL_422", 0), ("PALETTE COLOR", 0),
]  # fmt: skip
"""Photometric interpretations, and whether colour lies plane by plane."""


@pytest.mark.parametrize(("form", "bits", "count", "syntax"), pairwise(FORMS, (8, 12, 16), (1, 3), [*NATIVE]))
def test_every_photometric_planar_depth_and_count_reads_by_its_definition(
    form: tuple[str, int], bits: int, count: int, syntax: uid.UID
) -> None:
    photometric, planar = form
    colour = photometric in ("RGB", "YBR_FULL", "YBR_FULL_422")
    shape = (
        count,
        5,
        6 if photometric == "YBR_FULL_422" else 7,
        *([3] if colour else []),
    )  # 5 x 7: odd bytes
    stored = noise(*shape, bits=bits)
    changes: dict[str, Any] = {"BitsAllocated": 8 if bits == 8 else 16, "BitsStored": bits}
    written = stored
    if colour:
        changes["PlanarConfiguration"] = planar
        written = np.moveaxis(stored, -1, 1) if planar else stored
    if photometric == "YBR_FULL_422":
        stored[:, :, 1::2, 1:] = stored[:, :, ::2, 1:]
        luminance, chroma = stored[..., 0].reshape(count, 5, 3, 2), stored[:, :, ::2, 1:]
        written = np.concatenate([luminance, chroma], -1)
    level = np.rint(stored / ((1 << bits) - 1) * 255).astype(np.uint8)
    expected = level
    if photometric == "MONOCHROME1":
        expected = np.rint((1 - stored / ((1 << bits) - 1)) * 255)
    elif photometric.startswith("YBR"):
        expected = convert_color_space(level, "YBR_FULL", "RGB")
    elif photometric == "PALETTE COLOR":
        lut = noise(1 << bits, 3, bits=16)
        kind = "<u2" if syntax.is_little_endian else ">u2"
        for number, name in enumerate(("Red", "Green", "Blue")):
            changes[f"{name}PaletteColorLookupTableDescriptor"] = [(1 << bits) % 65536, 0, 16]
            changes[f"{name}PaletteColorLookupTableData"] = lut[:, number].astype(kind).tobytes()
        expected = lut[stored] >> 8
    data = make(written, syntax, shape, photometric, **changes)
    found = read(data)
    assert apart(found, expected) <= (photometric.startswith("YBR") or bits > 8)
    grey = read(data, grey=True)
    assert grey.shape == (count, *shape[1:3])
    if photometric.startswith("YBR"):
        np.testing.assert_array_equal(grey, level[..., 0])
    else:
        np.testing.assert_array_equal(grey, luma(found) if found.ndim == 4 else found)


def test_eight_bit_samples_in_the_words_of_a_big_endian_file_are_put_in_order() -> None:
    stored = noise(3, 5, 7)
    data = make(stored, uid.ExplicitVRBigEndian, stored.shape, "MONOCHROME2")
    content = np.frombuffer(data.PixelData, np.uint8)
    data.PixelData, data["PixelData"].VR = content.reshape(-1, 2)[:, ::-1].tobytes(), "OW"
    np.testing.assert_array_equal(read(data), stored)


@pytest.mark.parametrize("name", ["gdcm-US-ALOKA-16.dcm", "examples_palette.dcm", "OBXXXX1A.dcm"])
def test_palettes_of_real_ultrasound_read_as_pydicom_reads_them(name: str) -> None:
    data = real(name)
    theirs = apply_color_lut(data.pixel_array, data) >> 8
    np.testing.assert_array_equal(read(data)[0], theirs)


def test_a_palette_of_greys_is_monochrome() -> None:
    stored, ramp = noise(2, 5, 6), np.arange(256)[::-1].astype("<u2") << 8
    changes: dict[str, Any] = {}
    for name in ("Red", "Green", "Blue"):
        changes[f"{name}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
        changes[f"{name}PaletteColorLookupTableData"] = ramp.tobytes()
    data = make(stored, uid.ExplicitVRLittleEndian, stored.shape, "PALETTE COLOR", **changes)
    np.testing.assert_array_equal(read(data), 255 - stored)
    assert opened_pixels(data).monochrome


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
@pytest.mark.parametrize("signed", [0, 1])
@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
def test_a_stated_window_is_applied_above_eight_bits_as_pydicom_applies_it(
    photometric: str, signed: int, function: str
) -> None:
    stored = noise(2, 20, 30, bits=12).astype(np.int16 if signed else np.uint16) - 2048 * signed
    data = make(
        stored, uid.ExplicitVRLittleEndian, stored.shape, photometric, BitsAllocated=16, BitsStored=12,
        PixelRepresentation=signed, WindowCenter=[-100, 5], WindowWidth=[900, 9], RescaleSlope=2,
        RescaleIntercept=-500, VOILUTFunction=function,
    )  # fmt: skip
    shown = apply_windowing(apply_rescale(stored, data), data)
    low = -2048 * signed * 2 - 500
    expected = 255 * (shown - low) / (4095 * 2)
    found = read(data)
    assert np.abs(found - (255 - expected if photometric == "MONOCHROME1" else expected)).max() <= 0.51
    assert np.ptp(found) > 100


def test_unused_high_bits_do_not_show() -> None:
    stored = noise(1, 9, 9, bits=12)
    data = make(stored | 0xA000, uid.ExplicitVRLittleEndian, stored.shape, "MONOCHROME2",
                BitsAllocated=16, BitsStored=12)  # fmt: skip
    np.testing.assert_array_equal(read(data), np.rint(stored / 4095 * 255).astype(np.uint8))


def opened(kind: str) -> Frames:
    return opened_pixels(real({"native": "emri_small.dcm", "encoded": "examples_ybr_color.dcm"}[kind]))


@pytest.mark.parametrize("kind", ["native", "encoded"])
def test_frames_come_in_the_order_asked_and_no_others_are_decoded(
    kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    loop = opened(kind)
    assert isinstance(loop, DicomFrames)
    everything = list(loop.read(range(loop.count)))
    decoded: list[int] = []
    original = loop.decode
    monkeypatch.setattr(loop, "decode", lambda index, grey: decoded.append(index) or original(index, grey))
    for index, frame in zip([7, 2, 2, 9], loop.read([7, 2, 2, 9]), strict=True):
        np.testing.assert_array_equal(frame, everything[index])
        assert decoded[-1] == index
    assert decoded == [7, 2, 2, 9]
    with pytest.raises(IndexError):
        next(loop.read([loop.count]))


@pytest.mark.parametrize("kind", ["native", "encoded"])
def test_reading_a_loop_holds_no_more_than_a_few_frames(kind: str) -> None:
    import tracemalloc

    if kind == "native":
        stored = np.zeros((60, 200, 300, 3), np.uint8)
        loop = opened_pixels(make(stored, uid.ExplicitVRLittleEndian, stored.shape, "RGB"))
    else:
        loop = opened_pixels(real("color3d_jpeg_baseline.dcm"))
    tracemalloc.start()
    for _ in loop.read(range(loop.count)):
        pass
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * loop.height * loop.width * 3


def rejection(data: Dataset) -> Rejected:
    with pytest.raises(Rejected) as caught:
        read(data)
    return caught.value


def test_a_header_that_claims_more_than_the_limits_is_refused_before_allocation() -> None:
    for changes in (
        {"Rows": 65535, "Columns": 65535, "NumberOfFrames": 65535},
        {"Rows": 6000, "Columns": 6000},
        {"NumberOfFrames": 2**31 - 1},
    ):
        for name in ("US1_UNCR.dcm", "US1_J2KR.dcm"):
            data = real(name)
            data.update(changes)
            assert rejection(data).reason == Reason.TOO_LARGE


@pytest.mark.parametrize("encode", [to_jpeg, LOSSLESS[uid.JPEG2000Lossless], LOSSLESS[uid.JPEGLSLossless]])
def test_a_codestream_larger_than_its_header_is_not_decoded(
    encode: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    syntaxes = {to_jpeg: uid.JPEGBaseline8Bit, LOSSLESS[uid.JPEG2000Lossless]: uid.JPEG2000Lossless}
    syntax = syntaxes.get(encode, uid.JPEGLSLossless)
    data = make([encode(smooth(1, 64, 64)[0])], syntax, (1, 32, 32), "MONOCHROME2")
    monkeypatch.setitem(codecs.CODECS, syntax, lambda *_: pytest.fail("decoded"))
    assert rejection(data).reason == Reason.TRUNCATED


def test_other_lengths_and_counts_than_the_header_claims_are_refused() -> None:
    native = real("US1_UNCR.dcm")
    native.PixelData = native.PixelData[:-2]
    assert rejection(native).reason == Reason.TRUNCATED
    longer = real("US1_UNCR.dcm")
    longer.PixelData *= 2
    assert rejection(longer).reason == Reason.TRUNCATED
    for count in (29, 31):
        encoded = real("examples_ybr_color.dcm")
        encoded.NumberOfFrames = count
        assert rejection(encoded).reason == Reason.TRUNCATED
    empty = real("US1_UNCR.dcm")
    empty.PixelData = b""
    assert rejection(empty).reason == Reason.NO_PIXELS
    del empty.PixelData
    assert rejection(empty).reason == Reason.NO_PIXELS


def test_what_cannot_be_decoded_is_refused_by_name() -> None:
    data = real("SC_rgb_16bit.dcm")
    data.BitsAllocated = data.BitsStored = 32
    assert rejection(data).reason == Reason.UNSUPPORTED
    data = real("US1_J2KR.dcm")
    data.file_meta.TransferSyntaxUID = uid.JPIPHTJ2KReferenced
    data.PixelData = encapsulate([b"no codestream at all"])
    assert rejection(data).reason == Reason.UNSUPPORTED and "JPIP" in str(rejection(data))
    data = real("US1_UNCR.dcm")
    data.PhotometricInterpretation = "Doe^Jane"
    assert rejection(data).reason == Reason.UNSUPPORTED and "Doe" not in str(rejection(data))


def test_no_warning_or_log_quotes_a_damaged_value(
    caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    stored = noise(1, 8, 8)
    data = make(stored, uid.ExplicitVRLittleEndian, stored.shape, "MONOCHROME2")
    data.NumberOfFrames = 10_000_000
    buffer = BytesIO()
    data.save_as(buffer)
    damaged = pydicom.dcmread(BytesIO(buffer.getvalue().replace(b"10000000", b"doe^jane")))
    heard = [str(rejection(damaged)), *caplog.messages, *(str(warning.message) for warning in recwarn)]
    assert not any("doe" in text for text in heard)


DAMAGED = ["examples_ybr_color.dcm", "US1_J2KR.dcm", "OBXXXX1A_rle_2frame.dcm", "SC_rgb_jpeg_gdcm.dcm",
           "emri_small_jpeg_ls_lossless.dcm", "JPGExtended.dcm"]  # fmt: skip


@pytest.mark.parametrize("name", DAMAGED)
def test_damage_anywhere_is_a_refusal_and_never_another_error(name: str) -> None:
    data = real(name)
    content = bytearray(data.PixelData)
    refused = 0
    for _ in range(12):
        broken = bytearray(content)
        for at in RANDOM.integers(0, len(broken), 40):
            broken[at] = RANDOM.integers(0, 256)
        cut = RANDOM.integers(len(broken) // 2, len(broken))
        for damaged in (bytes(broken), bytes(content[:cut])):
            data.PixelData = damaged
            try:
                loop = opened_pixels(data)
                list(loop.read(range(min(loop.count, 3))))
            except Rejected as refusal:
                refused += 1
                assert refusal.reason in (Reason.TRUNCATED, Reason.UNSUPPORTED)
    assert refused


def test_colour_is_seen_inside_the_sector_only() -> None:
    frame = np.repeat(smooth(1, 60, 80)[0][..., None], 3, -1)
    inside = np.zeros((60, 80), bool)
    inside[10:50, 10:70] = True
    assert not is_coloured(frame, inside) and not is_coloured(frame[..., 0], inside)
    frame[:9, :9] = (255, 0, 0)
    assert not is_coloured(frame, inside)
    frame[20:23, 20:23] = (255, 0, 0)
    assert is_coloured(frame, inside)


def test_a_real_grey_cine_with_a_tinted_logo_is_not_coloured() -> None:
    for path in example_cines():
        loop = opened_pixels(pydicom.dcmread(path))
        colour = np.stack(list(loop.read(range(0, loop.count, loop.count // 6))))
        inside = find_sector(luma(colour)).mask
        assert not any(is_coloured(frame, inside) for frame in colour)
        assert is_coloured(colour[0], ~inside)


@pytest.mark.parametrize(
    ("name", "sector", "coloured"),
    [
        ("color-px.dcm", (30, 110, 40, 210), True),  # colour Doppler
        ("US1_UNCR.dcm", (140, 300, 90, 540), True),  # power Doppler
        ("OBXXXX1A.dcm", (90, 500, 150, 600), False),  # grey, with a blue title bar
    ],
)
def test_real_doppler_is_colour_and_a_grey_sector_below_a_blue_bar_is_not(
    name: str, sector: tuple[int, int, int, int], coloured: bool
) -> None:
    frame = next(opened_pixels(real(name)).read([0]))
    inside = np.zeros(frame.shape[:2], bool)
    top, bottom, left, right = sector
    inside[top:bottom, left:right] = True
    assert is_coloured(frame, inside) is coloured and is_coloured(frame, np.ones_like(inside))


def test_the_documents_limits_and_syntaxes_are_those_of_the_code() -> None:
    text, here = DOC.read_text(encoding="utf-8"), Path(__file__).read_text(encoding="utf-8")
    named = set(re.findall(r"`([^`*]+\.dcm)`", text))
    assert len(named) > 20 and all(f'"{name}"' in here for name in named)
    listed = set(re.findall(r"^\| `(1\.2[0-9.]+)` \|", text, re.MULTILINE))
    assert listed == {str(s) for s in (*NATIVE, *codecs.CODECS, *uid.MPEGTransferSyntaxes)}
    assert f"{frames.MAX_FRAME_BYTES >> 20} MiB" in text and f"{frames.MAX_LOOP_BYTES >> 30} GiB" in text
