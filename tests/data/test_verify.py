"""For every check a data set in which exactly that fault was put, and a clean one that passes."""

from __future__ import annotations

import hashlib
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image

from echojepa.data.identity.splits import assign_split
from echojepa.data.store.encoding import Encoding, decode
from echojepa.data.store.loop_store import LABEL_SCHEMA, REJECTED_SCHEMA, LoopStore, StoredLoop
from echojepa.data.store.rows import encode_loop
from echojepa.data.verify.loop_checks import (
    AGES,
    FRAME_RATES,
    HEART_RATES,
    PIXEL_CHECKS,
    PIXEL_SIZES,
    ROW_CHECKS,
    fingerprint,
    inspect,
)
from echojepa.data.verify.set_checks import SET_CHECKS
from echojepa.data.verify.verify import NEAR_BITS, NEAR_DUPLICATES, Finding, evenly_spaced, read_rows, verify
from echojepa.files.tables import write_parquet
from echojepa.progress import quiet
from echojepa.vocabulary import Kind, Reason

PATIENTS = 20
SIZE = (24, 32)
MASK = np.tri(*SIZE, k=8, dtype=bool)
SPECK = MASK & (MASK.cumsum().reshape(SIZE) <= 20)
Label = dict[str, str | float]
Fault = Callable[[list[StoredLoop], list[Label]], object]


def pseudonym(*parts: object) -> str:
    return hashlib.sha256(repr(parts).encode()).hexdigest()[:20]


def png(picture: NDArray[np.generic]) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


def with_pixels(loop: StoredLoop, frames: NDArray[np.uint8], mask: NDArray[np.bool_] = MASK) -> StoredLoop:
    """The loop with these frames and all that follows from them."""
    return replace(
        loop,
        **vars(encode_loop(frames, mask, Encoding.PNG)),
        times=[number * 0.4 for number in range(len(frames))],
    )


def frames_of(loop: StoredLoop) -> NDArray[np.uint8]:
    return np.stack([decode(frame, Encoding.PNG) for frame in loop.frames])


def clean_loop(patient: int, view: str) -> StoredLoop:
    """A loop with nothing to find."""
    rng = np.random.default_rng([patient, len(view), ord(view[1])])
    frames = rng.integers(1, 256, (6, *SIZE), dtype=np.uint8) * MASK
    empty = StoredLoop(
        loop_id=pseudonym("loop", patient, view), file_id=pseudonym("file", patient, view),
        study_id=pseudonym("study", patient), patient_id=pseudonym("patient", patient),
        patient_ordinal=patient, split=assign_split(0, patient), site="here", view=view, kind=Kind.CINE,
        colour=False, encoding="png", frames=[], frame_crc32=[], times=[], frame_rate=50.0,
        time_source="FrameTime", time_warning="", mask=b"", height=SIZE[0], width=SIZE[1],
        pixel_height_mm=0.5, pixel_width_mm=0.5, heart_rate=70.0, sex="F", age=60.0,
        study_date="2020-01-01", manufacturer="other", pixel_sha256="",
    )  # fmt: skip
    return with_pixels(empty, frames)


def clean() -> tuple[list[StoredLoop], list[Label]]:
    """Two loops and a label of each of twenty patients."""
    loops = [clean_loop(patient, view) for patient in range(PATIENTS) for view in ("A4C", "A2C")]
    studies = list(dict.fromkeys(loop.study_id for loop in loops))
    values = enumerate(studies)
    return loops, [
        {"study_id": study, "label": "lvef", "value": 40.5 + number, "unit": "%"} for number, study in values
    ]


def stored(
    root: Path, loops: Sequence[StoredLoop], labels: Sequence[Label], rejected: Sequence[str] = ()
) -> LoopStore:
    store = LoopStore.create(root, seed=0)
    store.append(loops)
    write_parquet(root / "labels.parquet", pa.Table.from_pylist(list(labels), schema=LABEL_SCHEMA))
    rows = [{"file_id": f, "reason": Reason.NOT_DICOM, "detail": "no preamble"} for f in rejected]
    write_parquet(root / "rejected.parquet", pa.Table.from_pylist(rows, schema=REJECTED_SCHEMA))
    return LoopStore.open(root)


def faults(findings: Sequence[Finding]) -> set[str]:
    return {finding.check for finding in findings if finding.verdict != "ok"}


def found(findings: Sequence[Finding], check: str) -> Finding:
    return next(finding for finding in findings if finding.check == check)


def change(number: int = 0, **values: object) -> Fault:
    """Set columns of one loop."""

    def put(loops: list[StoredLoop], labels: list[Label]) -> None:
        loops[number] = replace(loops[number], **values)  # pyright: ignore[reportArgumentType]

    return put


def repaint(paint: Callable[[NDArray[np.uint8]], NDArray[np.uint8]], mask: NDArray[np.bool_] = MASK) -> Fault:
    """Other pixels in the first loop, checksum and all."""

    def put(loops: list[StoredLoop], labels: list[Label]) -> None:
        loops[0] = with_pixels(loops[0], paint(frames_of(loops[0])), mask)

    return put


def relabel(number: int = 0, **values: str | float) -> Fault:
    return lambda loops, labels: labels[number].update(values)


def recompressed(frames: NDArray[np.uint8], quality: int, mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Through JPEG and back, black outside the mask as ingest leaves it."""
    out = []
    for frame in frames:
        buffer = io.BytesIO()
        Image.fromarray(frame).save(buffer, "JPEG", quality=quality)
        out.append(np.asarray(Image.open(buffer)) * mask)
    return np.stack(out)


def smaller(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Four fifths as high and wide."""
    size = frames.shape[2] * 4 // 5, frames.shape[1] * 4 // 5
    return np.stack([np.asarray(Image.fromarray(f).resize(size, Image.Resampling.BOX)) for f in frames])


def spilled(frames: NDArray[np.uint8]) -> NDArray[np.uint8]:
    out = frames.copy()
    out[3, 0, -1] = 1
    return out


def copy_pixels(source: int, target: int) -> Fault:
    def put(loops: list[StoredLoop], labels: list[Label]) -> None:
        loops[target] = with_pixels(loops[target], frames_of(loops[source]))

    return put


def of_split(split: str) -> list[int]:
    """Numbers of the loops that a clean data set has in a split."""
    return [number for number, loop in enumerate(clean()[0]) if loop.split == split]


def without_val_patients(loops: list[StoredLoop], labels: list[Label]) -> None:
    lost = {loop.study_id for loop in loops if loop.split == "val"}
    loops[:] = [loop for loop in loops if loop.split != "val"]
    labels[:] = [label for label in labels if label["study_id"] not in lost]


def without_val_labels(loops: list[StoredLoop], labels: list[Label]) -> None:
    lost = {loop.study_id for loop in loops if loop.split == "val"}
    labels[:] = [label for label in labels if label["study_id"] not in lost]


def whole_numbers(loops: list[StoredLoop], labels: list[Label]) -> None:
    for label in labels:
        label["value"] = round(float(label["value"]))


def both(*puts: Fault) -> Fault:
    def put(loops: list[StoredLoop], labels: list[Label]) -> None:
        for one in puts:
            one(loops, labels)

    return put


TRAIN, TEST = of_split("train"), of_split("test")
DAMAGED = ("pixels do not decode",)
FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {
    "patient in two splits": (change(TRAIN[0], split="test"), ("one patient in two splits",)),
    "loop twice in a split": (copy_pixels(0, 1), ("the same pixels twice",)),
    "loop in two splits": (
        copy_pixels(TRAIN[0], TEST[0]),
        ("the same pixels in two splits", "the same pixels twice", "nearly the same cine under two patients"),
    ),
    "loop_id": (change(loop_id=clean_loop(5, "A2C").loop_id), ("loop_id twice",)),
    "file_id": (change(file_id=clean_loop(5, "A2C").file_id), ("file_id twice",)),
    "label too high": (relabel(value=300.0), ("label out of range",)),
    "label not a number": (relabel(value=float("nan")), ("label out of range",)),
    "label of no task infinite": (
        relabel(label="mass", value=float("inf"), unit="g"),
        ("label out of range",),
    ),
    "label in another unit": (relabel(unit="ml"), ("label in another unit",)),
    "label of no task in two units": (
        lambda loops, labels: labels.extend(
            {"study_id": loop.study_id, "label": "mass", "value": 1.5, "unit": unit}
            for loop, unit in zip(loops[:6:2], ("g", "g", "kg"), strict=True)
        ),
        ("label in another unit",),
    ),
    "label of an unknown study": (
        lambda loops, labels: labels.append({**labels[0], "study_id": pseudonym("elsewhere")}),
        ("label of an unknown study",),
    ),
    "whole numbers": (whole_numbers, ("labels cut to whole numbers",)),
    "no apical view": (
        both(change(0, view="PLAX"), change(1, view="PLAX")),
        ("labelled study without a view its task needs",),
    ),
    "no val patients": (without_val_patients, ("split without patients",)),
    "no val labels": (without_val_labels, ("split without patients",)),
    "times stand still": (change(times=[0, 0.5, 0.5, 1.0, 1.5, 2.0]), ("frame times do not increase",)),
    "times run back": (change(times=[0, 0.5, 1.5, 1.0, 2.0, 2.5]), ("frame times do not increase",)),
    "time not a number": (
        change(times=[0, 0.5, float("nan"), 1.0, 1.5, 2.0]),
        ("frame times do not increase",),
    ),
    "time infinite": (
        change(times=[0, 0.1, 0.2, 0.3, 0.4, float("inf")]),
        ("frame times do not increase",),
    ),
    "short": (change(times=[0, 0.3, 0.6, 0.9, 1.2, 1.5]), ("cine shorter than a clip",)),
    "slow": (change(frame_rate=5.0), ("odd or no frame rate",)),
    "fast": (change(frame_rate=500.0), ("odd or no frame rate",)),
    "no rate": (change(frame_rate=None), ("odd or no frame rate",)),
    "time warning": (change(time_warning="two attributes disagree"), ("doubtful frame times",)),
    "no view": (change(view=None), ("cine without a view",)),
    "pixels too large": (change(pixel_height_mm=5.0), ("implausible pixel size",)),
    "pixels too small": (change(pixel_width_mm=0.001), ("implausible pixel size",)),
    "heart rate": (change(heart_rate=400.0), ("implausible heart rate",)),
    "age": (change(age=97.0), ("implausible age",)),
    "view unknown": (change(view="a4c"), ("word outside the vocabulary",)),
    "split unknown": (
        both(change(0, split="validation"), change(1, split="validation")),
        ("word outside the vocabulary",),
    ),
    "frame is no PNG": (change(frames=[b"nonsense"] * 6), DAMAGED),
    "no frames": (change(frames=[]), DAMAGED),
    "no mask": (change(mask=b""), DAMAGED),
    "other height": (change(height=99), DAMAGED),
    "not colour": (change(colour=True), DAMAGED),
    "mask of another size": (change(mask=png(MASK[:5])), DAMAGED),
    "checksum": (change(pixel_sha256="0" * 64), ("pixels are not those of their checksum",)),
    "a time too few": (change(times=[0, 0.5, 1.0, 1.5, 2.0]), ("times and frames differ in number",)),
    "small sector": (repaint(lambda frames: frames * SPECK, SPECK), ("empty sector",)),
    "no sector": (
        repaint(np.zeros_like, np.zeros_like(MASK)),
        ("empty sector", "black inside the sector", "cine without motion"),
    ),
    "black": (repaint(np.zeros_like), ("black inside the sector", "cine without motion")),
    "spilled": (repaint(spilled), ("something outside the sector",)),
    "still": (repaint(lambda frames: frames[[2] * 6]), ("cine without motion",)),
}
NAMES = [check.name for check in (*SET_CHECKS, *ROW_CHECKS, *PIXEL_CHECKS)] + [NEAR_DUPLICATES[0]]


@pytest.mark.parametrize("fault", FAULTS)
def test_each_fault_is_found_and_nothing_else(fault: str, tmp_path: Path) -> None:
    loops, labels = clean()
    put, expected = FAULTS[fault]
    put(loops, labels)
    assert faults(verify(stored(tmp_path / "d", loops, labels), 0, quiet)) == set(expected)


def test_a_clean_data_set_passes_every_check_and_each_looked_at_something(tmp_path: Path) -> None:
    findings = verify(stored(tmp_path / "d", *clean()), 0, quiet)
    assert faults(findings) == set()
    assert sorted(finding.check for finding in findings) == sorted(NAMES)
    nothing_to_see = {"came in and rejected"}
    assert {f.check for f in findings if f.looked_at == 0} == nothing_to_see


def test_values_at_the_limits_are_plausible(tmp_path: Path) -> None:
    loops, labels = clean()
    for number, end in ((0, 0), (1, 1)):
        loops[number] = replace(
            loops[number], frame_rate=FRAME_RATES[end], pixel_height_mm=PIXEL_SIZES[end],
            pixel_width_mm=PIXEL_SIZES[end], heart_rate=HEART_RATES[end], age=AGES[end],
        )  # fmt: skip
        labels[number]["value"] = (5.0, 100.0)[end]
    unstated = {"pixel_height_mm": None, "pixel_width_mm": None, "heart_rate": None, "age": None}
    loops[2] = replace(loops[2], **unstated)
    still = replace(loops[3], kind=Kind.STILL, frame_rate=None, view=None)
    loops[3] = with_pixels(still, frames_of(still)[:1])
    there_and_back = frames_of(loops[4])[[0, 1, 2, 2, 1, 0]]
    loops[4] = with_pixels(loops[4], there_and_back)
    assert faults(verify(stored(tmp_path / "d", loops, labels), 0, quiet)) == set()


def test_an_empty_data_set_is_no_crash(tmp_path: Path) -> None:
    assert faults(verify(LoopStore.create(tmp_path / "d", 0), 0, quiet)) == {"split without patients"}


def test_what_ingest_makes_of_the_phantom_has_no_error(store: LoopStore) -> None:
    assert [finding for finding in verify(store, 0, quiet) if finding.verdict == "error"] == []


def test_the_unit_of_a_task_is_right_and_of_other_labels_the_commonest(tmp_path: Path) -> None:
    loops, labels = clean()
    for label in labels[1:]:
        label["unit"] = "ml"
    labels += [
        {"study_id": label["study_id"], "label": "mass", "value": 1.5, "unit": "g" if number else "kg"}
        for number, label in enumerate(labels[:3])
    ]
    units = found(verify(stored(tmp_path / "d", loops, labels), 1, quiet), "label in another unit")
    assert units.count == len(labels) - 3 - 1 + 1
    assert "lvef in 'ml', not '%'" in units.detail and "mass in 'kg', not 'g'" in units.detail


def test_fewer_than_ten_whole_numbers_may_be_chance(tmp_path: Path) -> None:
    loops, labels = clean()
    whole_numbers(loops, labels)
    for count, verdict in ((9, "ok"), (10, "warning")):
        findings = verify(stored(tmp_path / str(count), loops, labels[:count]), 1, quiet)
        assert found(findings, "labels cut to whole numbers").verdict == verdict


def test_each_label_of_an_unknown_study_counts(tmp_path: Path) -> None:
    loops, labels = clean()
    elsewhere = {**labels[0], "study_id": pseudonym("elsewhere")}
    labels += [elsewhere, {**elsewhere, "label": "mass", "unit": "g"}]
    unknown = found(verify(stored(tmp_path / "d", loops, labels), 1, quiet), "label of an unknown study")
    assert unknown.count == 2 and unknown.detail.count(pseudonym("elsewhere")) == 1


def test_rejected_files_are_told_by_reason_and_share(tmp_path: Path) -> None:
    loops, labels = clean()
    store = stored(tmp_path / "d", loops, labels, [loops[0].file_id, pseudonym("bad")])
    findings = verify(store, 0, quiet)
    assert faults(findings) == {"came in and rejected", "files that did not come in"}
    assert found(findings, "came in and rejected").count == 1
    rejected = found(findings, "files that did not come in")
    assert (rejected.count, rejected.looked_at) == (2, 42) and "2 (5%) not a DICOM file" in rejected.detail


def test_ids_that_are_no_pseudonyms_are_counted_and_never_repeated(tmp_path: Path) -> None:
    loops, labels = clean()
    for number, column in enumerate(("loop_id", "file_id", "study_id", "patient_id")):
        loops[number] = replace(loops[number], **{column: f"DOE^JANE {column}"}, frame_rate=5.0)
    loops[4] = with_pixels(replace(loops[4], loop_id="DOE^JANE again"), frames_of(loops[0]))
    labels.append({"study_id": "DOE^JANE", "label": "lvef", "value": 400.0, "unit": "%"})
    findings = verify(stored(tmp_path / "d", loops, labels, ["DOE^JANE.dcm"]), 0, quiet)
    assert found(findings, "ids that are no pseudonyms").count == 7
    assert found(findings, "label out of range").count == 1 and "DOE" not in repr(findings)


def test_dataset_json_of_another_version_or_without_seed_is_an_error(tmp_path: Path) -> None:
    store = stored(tmp_path / "d", *clean())
    facts = tmp_path / "d" / "dataset.json"
    for text, expected in (
        (json.dumps({"format_version": 3, "split_seed": 0}), ["format_version"]),
        (json.dumps({"format_version": 1}), ["split_seed"]),
        ("{", ["format_version", "split_seed"]),
    ):
        facts.write_text(text, encoding="utf-8")
        findings = verify(store, 1, quiet)
        assert faults(findings) == {"dataset.json"}
        assert found(findings, "dataset.json").detail.endswith(f": {', '.join(expected)}")


def test_pixels_are_looked_at_in_an_evenly_spaced_sample_and_the_table_says_of_how_many(
    tmp_path: Path,
) -> None:
    loops, labels = clean()
    for number in (0, 39):
        loops[number] = replace(loops[number], mask=b"")
    seen: list[tuple[int, int]] = []
    findings = verify(stored(tmp_path / "d", loops, labels), 3, lambda *done: seen.append(done))
    damaged = found(findings, "pixels do not decode")
    assert (damaged.count, damaged.looked_at) == (2, 3)
    assert loops[0].loop_id in damaged.detail and loops[39].loop_id in damaged.detail
    assert found(findings, "odd or no frame rate").looked_at == 40
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert set(evenly_spaced(10, 4)) == {0, 3, 6, 9}
    assert set(evenly_spaced(3, 0)) == set(evenly_spaced(3, 9)) == {0, 1, 2}


def test_a_png_damaged_anywhere_is_told_as_damaged_or_altered_unless_its_pixels_are_the_same(
    tmp_path: Path,
) -> None:
    original = clean_loop(0, "A4C")
    rng = np.random.default_rng(0)
    loops, picture = [], frames_of(original)
    for number in range(80):
        png = bytearray(original.frames[0])
        place = int(rng.integers(len(png)))
        png = png[:place] if number % 4 == 0 else png
        if number % 4:
            png[place] ^= int(rng.integers(1, 256))
        loops.append(replace(original, frames=[bytes(png), *original.frames[1:]]))
    store = stored(tmp_path / "d", loops, [])
    told = 0
    for number, row in enumerate(read_rows(store)):
        look = inspect(store, number, row)
        if look.damaged or look.altered:
            told += 1
        else:
            np.testing.assert_array_equal(store.frames(number), picture)
    assert told > 60


def test_a_copy_is_near_and_two_patients_hearts_are_not(store: LoopStore) -> None:
    table = store.metadata(["patient_id"])["patient_id"].to_pylist()
    prints = [fingerprint(store.frames(number)) for number in range(0, len(table), 4)]
    patients = table[::4]
    for number, mine in zip(range(0, len(table), 4), prints, strict=True):
        frames, mask = store.frames(number), store.mask(number)
        assert (fingerprint(recompressed(frames, 40, mask)) != mine).sum() <= NEAR_BITS
        assert (fingerprint(smaller(frames)) != mine).sum() <= NEAR_BITS
        others = [p for p, patient in zip(prints, patients, strict=True) if patient != table[number]]
        assert min((other != mine).sum() for other in others) > NEAR_BITS


def test_a_recompressed_copy_under_another_patient_is_named(store: LoopStore, tmp_path: Path) -> None:
    loops, labels = clean()
    frames, mask = store.frames(0), store.mask(0)
    size = dict(zip(("height", "width"), mask.shape, strict=True))
    for number, pixels in ((0, frames), (2, recompressed(frames, 60, mask))):
        loops[number] = with_pixels(replace(loops[number], **size), pixels, mask)
    findings = verify(stored(tmp_path / "d", loops, labels), 0, quiet)
    assert faults(findings) == {NEAR_DUPLICATES[0]}
    near = found(findings, NEAR_DUPLICATES[0])
    assert near.count == 2 and f"{loops[0].loop_id} and {loops[2].loop_id}" in near.detail


def test_the_reference_has_a_row_for_every_check_with_its_severity() -> None:
    text = (Path(__file__).parents[2] / "docs/reference/verify.md").read_text(encoding="utf-8")
    rows = dict(re.findall(r"^\| ([^|]+?) \| (error|warning) \|", text, re.MULTILINE))
    expected = {check.name: check.severity for check in (*SET_CHECKS, *ROW_CHECKS, *PIXEL_CHECKS)}
    assert rows == {**expected, NEAR_DUPLICATES[0]: NEAR_DUPLICATES[1]}
