"""Claims about whole pictures in a damaged frame: wrong headers, delimiters, offset tables and counts."""

from __future__ import annotations

import struct
from mmap import mmap
from pathlib import Path

import numpy as np
import pydicom
import pytest
from odd_files import encapsulated, fan, grey_rgb, jpegs, native, refusal, row, whole
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import RLELossless

from echojepa.data.reading.dicom.pixels import DicomFrames
from echojepa.data.reading.recording import open_recording
from echojepa.vocabulary import Kind, Reason

FRAMES = fan()
BLOBS = jpegs(FRAMES)
SEQUENCE_END, ITEM_END = b"\xfe\xff\xdd\xe0" + bytes(4), b"\xfe\xff\x0d\xe0" + bytes(4)


def encoded(path: Path, **changes: object) -> Path:
    """Twelve JPEG frames, written by pydicom's rules."""
    encapsulated(path, FRAMES, BLOBS, **changes)
    assert path.read_bytes().endswith(SEQUENCE_END)
    return path


@pytest.mark.parametrize(
    "end", [b"", bytes(8), bytes(512), bytes(4), SEQUENCE_END + bytes(512), SEQUENCE_END[:-4]]
)
def test_encoded_frames_need_no_mark_of_their_end(tmp_path: Path, end: bytes) -> None:
    right = row(encoded(tmp_path / "right.dcm"))
    path = encoded(tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[:-8] + end)
    assert row(path).pixel_sha256 == right.pixel_sha256


@pytest.mark.parametrize("cut", [9, 300, 4000])
def test_a_last_frame_that_is_cut_is_refused(tmp_path: Path, cut: int) -> None:
    path = encoded(tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes()[:-cut])
    assert refusal(path).startswith(Reason.TRUNCATED)


@pytest.mark.parametrize("make", [lambda raw: raw[132:], lambda raw: raw[128:], lambda raw: raw])
@pytest.mark.parametrize("kind", ["native", "jpeg"])
def test_a_preamble_may_lack(tmp_path: Path, make: object, kind: str) -> None:
    path = native(tmp_path / "a.dcm", FRAMES) if kind == "native" else encoded(tmp_path / "a.dcm")
    right = row(path)
    path.write_bytes(make(path.read_bytes()))  # pyright: ignore[reportCallIssue]
    assert row(path).pixel_sha256 == right.pixel_sha256


@pytest.mark.parametrize("end", [SEQUENCE_END, ITEM_END + SEQUENCE_END])
@pytest.mark.parametrize("kind", ["native", "jpeg"])
def test_an_item_may_be_ended_by_its_sequence(tmp_path: Path, end: bytes, kind: str) -> None:
    path = native(tmp_path / "a.dcm", FRAMES) if kind == "native" else encoded(tmp_path / "a.dcm")
    right, raw = row(path), path.read_bytes()
    at = raw.find(b"\x18\x00\x11\x60SQ")
    length = struct.unpack("<L", raw[at + 8 : at + 12])[0]
    body = raw[at + 20 : at + 12 + length]
    begun = raw[: at + 8] + b"\xff" * 4 + b"\xfe\xff\x00\xe0" + b"\xff" * 4 + body
    path.write_bytes(begun + end + raw[at + 12 + length :])
    assert row(path).pixel_sha256 == right.pixel_sha256
    assert row(path).pixel_height_mm == right.pixel_height_mm == 0.5


@pytest.mark.parametrize("table", ["none", "right", "one", "zero", "far", "short", "reversed"])
@pytest.mark.parametrize("pieces", [1, 2])
def test_frames_are_found_whatever_the_offset_table_says(tmp_path: Path, table: str, pieces: int) -> None:
    right = row(encoded(tmp_path / "right.dcm"))
    blobs, starts = [], []
    for jpeg in BLOBS:
        jpeg += b"\0" * (len(jpeg) % 2)
        starts.append(sum(8 + len(blob) for blob in blobs))
        cut = len(jpeg) // 4 * 2
        blobs += [jpeg] if pieces == 1 else [jpeg[:cut], jpeg[cut:]]
    offsets = {
        "none": [], "right": starts, "one": [0], "zero": [0] * len(starts), "far": [s + 8 for s in starts],
        "short": starts[:5], "reversed": starts[::-1],
    }[table]  # fmt: skip
    path = encapsulated(tmp_path / "a.dcm", FRAMES, blobs, offsets)
    assert row(path).pixel_sha256 == right.pixel_sha256


@pytest.mark.parametrize("count", [None, "", 0, 1])
@pytest.mark.parametrize("table", [False, True])
def test_frames_that_are_not_counted_are_all_read(tmp_path: Path, count: object, table: bool) -> None:
    right = row(encoded(tmp_path / "right.dcm"))
    starts = np.cumsum([0, *(8 + len(b) + len(b) % 2 for b in BLOBS[:-1])]).tolist() if table else []
    path = encapsulated(tmp_path / "a.dcm", FRAMES, BLOBS, starts, NumberOfFrames=count)
    kept = row(path)
    assert kept.kind == Kind.CINE and len(kept.frames) == len(FRAMES)
    assert kept.pixel_sha256 == right.pixel_sha256


@pytest.mark.parametrize("count", [None, ""])
@pytest.mark.parametrize("colour", [False, True])
def test_uncompressed_frames_that_are_not_counted_are_counted_by_length(
    tmp_path: Path, count: object, colour: bool
) -> None:
    frames = grey_rgb() if colour else FRAMES
    assert len(row(native(tmp_path / "a.dcm", frames, NumberOfFrames=count)).frames) == len(frames)


def test_frames_in_rle_that_are_not_counted_are_all_read(tmp_path: Path) -> None:
    path = native(tmp_path / "a.dcm", FRAMES)
    right = row(path)
    data = pydicom.dcmread(path)
    data.compress(RLELossless, generate_instance_uid=False)
    data.NumberOfFrames = 1
    data.save_as(path)
    assert row(path).pixel_sha256 == right.pixel_sha256


@pytest.mark.parametrize("count", [None, "", 0, 1])
@pytest.mark.parametrize("kind", ["native", "jpeg", "fragments"])
def test_a_still_without_a_count_is_a_still(tmp_path: Path, count: object, kind: str) -> None:
    frames, path = FRAMES[:1], tmp_path / "a.dcm"
    if kind == "native":
        native(path, frames, NumberOfFrames=count)
    else:
        blob = BLOBS[0]
        encapsulated(
            path, frames, [blob] if kind == "jpeg" else [blob[:1000], blob[1000:]], NumberOfFrames=count
        )
    kept = row(path)
    assert kept.kind == Kind.STILL and len(kept.frames) == 1


@pytest.mark.parametrize("count", [11, 13, 24])
def test_another_count_than_there_are_is_refused(tmp_path: Path, count: int) -> None:
    assert refusal(encoded(tmp_path / "a.dcm", NumberOfFrames=count)).startswith(Reason.TRUNCATED)


@pytest.mark.parametrize("modality", [None, "", "us", "Us ", "US"])
@pytest.mark.parametrize("kind", ["1.2.840.10008.5.1.4.1.1.3.1", "1.2.840.10008.5.1.4.1.1.3"])
def test_a_file_of_an_ultrasound_class_needs_no_modality(tmp_path: Path, modality: object, kind: str) -> None:
    row(native(tmp_path / "a.dcm", FRAMES, Modality=modality, SOPClassUID=kind))


@pytest.mark.parametrize(
    ("modality", "kind"),
    [
        ("CT", "1.2.840.10008.5.1.4.1.1.3.1"),
        (None, "1.2.840.10008.5.1.4.1.1.2"),
        ("", "1.2.840.10008.5.1.4.1.1.7"),
    ],
)
def test_what_names_another_modality_is_not_ultrasound(tmp_path: Path, modality: object, kind: str) -> None:
    path = native(tmp_path / "a.dcm", FRAMES, Modality=modality, SOPClassUID=kind)
    assert refusal(path).startswith(Reason.NOT_ULTRASOUND)


@pytest.mark.parametrize("cut", [2, 3, 10])
def test_a_deflated_file_that_is_cut_or_too_large_is_refused(
    tmp_path: Path, cut: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = native(tmp_path / "a.dcm", FRAMES)
    right = row(path)
    data = pydicom.dcmread(path)
    data.file_meta.TransferSyntaxUID = pydicom.uid.DeflatedExplicitVRLittleEndian
    data.save_as(path)
    raw = path.read_bytes()
    assert row(path).pixel_sha256 == right.pixel_sha256
    path.write_bytes(raw[: len(raw) * (cut - 1) // cut])
    assert refusal(path).startswith(Reason.TRUNCATED)
    path.write_bytes(raw)
    monkeypatch.setattr("echojepa.data.reading.dicom.framing.MAX_INFLATED", 1 << 16)
    assert refusal(path).startswith(Reason.TOO_LARGE)


def test_all_of_these_come_in_together_and_a_file_is_not_held_in_memory(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    for number, change in enumerate((lambda raw: raw[132:], lambda raw: raw[:-8], lambda raw: raw[128:])):
        path = encapsulated(folder / f"{number}.dcm", FRAMES[number:], BLOBS[number:], NumberOfFrames=None)
        path.write_bytes(change(path.read_bytes()))
    found = whole(folder)
    assert len(found.rows) == 3 and not found.rejected and not found.dry.refused
    large = native(tmp_path / "large.dcm", np.tile(FRAMES, (50, 1, 1)))
    pixels = open_recording(large, b"k" * 16).pixels
    assert isinstance(pixels, DicomFrames)
    frame = pixels.decode(0, False).samples
    while isinstance(frame.base, np.ndarray):
        frame = frame.base
    assert isinstance(frame.base, memoryview) and isinstance(frame.base.obj, mmap)


@pytest.mark.parametrize(
    ("code", "scheme", "view"),
    [
        ("399214001", "SCT", "A4C"), ("G-A19C", "SRT", "A4C"), ("G-A19C", "SNM3", "A4C"),
        ("G-A19C ", "99SDM", "A4C"),
        ("G-A19B", "SRT", "A2C"), ("G-A19C", "LOCAL", None), ("nonsense", "SRT", None),
    ],
)  # fmt: skip
def test_a_view_is_known_by_its_older_code_too(
    tmp_path: Path, code: str, scheme: str, view: str | None
) -> None:
    item = Dataset()
    item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, scheme, "Doe^Jane"
    assert row(native(tmp_path / "a.dcm", FRAMES, ViewCodeSequence=Sequence([item]))).view == view


@pytest.mark.parametrize("count", [100_001, 60_000_000])
def test_a_header_may_not_claim_more_frames_than_an_hour_has(tmp_path: Path, count: int) -> None:
    path = native(tmp_path / "a.dcm", FRAMES[:, :1, :1], bytes(count), NumberOfFrames=count)
    assert refusal(path).startswith(Reason.TOO_LARGE)


@pytest.mark.parametrize(
    "called", ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90"]
)
def test_encoded_frames_are_read_by_what_they_are_whatever_they_are_called(
    tmp_path: Path, called: str
) -> None:
    """fo-dicom#645 and Weasis#350: a gateway changed the transfer syntax and left the pixels."""
    right = row(encoded(tmp_path / "right.dcm"))
    path = encoded(tmp_path / "a.dcm")
    was = b"1.2.840.10008.1.2.4.50"
    path.write_bytes(path.read_bytes().replace(was, called.encode().ljust(len(was), b"\0"), 1))
    assert row(path).pixel_sha256 == right.pixel_sha256


def test_samples_that_look_like_items_stay_samples(tmp_path: Path) -> None:
    samples = bytearray(FRAMES.tobytes())
    samples[:16] = b"\xfe\xff\x00\xe0" + bytes(4) + b"\xfe\xff\x00\xe0" + bytes(4)
    assert row(native(tmp_path / "a.dcm", FRAMES, bytes(samples))).frames


@pytest.mark.parametrize("sizes", [{"Rows": 160, "Columns": 120}, {"Rows": 60}, {"Columns": 161}])
def test_a_header_of_another_size_than_its_frames_is_refused(tmp_path: Path, sizes: dict[str, int]) -> None:
    """Weasis#226: which of the two is wrong is not told, and regions are of the header's picture."""
    said = refusal(encoded(tmp_path / "a.dcm", **sizes))
    assert said.startswith(Reason.TRUNCATED) and "encoded as 120 x 160" in said
