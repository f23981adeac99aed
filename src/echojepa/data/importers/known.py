"""The data sets that `echojepa ingest --from NAME` knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from echojepa.config import IngestConfig
from echojepa.data.importers import echonet
from echojepa.data.importers.listing import LayoutError, Listing

ARCHIVE = "archive"
"""No data set with tables of its own: every file below the sources."""
IMPORTERS: dict[str, Callable[[Path, IngestConfig], Listing]] = {
    "echonet-dynamic": echonet.read_dynamic,
}
"""Name on the command line, and what reads its folder or table."""


def read_listing(config: IngestConfig) -> Listing:
    """What the tables of all sources say; LayoutError where one is not there or not laid out so."""
    whole = Listing()
    for source in config.sources:
        if not source.exists():
            raise LayoutError(f"{source} does not exist; give the folder or table that {config.layout} is in")
        found = IMPORTERS[config.layout](source, config)
        whole.videos = found.videos | whole.videos
        whole.labels = found.labels | whole.labels
        whole.left_out += found.left_out
    if not whole.videos:
        raise LayoutError(f"nothing to ingest; left out: {dict(whole.counted())}")
    whole.keep_patients_together()
    return whole
