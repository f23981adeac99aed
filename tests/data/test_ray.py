"""Claims about work on a Ray cluster: the same results, in order, and a killed worker's work done again."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from encoders import weights_of

from echojepa.config import Architecture, EmbedConfig, IngestConfig, InputSpec
from echojepa.data.ingest import ingest as ingesting
from echojepa.data.ingest.ingest import ingest
from echojepa.data.store.loop_store import LoopStore
from echojepa.errors import UserError
from echojepa.evaluation.features import embed as embedding
from echojepa.evaluation.features.embed import embed
from echojepa.models.vit import VisionTransformer
from echojepa.processes import cluster
from echojepa.processes.cluster import ClusterError, map_on_cluster
from echojepa.processes.workers import run_in_order
from echojepa.progress import quiet
from echojepa.weights.folder import Origin, save_weights


@pytest.fixture(scope="module")
def ray() -> Iterator[None]:
    """A cluster of this machine with one core, which every command of this module finds connected."""
    with cluster.connected(cluster.LOCAL):
        yield


def descendants(pid: int) -> Iterator[int]:
    """Processes that a process started, and theirs."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    for child in map(int, children.read_text().split() if children.exists() else ()):
        yield child
        yield from descendants(child)


def kill_once(killed: list[int], after: int, task: str) -> Callable[[int, int], None]:
    """Progress that kills, once, each worker with such a task that it meets when `after` items are done."""

    def show(done: int, total: int) -> None:
        if done < after or killed:
            return
        for pid in descendants(os.getpid()):
            name = Path(f"/proc/{pid}/cmdline")
            if name.exists() and name.read_bytes().startswith(f"ray::{task}".encode()):
                killed.append(pid)
                os.kill(pid, signal.SIGKILL)

    return show


def test_a_worker_killed_in_the_middle_costs_and_doubles_nothing(ray, tmp_path: Path) -> None:
    def square(number: int) -> int:
        with (tmp_path / "calls").open("a") as file:
            file.write(f"{number}\n")
        if number == 5 and not (tmp_path / "died").exists():
            (tmp_path / "died").touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return number**2

    assert list(map_on_cluster(square, range(12), cluster.LOCAL)) == [n**2 for n in range(12)]
    assert (tmp_path / "died").exists()
    assert (tmp_path / "calls").read_text().split().count("5") == 2


def test_an_error_is_raised_here_and_a_task_that_always_kills_its_worker_ends_in_a_sentence(
    ray, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(task: int) -> int:
        raise UserError("the sentence for the user")

    def die(task: int) -> int:
        os.kill(os.getpid(), signal.SIGKILL)
        return task

    with pytest.raises(UserError, match=r"^the sentence for the user$"):
        list(map_on_cluster(refuse, [1], cluster.LOCAL))
    monkeypatch.setattr(cluster, "RETRIES", 0)
    with pytest.raises(ClusterError, match="lost a task 1 times"):
        list(map_on_cluster(die, [1], cluster.LOCAL))


def test_the_key_is_in_nothing_that_is_sent(archive: Path, tmp_path: Path, monkeypatch) -> None:
    sent = []

    def capture(function, jobs, address, limits, preload):
        sent.append(pickle.dumps((function, jobs, limits)))
        return run_in_order(function, jobs, 1, limits, preload)

    monkeypatch.setattr(ingesting, "run_on_cluster", capture)
    sources = (next(archive.glob("*/")),)
    here = IngestConfig(sources, tmp_path / "here", tmp_path / "key", workers=1)
    ingest(here, quiet)
    ingest(replace(here, out=tmp_path / "there", ray="anywhere:6379"), quiet)
    key = (tmp_path / "key").read_bytes().strip()
    assert len(sent) == 1 and key not in sent[0] and bytes.fromhex(key.decode()) not in sent[0]
    one, other = (LoopStore.open(tmp_path / name) for name in ("here", "there"))
    assert one.fingerprint() == other.fingerprint() and one.table.count_rows() > 0


@pytest.mark.slow
def test_an_ingest_whose_worker_is_killed_makes_the_data_set_that_one_machine_makes(
    ray, archive: Path, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "JOBS_A_TASK", 6)
    killed: list[int] = []
    config = IngestConfig(
        (archive,), tmp_path / "data", dataset.parent / "key", archive / "labels.csv", ray=cluster.LOCAL
    )
    summary = ingest(config, kill_once(killed, 6, "OnNode"))
    here, there = LoopStore.open(dataset), LoopStore.open(config.out)
    assert killed and summary.came.loops == here.table.count_rows()
    assert there.metadata().equals(here.metadata()) and there.labels().equals(here.labels())
    for row in (0, there.table.count_rows() - 1):
        np.testing.assert_array_equal(there.frames(row), here.frames(row))
    assert ingest(config, quiet).came.loops == 0


@pytest.mark.slow
def test_an_embedding_whose_worker_is_killed_makes_the_table_that_one_machine_makes(
    ray, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding, "TASK_LOOPS", 6)
    spec, architecture = InputSpec(size=32, frames=2, seconds=0.1), Architecture("micro", patch=16)
    encoder = VisionTransformer(architecture, spec, torch.Generator().manual_seed(0))
    save_weights(tmp_path / "run", weights_of(encoder, architecture, spec, Origin("jepa")))
    here = EmbedConfig(dataset, tmp_path / "here", str(tmp_path / "run"), clips_per_loop=2)
    there = replace(here, out=tmp_path / "there", ray=cluster.LOCAL)
    killed: list[int] = []
    embed(here, quiet)
    summary = embed(there, kill_once(killed, 6, "EmbedTask"))
    one, other = (
        pq.read_table(c.out / "features").sort_by([("loop_id", "ascending"), ("clip", "ascending")])
        for c in (here, there)
    )
    assert killed and summary.clips == other.num_rows
    assert one.drop_columns("embedding").equals(other.drop_columns("embedding"))
    flat = [t["embedding"].combine_chunks().flatten().to_numpy() for t in (one, other)]
    np.testing.assert_allclose(*flat, atol=1e-5)


@pytest.mark.parametrize("address", ["127.0.0.1:1", "nowhere", "ray://127.0.0.1:1"])
def test_no_cluster_at_an_address_is_said_at_once(address: str) -> None:
    with pytest.raises(ClusterError, match=f"no Ray cluster answers at '{address}'.*give HOST:PORT"):
        cluster.check_address(address)
