"""What several tests share: a small cohort, made once a session by the real commands' functions, and the
machine's own browser, without a network."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
from collections.abc import Callable, Iterator
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest
import torch
from programs import program

from echojepa.config import IngestConfig, SimulateConfig
from echojepa.data.ingest.ingest import ingest
from echojepa.data.store.loop_store import LoopStore
from echojepa.phantom.cohort.make import write_cohort
from echojepa.processes.lock import locked
from echojepa.progress import quiet

os.environ["OMP_NUM_THREADS"] = "1"  # of the processes that tests start: two that spin are slower than one
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
    """Where all test processes of this run keep the cohort. What simulates and ingests in this one is forked
    from a process that has both: the first to ask for workers would have it load its own work alone."""
    workers = multiprocessing.get_context("forkserver")
    works = ["echojepa.processes.forked_from", "echojepa.phantom.cohort.make", "echojepa.data.ingest.convert"]
    workers.set_forkserver_preload(works)
    forkserver.ensure_running()
    mine = tmp_path_factory.getbasetemp()
    return (mine.parent if "PYTEST_XDIST_WORKER" in os.environ else mine) / "cohort"


@pytest.fixture(scope="session")
def archive(cohort: Path) -> Path:
    """Twenty synthetic patients' DICOM files, made on both cores, for other test processes wait for them.
    Tests do not write here."""

    def make(out: Path) -> None:
        write_cohort(SimulateConfig(out, patients=20, seconds=0.25, workers=2), quiet)

    return made_once(cohort, "archive", make)


@pytest.fixture(scope="session")
def dataset(cohort: Path, archive: Path) -> Path:
    """Those patients, ingested with the same key in every session. Tests do not write here."""

    def make(out: Path) -> None:
        (cohort / "key").write_text("the key of the tests\n", encoding="utf-8")
        ingest(IngestConfig((archive,), out, cohort / "key", archive / "labels.csv", workers=2), quiet)

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


FLAGS = [
    f"--{flag}"
    for flag in (
        "headless", "no-sandbox", "disable-gpu", "disable-quic", "no-first-run", "disable-sync",
        "disable-background-networking", "disable-component-update", "enable-logging=stderr",
        "virtual-time-budget=3000", "host-resolver-rules=MAP * ~NOTFOUND", "dump-dom",
    )
]  # fmt: skip


@pytest.fixture
def open_page(tmp_path: Path) -> Callable[[Path], str]:
    """Open a page in Chromium and return what its scripts made of it; an error on its console fails."""
    chromium = program("chromium")

    def open_it(page: Path) -> str:
        profile = f"--user-data-dir={tmp_path / f'profile-{page.stem}'}"
        command = [chromium, *FLAGS, profile, page.as_uri()]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert not [line for line in done.stderr.splitlines() if "CONSOLE" in line]
        return done.stdout

    return open_it
