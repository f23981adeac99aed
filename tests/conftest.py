"""A small cohort that several tests share, made once a session by the real commands' functions."""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import torch

from echojepa.config import IngestConfig, SimulateConfig
from echojepa.data.ingest.ingest import ingest
from echojepa.data.store.loop_store import LoopStore
from echojepa.phantom.cohort.make import write_cohort
from echojepa.processes.lock import locked
from echojepa.progress import quiet

torch.set_num_threads(1)


def made_once(shared: Path, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that the first test process to ask makes for all of them."""
    shared.mkdir(exist_ok=True)
    out, done = shared / name, shared / f"{name} is whole"
    with locked(shared / f"{name}.lock"):
        if not done.exists():
            make(out)
            done.touch()
    return out


@pytest.fixture(scope="session")
def cohort(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where all test processes of this run keep the cohort."""
    mine = tmp_path_factory.getbasetemp()
    return (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "cohort"


@pytest.fixture(scope="session")
def archive(cohort: Path) -> Path:
    """Twenty synthetic patients' DICOM files. Tests do not write here."""

    def make(out: Path) -> None:
        write_cohort(SimulateConfig(out, patients=20, seconds=0.25, workers=1), quiet)

    return made_once(cohort, "archive", make)


@pytest.fixture(scope="session")
def dataset(cohort: Path, archive: Path) -> Path:
    """Those patients, ingested. Tests do not write here."""

    def make(out: Path) -> None:
        ingest(IngestConfig((archive,), out, cohort / "key", archive / "labels.csv", workers=1), quiet)

    return made_once(cohort, "dataset", make)


@pytest.fixture(scope="module")
def processes() -> Iterator[ForkServerContext]:
    """Processes that are born with all that training imports. A fork server that serves another work is
    ended before, and this one after, for a program has one."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["echojepa.training.pretrain", "echojepa.recipes", "sklearn.linear_model", "torch._dynamo"]
    )
    forkserver._forkserver._stop()  # pyright: ignore[reportAttributeAccessIssue]
    yield context
    forkserver._forkserver._stop()  # pyright: ignore[reportAttributeAccessIssue]


@pytest.fixture
def store(dataset: Path) -> LoopStore:
    """The ingested data set, opened."""
    return LoopStore.open(dataset)
