"""Claims about a data set in an object store, against a server of its own on this machine."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import boto3
import pytest
from moto.server import ThreadedMotoServer

from echojepa.config import IngestConfig, InputSpec
from echojepa.data.clips.clips import ClipDataset
from echojepa.data.ingest.ingest import ingest
from echojepa.data.store.location import Location
from echojepa.data.store.loop_store import LoopStore, StoreError
from echojepa.data.verify.verify import verify
from echojepa.progress import quiet


@pytest.fixture(scope="module")
def bucket() -> Iterator[str]:
    """The URI of an empty bucket, with the environment that leads there."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patched:
        for name, value in (
            ("AWS_ACCESS_KEY_ID", "k"), ("AWS_SECRET_ACCESS_KEY", "s"), ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
            ("AWS_REGION", "us-east-1"), ("AWS_DEFAULT_REGION", "us-east-1"), ("AWS_ALLOW_HTTP", "true"),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ):  # fmt: skip
            patched.setenv(name, value)
        boto3.client("s3").create_bucket(Bucket="echo-data")
        yield "s3://echo-data"
    server.stop()


def test_a_data_set_in_a_bucket_is_the_one_on_disk(archive: Path, tmp_path: Path, bucket: str) -> None:
    files = tuple(sorted(archive.rglob("*.dcm"))[:3])
    note = tmp_path / "note.txt"
    note.write_text("no video")
    local = IngestConfig(
        (*files[:2], note), tmp_path / "data", tmp_path / "key", archive / "labels.csv", workers=1
    )
    remote = replace(local, out=Path(f"{bucket}/some/data"))
    for config in (local, remote, replace(remote, sources=files)):
        ingest(config, quiet)
    ingest(replace(local, sources=files), quiet)
    here, there = LoopStore.open(tmp_path / "data"), pickle.loads(pickle.dumps(LoopStore.open(remote.out)))
    assert here.table.count_rows() == 3 and here.rejected().num_rows == 1 and here.labels().num_rows
    for read in (LoopStore.metadata, LoopStore.labels, LoopStore.rejected, LoopStore.fingerprint):
        assert read(here) == read(there)
    for row in range(3):
        spec = InputSpec(size=48, frames=4, seconds=0.2)
        assert (ClipDataset(here, [row], spec)[0][0] == ClipDataset(there, [row], spec)[0][0]).all()
    assert [f for f in verify(there, 0, quiet) if f.verdict == "error"] == []
    assert not (tmp_path / "s3:").exists() and not Path("s3:").exists()


def test_a_folder_that_holds_something_else_is_refused(bucket: str) -> None:
    Location(f"{bucket}/other").replace("notes.txt", b"mine")
    with pytest.raises(StoreError, match="is not empty and is not a data set"):
        LoopStore.create(f"{bucket}/other", 0)
    assert Location(f"{bucket}/other").read("notes.txt") == b"mine"


def test_a_bucket_or_data_set_that_is_not_there_is_said(bucket: str) -> None:
    with pytest.raises(StoreError, match=r"s3://no-such-bucket/x cannot be written.*does not exist"):
        LoopStore.create("s3://no-such-bucket/x", 0)
    for root in ("s3://no-such-bucket/x", f"{bucket}/nothing", Path(f"{bucket}/nothing")):
        with pytest.raises(StoreError, match="is not a data set"):
            LoopStore.open(root)


def test_of_two_commits_to_a_bucket_at_once_none_is_lost(dataset: Path, bucket: str) -> None:
    from concurrent.futures import ThreadPoolExecutor

    from echojepa.data.store.loop_store import SCHEMA
    from echojepa.data.store.rows import StoredLoop

    source = LoopStore.open(dataset).table.take(list(range(8)), columns=SCHEMA.names).to_pylist()
    LoopStore.create(f"{bucket}/both", 0)

    def write(half: int) -> None:
        store = LoopStore(f"{bucket}/both")
        for row in source[half * 4 : half * 4 + 4]:
            store.append([StoredLoop(**row)])

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(write, range(2)))
    ids = LoopStore.open(f"{bucket}/both").metadata(["loop_id"])["loop_id"].to_pylist()
    assert sorted(ids) == sorted(row["loop_id"] for row in source)
