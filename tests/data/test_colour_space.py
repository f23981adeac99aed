"""Claims about colour spaces that a header gets wrong: read right by the pixels, or refused for that."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from numpy.typing import NDArray
from odd_files import become, doppler, encapsulated, fan, grey_rgb, jpegs, native, refusal, row, whole, ycc
from PIL import Image
from pydicom.uid import JPEGLosslessSV1

from echojepa.data.importers.listing import NOTHING
from echojepa.data.ingest.convert import Refused, looked_at
from echojepa.data.reading.dicom.colour import space_of
from echojepa.data.reading.recording import open_recording
from echojepa.vocabulary import Reason

PICTURES = {"grey": grey_rgb(), "doppler": doppler()}


def seen(path: Path) -> NDArray[np.uint8]:
    """The decoded frames of a file, (T, H, W, 3) or (T, H, W)."""
    return looked_at(open_recording(path, b"k" * 16, NOTHING).pixels)


def close(found: NDArray[np.uint8], wanted: NDArray[np.uint8], levels: float) -> bool:
    """Whether pictures differ by no more than so many levels on average."""
    wanted = wanted if found.ndim == 4 else wanted[..., 0]
    return float(np.abs(found.astype(int) - wanted).mean()) <= levels


def bare(frames: NDArray[np.uint8], jfif: bool = False) -> list[bytes]:
    """JPEG frames whose three components are the samples as they stand, said to be YCbCr or nothing."""
    blobs = []
    for frame in frames:
        buffer = BytesIO()
        Image.frombytes("YCbCr", frame.shape[1::-1], frame.tobytes()).save(
            buffer, "JPEG", quality=97, subsampling=0
        )
        blob = buffer.getvalue()
        assert blob[2:4] == b"\xff\xe0"
        blobs.append(blob if jfif else blob[:2] + blob[4 + int.from_bytes(blob[4:6], "big") :])
    return blobs


def halved(frames: NDArray[np.uint8]) -> bytes:
    """RGB frames as YBR_FULL_422 of the standard: Y Y Cb Cr."""
    full = ycc(frames)
    pairs = full.reshape(-1, 2, 3)
    return np.stack([pairs[:, 0, 0], pairs[:, 1, 0], pairs[:, 0, 1], pairs[:, 0, 2]], axis=1).tobytes()


def planes(frames: NDArray[np.uint8]) -> bytes:
    """Frames sample by sample."""
    return np.moveaxis(frames, -1, 1).tobytes()


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("said", ["RGB", "YBR_FULL", "YBR_FULL_422"])
@pytest.mark.parametrize("held", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("planar", [0, 1])
@pytest.mark.parametrize("said_planar", [0, 1])
def test_uncompressed_pixels_are_read_by_what_they_hold(
    tmp_path: Path, picture: str, said: str, held: str, planar: int, said_planar: int
) -> None:
    frames = PICTURES[picture]
    samples = frames if held == "RGB" else ycc(frames)
    content = planes(samples) if planar else samples.tobytes()
    path = native(
        tmp_path / "a.dcm", frames, content, PhotometricInterpretation=said, PlanarConfiguration=said_planar
    )
    assert close(seen(path), frames, 1.5)


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("said", ["RGB", "YBR_FULL", "YBR_FULL_422"])
def test_two_bytes_a_pixel_are_halved_chroma_whatever_the_header_says(
    tmp_path: Path, picture: str, said: str
) -> None:
    frames = PICTURES[picture]
    path = native(tmp_path / "a.dcm", frames, halved(frames), PhotometricInterpretation=said)
    assert close(seen(path), frames, 6)


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("said", ["RGB", "YBR_FULL_422", "YBR_FULL"])
@pytest.mark.parametrize("held", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("jfif", [False, True])
def test_jpeg_pixels_are_read_by_what_they_hold(
    tmp_path: Path, picture: str, said: str, held: str, jfif: bool
) -> None:
    frames = PICTURES[picture]
    blobs = bare(frames if held == "RGB" else ycc(frames), jfif)
    path = encapsulated(tmp_path / "a.dcm", frames, blobs, PhotometricInterpretation=said)
    assert close(seen(path), frames, 3)


@pytest.mark.parametrize(
    ("frames", "changes"),
    [
        (fan(), {"SamplesPerPixel": 3, "PhotometricInterpretation": "RGB", "PlanarConfiguration": 0}),
        (
            fan(),
            {"SamplesPerPixel": 3, "PhotometricInterpretation": "YBR_FULL_422", "PlanarConfiguration": 0},
        ),
        (grey_rgb(), {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}),
        (doppler(), {"SamplesPerPixel": 1, "PhotometricInterpretation": "MONOCHROME2"}),
    ],
)
def test_a_jpeg_has_the_components_that_its_codestream_says(
    tmp_path: Path, frames: NDArray[np.uint8], changes: dict[str, Any]
) -> None:
    path = encapsulated(tmp_path / "a.dcm", frames, jpegs(frames), **changes)
    found = seen(path)
    assert close(found, frames if frames.ndim == 4 else np.repeat(frames[..., None], 3, -1), 3)


@pytest.mark.parametrize("held", ["RGB", "YBR_FULL"])
@pytest.mark.parametrize("said", ["RGB", "YBR_FULL"])
def test_lossless_jpeg_pixels_are_read_by_what_they_hold(tmp_path: Path, held: str, said: str) -> None:
    frames = doppler()
    samples = frames if held == "RGB" else ycc(frames)
    blobs = [lossless(frame) for frame in samples]
    path = encapsulated(tmp_path / "a.dcm", frames, blobs, PhotometricInterpretation=said)
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = JPEGLosslessSV1
    data.save_as(path)
    assert close(seen(path), frames, 1.5)


def lossless(frame: NDArray[np.uint8]) -> bytes:
    """Lossless JPEG without a transform."""
    return bytes(
        imagecodecs.jpeg8_encode(frame, lossless=True, predictor=1, colorspace="RGB", outcolorspace="RGB")
    )


@pytest.mark.parametrize("said", ["RGB", "YBR_FULL"])
def test_a_length_of_no_known_colour_space_is_refused_for_it(tmp_path: Path, said: str) -> None:
    frames = grey_rgb()
    noise = np.random.default_rng(0).integers(0, 256, frames.size * 2 // 3, np.uint8).tobytes()
    for content in (frames.tobytes()[: frames.size // 2], noise):
        path = native(tmp_path / "a.dcm", frames, content, PhotometricInterpretation=said)
        assert refusal(path).startswith(Reason.COLOUR_SPACE)
        assert isinstance(become(path), Refused)


@pytest.mark.parametrize("seed", range(4))
def test_pictures_that_are_all_colour_are_left_to_their_header(seed: int) -> None:
    rng = np.random.default_rng(seed)
    bars = np.repeat(np.repeat(rng.integers(0, 256, (4, 4, 3)), 20, 0), 20, 1).astype(np.uint8)
    tinted = (grey_rgb(count=1)[0] * np.array([1, 0.8, 0.45 + seed / 9])).astype(np.uint8)
    for picture in (bars, tinted, np.zeros((50, 50, 3), np.uint8), np.full((50, 50, 3), 128, np.uint8)):
        assert space_of(picture, "RGB") == "RGB"
    for picture in (bars, ycc(tinted[None])[0]):
        assert space_of(picture, "YBR_FULL") == "YBR_FULL"


def test_ingest_keeps_all_of_the_sector_and_says_what_is_refused(tmp_path: Path) -> None:
    folder, frames = tmp_path / "in", doppler()
    right = native(folder / "right.dcm", frames)
    native(folder / "lie.dcm", frames[:-1], ycc(frames[:-1]).tobytes())
    native(folder / "none.dcm", frames, frames.tobytes()[: frames.size // 2])
    expected = row(right)
    found = whole(folder)
    assert [(r["height"], r["width"], r["colour"]) for r in found.rows] == [
        (expected.height, expected.width, True)
    ] * 2
    assert found.rejected == {Reason.COLOUR_SPACE: 1} == found.dry.refused
    assert found.checks["pixels do not decode"] == "ok"
