"""The data sets that `echojepa ingest --from NAME` knows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from echojepa.config import IngestConfig
from echojepa.data.importers import camus, echonet, mimic, plain
from echojepa.data.importers.listing import LayoutError, Listing

ARCHIVE = "archive"
"""No data set with tables of its own: every file below the sources."""
IMPORTERS: dict[str, Callable[[Path, IngestConfig], Listing]] = {
    "echonet-dynamic": echonet.read_dynamic,
    "echonet-pediatric": echonet.read_pediatric,
    "echonet-lvh": echonet.read_lvh,
    "camus": camus.read_camus,
    "mimic-iv-echo": mimic.read_mimic,
    "videos": plain.read_videos,
    "table": plain.read_table,
    "list": plain.read_list,
}
"""Name on the command line, and what reads its folder or table."""


def read_listing(config: IngestConfig) -> Listing:
    """What the tables of all sources say; LayoutError where one is not there or not laid out so."""
    whole = Listing()
    for source in config.sources:
        if not source.exists():
            raise LayoutError(f"{source} does not exist; give the folder or table of {config.layout}")
        whole.add(IMPORTERS[config.layout](source, config))
    if not whole.videos:
        raise LayoutError(f"there is nothing to ingest; left out: {dict(whole.counted())}")
    if config.layout in ("list", "videos") and config.patient_is == "folder":
        check_folders(whole)
    whole.keep_patients_together()
    return whole


def check_folders(listing: Listing) -> None:
    """LayoutError where a folder, taken to be one patient's, has videos in several splits."""
    mixed = [patient for patient, splits in listing.official_splits().items() if len(splits) > 1]
    if mixed:
        raise LayoutError(
            f"{len(mixed)} folders have videos in several splits, but all videos of a folder count as one "
            "patient's. If each video is a different patient's, give --patient-is file"
        )
