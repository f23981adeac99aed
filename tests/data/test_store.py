"""Claims about the store itself: its format reads for ever, damage is told, nothing written is lost."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from echojepa.config import IngestConfig
from echojepa.data.ingest.ingest import ingest
from echojepa.data.store.encoding import Encoding, decode, encode, surely_black
from echojepa.data.store.facts import FORMAT_VERSION, read_facts
from echojepa.data.store.loop_store import LABEL_SCHEMA, SCHEMA, LoopStore, StoreError
from echojepa.data.store.rows import DamagedLoop
from echojepa.data.verify.verify import read_rows, verify
from echojepa.progress import quiet

FIXTURES, SCRIPT = Path(__file__).parent, Path(__file__).parents[1] / "makers/store_writer.py"
_spec = importlib.util.spec_from_file_location("store_writer", SCRIPT)
assert _spec and _spec.loader
_writer = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_writer)
MASK, pictures, row_of, made, fill_up = (
    getattr(_writer, name) for name in ("MASK", "pictures", "row_of", "made", "fill_up")
)


def ordinals(root: Path) -> list[int]:
    return sorted(LoopStore.open(root).metadata(["patient_ordinal"])["patient_ordinal"].to_pylist())


@pytest.mark.parametrize("colour", [False, True])
def test_the_default_encoding_is_near_inside_the_sector_and_black_outside_and_the_other_is_exact(
    tmp_path: Path, colour: bool
) -> None:
    store = LoopStore.create(tmp_path, 0)
    store.append([row_of(3, encoding, colour) for encoding in Encoding])
    frames = pictures(3, colour)
    near, exact = store.frames(0), store.frames(1, [4, 0, 4])
    assert np.abs(near.astype(int) - frames)[:, MASK].mean() < 1.5 and not near[:, ~MASK].any()
    np.testing.assert_array_equal(exact, frames[[4, 0, 4]])
    assert store.loop(0).decoded()[:, ~MASK].any(), "JPEG ripples over the edge: it is the mask that stops it"
    sums = store.metadata(["pixel_sha256"])["pixel_sha256"].to_pylist()
    assert sums[0] == sums[1] == hashlib.sha256(frames.tobytes()).hexdigest()


def test_text_outside_the_sector_shows_in_a_jpeg_and_a_ripple_does_not_count() -> None:
    dark = surely_black(MASK, Encoding.JPEG)
    assert dark.any() and not (dark & MASK).any() and (~dark & ~MASK).any()
    frame = pictures(0)[0]
    assert not decode(encode(frame, Encoding.JPEG), Encoding.JPEG)[dark].any()
    y, x = np.argwhere(dark)[0]
    frame[y, x] = 200
    assert decode(encode(frame, Encoding.JPEG), Encoding.JPEG)[dark].any()


@pytest.mark.parametrize("encoding", Encoding)
def test_a_frame_that_is_not_what_was_written_is_refused_wherever_it_was_changed(
    tmp_path: Path, encoding: Encoding
) -> None:
    rng, good, bad = np.random.default_rng(0), row_of(1, encoding), []
    for number in range(40):
        data = bytearray(good.frames[2])
        place = int(rng.integers(len(data)))
        if number % 3:
            data[place] ^= int(rng.integers(1, 256))
        else:
            del data[place:]
        bad.append(replace(good, frames=[*good.frames[:2], bytes(data), *good.frames[3:]]))
    store = LoopStore.create(tmp_path, 0)
    store.append(bad)
    for row in range(len(bad)):
        assert store.frames(row, [0, 1, 3, 4]).any()
        with pytest.raises(DamagedLoop, match=r"frame 2 .*differs from what was written"):
            store.frames(row)
    damaged = next(f for f in verify(store, 0, quiet) if f.check == "pixels do not decode")
    assert damaged.count == len(bad)


@pytest.mark.parametrize("version", [1, 2])
def test_a_data_set_of_every_version_reads_for_ever(version: int) -> None:
    """The fixtures were written once, by `write_format_fixture.py`, and are never written again."""
    fixture = FIXTURES / f"format_v{version}"
    stated = json.loads((fixture / "expected.json").read_text(encoding="utf-8"))
    store = LoopStore.open(fixture / "data")
    assert (store.key_fingerprint is None) == (version == 1) and not store.links()
    assert read_facts(store.location).get("moves", 0) == 0
    rows = list(read_rows(store))
    assert len(rows) == len(stated["rows"]) and store.split_seed == stated["split_seed"]
    for number, expected in enumerate(stated["rows"]):
        assert {name: rows[number][name] for name in expected["columns"]} == expected["columns"]
        frames, mask = store.frames(number), store.mask(number)
        assert list(frames.shape) == expected["shape"]
        assert hashlib.sha256(np.packbits(mask).tobytes()).hexdigest() == expected["mask"]
        # Decoders of JPEG may differ in rounding by a grey level; lossless frames may not.
        assert np.abs(frames.mean(axis=(1, 2)) - expected["means"]).max() < 0.5
        if rows[number]["encoding"] == "png":
            assert hashlib.sha256(frames.tobytes()).hexdigest() == rows[number]["pixel_sha256"]
    assert store.labels().to_pylist() == stated["labels"]
    assert store.rejected().to_pylist() == stated["rejected"]
    assert not [f for f in verify(store, 0, quiet) if f.check.startswith("pixels") and f.count]


def test_the_reference_names_every_column_and_the_version() -> None:
    text = (Path(__file__).parents[2] / "docs/reference/dataset-format.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in SCHEMA.names)
    assert f"Data set format, version {FORMAT_VERSION}" in text


def test_a_new_label_rewrites_no_video(tmp_path: Path) -> None:
    store = made(tmp_path, [0, 1])

    def video() -> dict[str, tuple[int, int, int]]:
        files = [path for path in (tmp_path / "loops.lance").rglob("*") if path.is_file()]
        return {
            path.name: (path.stat().st_ino, path.stat().st_mtime_ns, path.stat().st_size) for path in files
        }

    before = video()
    for value in (50.0, 60.0):
        row = {"study_id": row_of(0).study_id, "label": "lvef", "value": value, "unit": "%"}
        store.add_labels(pa.Table.from_pylist([row], schema=LABEL_SCHEMA))
    assert video() == before and LoopStore.open(tmp_path).labels()["value"].to_pylist() == [60.0]


def writer(root: Path, first: int, last: int) -> subprocess.Popen[str]:
    """A process that commits loops one by one and says each when it is in."""
    command = [sys.executable, str(SCRIPT), str(root), str(first), str(last)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("kills", [4, pytest.param(60, marks=pytest.mark.slow)])
def test_killed_in_the_middle_of_commits_all_that_was_said_to_be_in_is_in_and_whole(
    tmp_path: Path, kills: int
) -> None:
    rng, said = np.random.default_rng(kills), set()
    for number in range(kills):
        process = writer(tmp_path / "d", 1000 * number, 1000 * number + 1000)
        assert process.stdout and process.stdout.readline() == "ready\n"
        said |= {int(process.stdout.readline()) for _ in range(2)}
        time.sleep(rng.uniform(0, 0.1))
        process.send_signal(signal.SIGKILL)
        said |= {int(line) for line in process.communicate()[0].split()}
    inside = ordinals(tmp_path / "d")
    assert said <= set(inside) and len(inside) == len(set(inside)) <= len(said) + kills
    store = LoopStore.open(tmp_path / "d")
    for row, ordinal in enumerate(store.metadata(["patient_ordinal"])["patient_ordinal"].to_pylist()):
        assert np.abs(store.frames(row, [7])[0].astype(int) - pictures(ordinal)[2]).mean() < 1.5


def test_two_writers_that_take_no_lock_at_once_both_have_all_their_loops_in(tmp_path: Path) -> None:
    LoopStore.create(tmp_path / "d", 0)
    both = [writer(tmp_path / "d", 0, 25), writer(tmp_path / "d", 100, 125)]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    assert ordinals(tmp_path / "d") == [*range(25), *range(100, 125)]


def newest(folder: Path) -> Path:
    return max(folder.glob("[0-9]*"), key=lambda path: path.stat().st_mtime_ns)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9])
def test_a_torn_manifest_is_told_with_a_remedy_that_keeps_all_earlier_commits(
    tmp_path: Path, share: float
) -> None:
    made(tmp_path, [0, 1], [2], [3, 4])
    torn = newest(tmp_path / "loops.lance/_versions")
    torn.write_bytes(torn.read_bytes()[: int(share * torn.stat().st_size)])
    with pytest.raises(StoreError, match="Delete the newest file in its folder _versions"):
        LoopStore.open(tmp_path).metadata()
    torn.unlink()
    assert ordinals(tmp_path) == [0, 1, 2]
    LoopStore.open(tmp_path).append([row_of(3), row_of(4)])
    assert ordinals(tmp_path) == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("share", [0.0, 0.3, 0.99])
def test_a_torn_file_of_video_is_named_and_the_other_commits_stay_readable(
    tmp_path: Path, share: float
) -> None:
    made(tmp_path, [0, 1], [2, 3, 4], [5])
    torn = sorted((tmp_path / "loops.lance/data").iterdir(), key=lambda path: path.stat().st_mtime_ns)[1]
    torn.write_bytes(torn.read_bytes()[: int(share * torn.stat().st_size)])
    store = LoopStore.open(tmp_path)
    with pytest.raises(StoreError, match=rf"3 of its 6 loops are in the files \['{torn.name}'\].*backup"):
        store.metadata()
    with pytest.raises(DamagedLoop, match=r"row 3 .* cannot be read"):
        store.frames(3)
    for row, number in ((0, 0), (1, 1), (5, 5)):
        assert np.abs(store.frames(row).astype(int) - pictures(number)).mean() < 1.5


def test_no_data_set_and_a_damaged_dataset_json_are_told_apart(tmp_path: Path) -> None:
    made(tmp_path / "d", [0])
    for text in ("{", "[]", "{}"):
        (tmp_path / "d/dataset.json").write_text(text)
        with pytest.raises(StoreError, match=r"dataset\.json is damaged"):
            LoopStore.open(tmp_path / "d")
    (tmp_path / "d/dataset.json").unlink()
    with pytest.raises(StoreError, match="is not a data set"):
        LoopStore.open(tmp_path / "d")


def test_a_limit_on_a_files_size_loses_nothing(tmp_path: Path) -> None:
    """The system refuses a write in the middle of a file, as it does on a full disk or over a quota."""
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, limits[1]))
        fill_up(tmp_path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    LoopStore.open(tmp_path).append([row_of(number) for number in range(2, 6)])
    assert ordinals(tmp_path) == [0, 1, 2, 3, 4, 5]


IN_SMALL_DISK = 'mount -t tmpfs -o size=400k tmpfs "$1" && exec "$2" "$3" "$1/d" full'


def test_a_disk_that_is_really_full_loses_nothing(tmp_path: Path) -> None:
    if (
        not shutil.which("unshare")
        or subprocess.run(["unshare", "-rm", "true"], capture_output=True).returncode
    ):
        pytest.skip("no user namespace here in which a small disk could be mounted")
    command = ["unshare", "-rm", "sh", "-ec", IN_SMALL_DISK, "sh", str(tmp_path), sys.executable, str(SCRIPT)]
    done = subprocess.run(command, capture_output=True, text=True, env=dict(os.environ))
    assert done.returncode == 0, done.stderr


def test_ingest_on_a_full_disk_says_so_and_goes_on_when_there_is_room(archive: Path, tmp_path: Path) -> None:
    files = tuple(sorted(archive.rglob("*.dcm"))[:3])
    config = IngestConfig(files, tmp_path / "data", tmp_path / "key", workers=1)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (15_000, limits[1]))
        with pytest.raises(StoreError, match="is full; make room and run again"):
            ingest(config, quiet)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert ingest(config, quiet).came.loops == 3
