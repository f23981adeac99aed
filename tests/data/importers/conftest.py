"""Phantom loops as the public sets store them, and the files around them."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from echojepa.config import IngestConfig
from echojepa.data.ingest.ingest import IngestSummary, ingest
from echojepa.data.store.loop_store import LoopStore
from echojepa.phantom.cohort.loops import record_loop
from echojepa.phantom.cohort.presets import PRESETS
from echojepa.phantom.cohort.public_sets import squared
from echojepa.phantom.cohort.sites import Planned, Protocol
from echojepa.phantom.cohort.study import draw_study
from echojepa.vocabulary import View

SIDE, FRAMES = 112, 6


@pytest.fixture(scope="session")
def loops() -> list[NDArray[np.uint8]]:
    """Six synthetic apical loops (T, 112, 112), black outside the sector."""
    order = replace(PRESETS["tiny"], side=SIDE, protocol=Protocol((Planned(View.A4C),)))
    studies = [draw_study(order, ordinal) for ordinal in range(6)]
    return [squared(record_loop(study.loops[0]).pictures[:FRAMES], SIDE) for study in studies]


@pytest.fixture(scope="session")
def write_video() -> Callable[..., Path]:
    """Write grey frames as a video: MJPEG in AVI as EchoNet does, or MPEG-4 in MP4."""

    def write(path: Path, frames: NDArray[np.uint8], rate: int = 50) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        jpeg = path.suffix == ".avi"
        with av.open(str(path), "w") as container:
            name = "mjpeg" if jpeg else "mpeg4"
            stream: Any = container.add_stream(name, rate=Fraction(rate), options={"qscale": "1"})
            stream.height, stream.width = frames.shape[1:]
            stream.pix_fmt = "yuvj420p" if jpeg else "yuv420p"
            for picture in frames:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="gray")))
            container.mux(stream.encode())
        return path

    return write


@pytest.fixture(scope="session")
def write_table() -> Callable[[Path, Sequence[Mapping[str, object]]], Path]:
    """Write rows as a CSV."""

    def write(path: Path, rows: Sequence[Mapping[str, object]]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
        return path

    return write


@pytest.fixture
def bring_in(tmp_path: Path) -> Callable[..., tuple[LoopStore, IngestSummary]]:
    """Ingest a folder under a layout into a data set of this test's own."""

    def run(layout: str, *sources: Path, **settings: Any) -> tuple[LoopStore, IngestSummary]:
        config = IngestConfig(sources, tmp_path / "data", tmp_path / "key", layout=layout, workers=1)
        summary = ingest(replace(config, **settings), lambda done, total: None)
        return LoopStore.open(tmp_path / "data"), summary

    return run


@pytest.fixture(scope="session")
def labels_by_study() -> Callable[[LoopStore], list[dict[str, Any]]]:
    """For each loop, in row order, the labels of its study: name to (value, unit)."""

    def read(store: LoopStore) -> list[dict[str, Any]]:
        labels = store.labels().to_pylist()
        return [
            {r["label"]: (r["value"], r["unit"]) for r in labels if r["study_id"] == study}
            for study in store.metadata(["study_id"])["study_id"].to_pylist()
        ]

    return read
