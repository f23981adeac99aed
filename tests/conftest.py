"""A small cohort that several tests share, made once a session by the real commands' functions."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from echojepa.config import IngestConfig, SimulateConfig
from echojepa.data.ingest.ingest import ingest
from echojepa.data.store.loop_store import LoopStore
from echojepa.phantom.cohort.make import write_cohort
from echojepa.progress import quiet

torch.set_num_threads(1)


@pytest.fixture(scope="session")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twenty synthetic patients' DICOM files."""
    out = tmp_path_factory.mktemp("cohort") / "archive"
    write_cohort(SimulateConfig(out, patients=20, seconds=0.25, workers=1), quiet)
    return out


@pytest.fixture(scope="session")
def dataset(archive: Path) -> Path:
    """Those patients, ingested."""
    out = archive.parent / "dataset"
    config = IngestConfig((archive,), out, archive.parent / "key", archive / "labels.csv", workers=1)
    ingest(config, quiet)
    return out


@pytest.fixture
def store(dataset: Path) -> LoopStore:
    """The ingested data set, opened."""
    return LoopStore.open(dataset)
